//! Curves of runs as a file: PNG or SVG to look at, CSV to go on with.

use super::column::Column;
use super::metric::{Axis, Columns, Metric};
use super::pixels::Pixels;
use super::plot::{COLOURS, HEIGHT, Line, Plot, Rgb, Surface, WIDTH};
use crate::error::{Error, Result};
use crate::files;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

/// What is drawn of the runs. A CSV file has everything.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub metric: Metric,
    pub axis: Axis,
    pub log_y: bool,
}

impl Default for View {
    fn default() -> Self {
        Self { metric: Metric::Loss, axis: Axis::Step, log_y: false }
    }
}

/// Writes curves of named runs in the format that the name of the file ends with.
///
/// Errors: another ending; nothing logged; a file that cannot be written.
pub fn write(path: &Path, runs: &[(String, &Columns)], view: View) -> Result<()> {
    if runs.iter().all(|r| r.1.is_empty()) {
        return Err(Error::input("there is nothing to plot: no step was logged")
            .hint("a run has curves from its first logged step on"));
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match ending.as_str() {
        "csv" => files::write_with(path, |w| csv(w, runs)),
        "svg" => {
            let mut svg = Svg::new();
            plot(runs, view).draw(&mut svg);
            files::write(path, svg.end().as_bytes())
        }
        "png" => {
            let mut pixels = Pixels::new();
            plot(runs, view).draw(&mut pixels);
            files::write(path, &pixels.png())
        }
        _ => Err(Error::usage(format!("cannot tell the format of {}", path.display()))
            .hint("end the name in .png, .svg or .csv")),
    }
}

/// Measured values pale under their smoothed ones, evaluations in a colour of their own where there is one run.
fn plot<'a>(runs: &'a [(String, &Columns)], view: View) -> Plot<'a> {
    let mut lines = Vec::new();
    for (i, (name, columns)) in runs.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut put = |name: String, xs: &'a Column, ys: &'a Column, colour: Rgb, pale: bool| {
            if !ys.is_empty() {
                lines.push(Line { name, xs, ys, colour, pale });
            }
        };
        let xs = columns.axis(view.axis);
        let smoothed = view.metric == Metric::Loss;
        let named = |what: &str| if runs.len() == 1 { what.to_string() } else { format!("{name} {what}") };
        let measured = if smoothed { named("measured") } else { name.clone() };
        put(measured, xs, columns.metric(view.metric), colour, smoothed);
        if smoothed {
            put(named("smoothed"), xs, &columns.smooth, colour, false);
            let own = if runs.len() == 1 { COLOURS[1] } else { colour };
            put(named("evaluation"), columns.eval_axis(view.axis), &columns.evals, own, false);
        }
    }
    let title = match runs {
        [(name, _)] => format!("{} - {name}", view.metric.title()),
        _ => view.metric.title().to_string(),
    };
    Plot { title, axis: view.axis, log_y: view.log_y, lines }
}

/// A row per logged step of each run, and one for each evaluation between them. What is not known is empty.
fn csv(w: &mut impl Write, runs: &[(String, &Columns)]) -> std::io::Result<()> {
    let metrics = Metric::ALL.map(Metric::name).join(",");
    writeln!(w, "run,step,epoch,seconds,{metrics},smoothed_loss,eval_loss")?;
    for (name, columns) in runs {
        let name = quoted(name);
        let step = |i: usize| columns.axis(Axis::Step).values()[i];
        let eval_steps = columns.eval_axis(Axis::Step).values();
        let mut eval = 0;
        for i in 0..columns.len() {
            while eval < eval_steps.len() && eval_steps[eval] < step(i) {
                write_eval(w, &name, columns, eval)?;
                eval += 1;
            }
            write!(w, "{name}")?;
            let axes = Axis::ALL.map(|a| columns.axis(a).values()[i]);
            let values = Metric::ALL.map(|m| columns.metric(m).values()[i]);
            let smooth = columns.smooth.values().get(i).copied().unwrap_or(f64::NAN);
            axes.iter().chain(&values).chain([&smooth]).try_for_each(|v| write!(w, ",{}", cell(*v)))?;
            let here = eval_steps.get(eval).is_some_and(|s| *s == step(i));
            let loss = if here { columns.evals.values()[eval] } else { f64::NAN };
            eval += usize::from(here);
            writeln!(w, ",{}", cell(loss))?;
        }
        (eval..eval_steps.len()).try_for_each(|eval| write_eval(w, &name, columns, eval))?;
    }
    Ok(())
}

fn write_eval(w: &mut impl Write, name: &str, columns: &Columns, i: usize) -> std::io::Result<()> {
    let axes = Axis::ALL.map(|a| cell(columns.eval_axis(a).values()[i])).join(",");
    let gap = ",".repeat(Metric::ALL.len() + 2);
    writeln!(w, "{name},{axes}{gap}{}", cell(columns.evals.values()[i]))
}

fn cell(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// A plot as SVG text.
struct Svg(String);

impl Svg {
    fn new() -> Self {
        let mut svg = String::new();
        let size = format!("width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"");
        let font = "font-family=\"sans-serif\" font-size=\"12\"";
        let _ = writeln!(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\" {size} {font}>");
        svg.push_str("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
        Self(svg)
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

impl Surface for Svg {
    fn line(&mut self, points: &[(f64, f64)], [r, g, b]: Rgb, width: f64) {
        let places: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let style = format!("stroke=\"rgb({r},{g},{b})\" stroke-width=\"{width}\" stroke-linejoin=\"round\"");
        let _ = writeln!(self.0, "<polyline fill=\"none\" {style} points=\"{}\"/>", places.join(" "));
    }

    fn words(&mut self, (x, y): (f64, f64), side: i8, words: &str, [r, g, b]: Rgb) {
        let anchor = ["start", "middle", "end"][usize::from((side + 1).clamp(0, 2).unsigned_abs())];
        let words: String = words.chars().filter(|c| !c.is_control()).collect();
        let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let style = format!("text-anchor=\"{anchor}\" fill=\"rgb({r},{g},{b})\"");
        let _ = writeln!(self.0, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::job::StepRow;

    fn columns() -> Columns {
        let mut columns = Columns::default();
        for step in [2, 4, 6] {
            let loss = 4.0 / step as f64;
            columns.push(&StepRow { step, loss, epoch: 0.5, lr: 1e-4, ..StepRow::default() });
            if step == 4 {
                columns.push_eval(4, 0.9);
            }
        }
        columns.push_eval(7, 0.8);
        columns.smooth();
        columns
    }

    #[test]
    fn a_table_has_every_row_and_evaluations_in_their_place() {
        let mut text = Vec::new();
        csv(&mut text, &[("a,\"b\"".into(), &columns())]).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].starts_with("\"a,\"\"b\"\"\",2,0.5,0,2,0.0001,,,,,,"), "{}", lines[1]);
        assert!(lines[2].ends_with(",0.9") && lines[3].ends_with(','), "{text}");
        assert!(lines[4].contains(",7,") && lines[4].ends_with(",0.8"));
        let commas = |line: &str| line.replace("\"a,\"\"b\"\"\"", "").matches(',').count();
        assert!(lines[1..].iter().all(|l| commas(l) == commas(lines[0])), "{text}");
    }

    #[test]
    fn the_ending_of_the_name_is_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (columns(), columns());
        let runs = [("<one>".to_string(), &one), ("two".to_string(), &two)];
        let write =
            |name: &str| write(&dir.path().join(name), &runs, View { log_y: true, ..View::default() });
        for name in ["a.svg", "a.PNG", "a.csv"] {
            write(name).unwrap();
        }
        assert!(write("a.jpg").unwrap_err().hint.unwrap().contains(".png"));
        let svg = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
        assert!(svg.contains("&lt;one&gt; smoothed") && svg.ends_with("</svg>\n"));
        assert!(image::open(dir.path().join("a.PNG")).is_ok());
        assert!(super::write(&dir.path().join("b.svg"), &[], View::default()).is_err());
    }
}
