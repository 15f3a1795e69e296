//! The top of the training pane: progress, the numbers of now, where the time of a step goes.

use crate::job::{StepRow, TimeSplit};
use crate::runs::Metric;
use crate::tui::panes::Canvas;
use crate::tui::state::run::{Run, per_second};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::words::Words;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Progress and the numbers of now; gives the rows used.
pub fn draw(canvas: &mut Canvas, area: Rect, run: &Run) -> usize {
    let (theme, words) = (&canvas.state.theme, canvas.state.words);
    let columns = usize::from(area.width);
    let (done, total) = match run.phase {
        Some((_, done, total)) => (done, total),
        None => (run.step(), run.total_steps),
    };
    let what = match run.phase {
        Some((phase, ..)) => phase.name(),
        None => run.word(),
    };
    let mut line = format!("{} {done}/{total}", words.get(what));
    if let Some(row) = &run.last {
        line.push_str(&format!(" · {}", words.count("train.epoch", format!("{:.2}", row.epoch))));
    }
    if let Some(seconds) = run.remaining() {
        line.push_str(&format!(" · {} {}", words.get("status.eta"), text::duration(seconds)));
    }
    let room = columns.saturating_sub(text::width(&line) + 2).min(40);
    canvas.line(area, 0, bar(theme, (done, total), room, &line));
    let Some(row) = &run.last else { return 1 };
    let mut y = 1;
    for line in side_by_side(&numbers(words, run, row), columns, 2) {
        canvas.line(area, y, Line::raw(line));
        y += 1;
    }
    if area.height >= 16 {
        let split = split_line(words, &row.split, row.seconds);
        if !split.is_empty() {
            canvas.line(area, y, Line::styled(text::truncate(&split, columns).into_owned(), theme.dim));
            y += 1;
        }
    }
    y
}

fn numbers(words: Words, run: &Run, row: &StepRow) -> Vec<String> {
    let smooth = run.curves.smooth.last().map_or(String::new(), |s| format!(" ({})", text::number(s)));
    let mut all = vec![
        format!("{} {}{smooth}", words.get("loss"), text::number(row.loss)),
        format!("{} {}", words.get("lr"), text::number(row.lr)),
    ];
    // A log of another program does not have all of them.
    let known = |metric: Metric| !metric.of(row).is_nan();
    if known(Metric::GradNorm) {
        all.push(format!("{} {}", words.get("grad"), text::number(row.grad_norm)));
    }
    if known(Metric::TokensPerSecond) {
        let rate = |n: usize| text::number(per_second(n, row.seconds));
        all.push(format!("{} {}", rate(row.samples), words.get("samples/s")));
        all.push(format!("{} {}", rate(row.tokens), words.get("tokens/s")));
        all.push(format!("{} {:.0} %", words.get("data wait"), 100.0 * row.data_wait / row.seconds));
    }
    match row.gpu {
        Some(gpu) => all.push(gpu.to_string()),
        None if known(Metric::Memory) => all.push(text::bytes(row.memory)),
        None => {}
    }
    if run.parameters > 0 {
        let share = 100.0 * run.trainable as f64 / run.parameters as f64;
        all.push(format!("{} {} ({share:.1} %)", words.get("trains"), text::count(run.trainable)));
    }
    all.extend(run.scores.iter().map(|(name, value)| format!("{name} {}", text::number(*value))));
    // No blanks within: a terminal that selects by words takes a number with its name.
    all.iter().map(|one| one.replace(' ', "\u{a0}")).collect()
}

/// Numbers with their names beside each other, in lines of which none is broken within one.
fn side_by_side(all: &[String], columns: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for one in all {
        let full = lines.len() == most;
        match lines.last_mut() {
            Some(line) if text::width(line) + 3 + text::width(one) <= columns => {
                line.push_str(&format!("   {one}"));
            }
            Some(line) if full => {
                *line = text::truncate(&format!("{line} …"), columns).into_owned();
                break;
            }
            _ => lines.push(text::truncate(one, columns).into_owned()),
        }
    }
    lines
}

/// Where the seconds since the last log went, the parts that count.
fn split_line(words: Words, split: &TimeSplit, seconds: f64) -> String {
    let parts = [
        ("data", split.data),
        ("vision", split.vision),
        ("forward", split.forward),
        ("head", split.head),
        ("backward", split.backward),
        ("optimizer", split.optimizer),
        ("evaluation", split.evaluation),
        ("saving", split.saving),
    ];
    let sum: f64 = parts.iter().map(|p| p.1).sum();
    if !sum.is_finite() || sum <= 0.0 || seconds <= 0.0 {
        return String::new();
    }
    let share = |s: f64| 100.0 * s / seconds.max(sum);
    let part = |(name, s): &(&str, f64)| format!("{} {:.0} %", words.get(name), share(*s));
    let shown: Vec<_> = parts.iter().filter(|p| share(p.1) >= 0.5).map(part).collect();
    words.fill("train.step_time", &[("parts", &shown.join(" · "))])
}

/// A progress bar with words behind it.
fn bar<'a>(theme: &Theme, (done, total): (usize, usize), columns: usize, words: &str) -> Line<'a> {
    let full = (done.min(total) * columns).checked_div(total).unwrap_or(0);
    Line::from(vec![
        Span::styled("━".repeat(full), theme.bar),
        Span::styled("─".repeat(columns - full), theme.border),
        Span::raw(format!("  {words}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::words::Language;

    #[test]
    fn numbers_stay_with_their_names() {
        let all = ["损失 2.50".to_string(), "学习率 1e-4".into(), "lr 2e-5".into()];
        assert_eq!(side_by_side(&all, 23, 2), ["损失 2.50   学习率 1e-4", "lr 2e-5"]);
        assert_eq!(side_by_side(&all, 12, 2), ["损失 2.50", "学习率 1e-4…"], "no room for all");
        assert_eq!(side_by_side(&all, 4, 9), ["损…", "学…", "lr …"]);
    }

    #[test]
    fn the_split_names_what_counts() {
        let words = |language| Words { language };
        let split_line = |split: &TimeSplit, s| split_line(words(Language::English), split, s);
        let split =
            TimeSplit { data: 0.1, forward: 1.0, backward: 2.0, saving: 0.001, ..TimeSplit::default() };
        assert_eq!(split_line(&split, 4.0), "step time: data 2 % · forward 25 % · backward 50 %");
        assert_eq!(split_line(&TimeSplit::default(), 4.0), "");
        let chinese = super::split_line(words(Language::Chinese), &split, 4.0);
        assert_eq!(chinese, "每步用时：数据 2 % · 前向 25 % · 反向 50 %");
        assert_eq!(split_line(&split, f64::NAN), "step time: data 3 % · forward 32 % · backward 64 %");
    }
}
