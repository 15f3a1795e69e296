//! `lorascope bench screen`: what an update and a frame of the workbench take, with a long run and a large data set open.

use super::bench_workspace::{self, Trainer};
use super::columns;
use super::output::Out;
use crate::error::{At, Result};
use crate::tui::headless::{Cost, Headless};
use crate::tui::state::State;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much there is to draw.
#[derive(Clone, Copy)]
pub(super) struct Size {
    /// Logged rows of the run that goes on.
    pub points: usize,
    /// Rows of the data set, and of each of two evaluations.
    pub samples: usize,
    pub screen: (u16, u16),
    /// Times that the keys of each pane are pressed.
    pub rounds: usize,
}

/// What is promised: see CONTRIBUTING.md, "Speed".
pub(super) const FULL: Size = Size { points: 1_000_000, samples: 16_163, screen: (200, 60), rounds: 12 };
/// Milliseconds that update and draw may take at the 99th percentile.
const BAR: f64 = 5.0;

/// What is pressed in each pane, with the name of what is measured. Each ends where it began.
const KEYS: [(&str, &str); 8] = [
    ("data", DATA),
    ("data, longest caption", LONGEST),
    ("parameters", PARAMETERS),
    ("training", TRAINING),
    ("chat", CHAT),
    ("runs", RUNS),
    ("runs compared", COMPARED),
    ("evaluation", EVALUATION),
];
const DATA: &str = "1 g j j j k ctrl-f ctrl-f ctrl-b J J K j j j v j j v / 结 节 enter n n n N m j j m esc \
     o + + l - 0 a b c r right right left o e a b backspace up down left esc esc y";
const LONGEST: &str = "1 G J J J K v J J J v o + - o k k j j J K";
const PARAMETERS: &str = "2 g j j j k ctrl-f ctrl-f ctrl-b G g / r a n k enter enter ctrl-u 3 2 esc esc m m \
     / l e a r n enter enter ctrl-u 1 e - 4 esc esc j j k k";
const TRAINING: &str = "3 i i i i H H L o left left left right esc o o o 0 y e n n n N N N a a a y e \
     v j j k f f f f / r o w space 9 enter k k esc esc";
const CHAT: &str =
    "4 i ctrl-u w h a t enter esc k k ctrl-b ctrl-b j ctrl-f G s j k s b b i 病 灶 backspace esc ] [ j k j k";
const RUNS: &str = "5 g j j j k ctrl-f ctrl-f ctrl-b G g space j space esc / 0 7 esc j k";
const COMPARED: &str = "n n N N a a a y e e y J J K K";
const EVALUATION: &str = "6 g j j j k ctrl-f ctrl-f ctrl-b G g s j j s j j s j j s J J K K";
/// Pressed in all panes, at the end.
const EVERYWHERE: &str = "? j j k esc : e x p backspace esc > < + -";

/// The cost of some frames.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    frames: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// The keys that took the longest at their median, longest first.
    slow_keys: Vec<String>,
    /// That a terminal gets, of a frame in the middle.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Measured {
    points: usize,
    samples: usize,
    columns: u16,
    rows: u16,
    /// Until the run's rows and the data set were there.
    open_seconds: f64,
    panes: Vec<Row>,
    bar_p99_ms: f64,
    /// Whether every pane keeps to it.
    met: bool,
}

/// Measures in a temporary folder and prints.
pub(super) fn run(size: Size, out: &Out) -> Result<()> {
    let measured = measure(size, out)?;
    print(&measured, out);
    out.object(&measured);
    Ok(())
}

fn measure(size: Size, out: &Out) -> Result<Measured> {
    let folder = tempfile::tempdir().at("create a folder for the run in", std::env::temp_dir())?;
    out.note(format!("writing a run of {} points and {} samples", size.points, size.samples));
    let long = bench_workspace::fill(folder.path(), size.points, size.samples)?;
    let mut trainer = Trainer::take(&long, size.points)?;
    let begun = Instant::now();
    let mut screen = open(folder.path(), size)?;
    let open_seconds = begun.elapsed().as_secs_f64();
    out.note("drawing");
    let mut panes = Vec::new();
    for (name, keys) in KEYS {
        let costs = pane(&mut screen, &mut trainer, (name, keys), size)?;
        panes.push(row(name, costs));
    }
    Ok(Measured {
        points: size.points,
        samples: size.samples,
        columns: size.screen.0,
        rows: size.screen.1,
        open_seconds,
        met: panes.iter().all(|row| row.p99_ms < BAR),
        panes,
        bar_p99_ms: BAR,
    })
}

/// The workbench with everything read.
fn open(workspace: &Path, size: Size) -> Result<Headless> {
    let mut screen = Headless::open(workspace.to_path_buf(), size.screen)?;
    screen.until("the run and the data set", |state| {
        let points = state.run.as_ref().map_or(0, |run| run.curves.len());
        points >= size.points && state.data.rows == size.samples
    })?;
    screen.until("the run's controls", |state| state.run.as_ref().is_some_and(|run| run.controls.yours))?;
    screen.frame("6")?;
    screen.until("the evaluations", |state| state.evaluation.base.samples.len() == size.samples)?;
    screen.frame("5")?;
    screen.until("the list of runs", |state| state.runs.known)?;
    Ok(screen)
}

/// The frames of one pane, beside others and alone.
fn pane(
    screen: &mut Headless,
    trainer: &mut Trainer,
    (name, keys): (&'static str, &'static str),
    size: Size,
) -> Result<Vec<(&'static str, Cost)>> {
    if keys == COMPARED {
        compare(screen)?;
    }
    let mut costs = Vec::new();
    for round in 0..size.rounds {
        screen.zoom(round % 2 == 1);
        let everywhere = if keys == COMPARED { "" } else { EVERYWHERE };
        for key in keys.split_whitespace().chain(everywhere.split_whitespace()) {
            trainer.tick();
            costs.push((key, screen.frame(key)?));
        }
        debug_assert!(screen.state().popup.is_none(), "the keys of {name} leave a box open");
    }
    if keys == COMPARED {
        screen.frame("esc")?;
    }
    Ok(costs)
}

/// Lays the long run and a short one over each other.
fn compare(screen: &mut Headless) -> Result<()> {
    for key in ["5", "g", "m", "G", "m", "c"] {
        screen.frame(key)?;
    }
    screen.until("the comparison", |state: &State| state.runs.compared.is_some())
}

fn row(name: &'static str, pressed: Vec<(&'static str, Cost)>) -> Row {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let slow_keys = slow_keys(&pressed);
    let mut costs: Vec<Cost> = pressed.into_iter().map(|(_, cost)| cost).collect();
    costs.sort_by_key(|c| c.bytes);
    let bytes = percentile(&costs, 50).bytes;
    costs.sort_by_key(|c| c.time);
    let at = |percent| ms(percentile(&costs, percent).time);
    Row { name, frames: costs.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100), slow_keys, bytes }
}

/// The three keys whose median is the longest.
fn slow_keys(pressed: &[(&'static str, Cost)]) -> Vec<String> {
    let mut by_key: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for &(key, cost) in pressed {
        by_key.entry(key).or_default().push(cost);
    }
    let mut medians: Vec<(Duration, &str)> = Vec::new();
    for (key, mut costs) in by_key {
        costs.sort_by_key(|c| c.time);
        medians.push((percentile(&costs, 50).time, key));
    }
    medians.sort_by_key(|&(time, _)| std::cmp::Reverse(time));
    medians.iter().take(3).map(|(time, key)| format!("{key} {:.1}", 1000.0 * time.as_secs_f64())).collect()
}

/// The cost that `percent` of them do not exceed, of costs in order.
fn percentile(costs: &[Cost], percent: usize) -> Cost {
    let place = (costs.len() * percent).div_ceil(100).saturating_sub(1);
    costs.get(place).copied().unwrap_or_default()
}

fn print(m: &Measured, out: &Out) {
    out.line(format!(
        "{} points, {} samples, {}x{}; all of it read in {:.1} s",
        m.points, m.samples, m.columns, m.rows, m.open_seconds
    ));
    let heading = ["update + draw", "frames", "p50 ms", "p99 ms", "max ms", "bytes", "bar", "slowest keys"];
    let number = |x: f64| format!("{x:.2}");
    let cells = |r: &Row| {
        let bar = format!("p99 < {BAR} ms: {}", if r.p99_ms < BAR { "met" } else { "MISSED" });
        let times = [r.p50_ms, r.p99_ms, r.max_ms].map(number);
        let mut cells = vec![r.name.to_string(), r.frames.to_string()];
        cells.extend(times);
        cells.extend([r.bytes.to_string(), bar, r.slow_keys.join(", ")]);
        cells
    };
    let rows: Vec<Vec<String>> = m.panes.iter().map(cells).collect();
    let widths = columns::widths(&heading, &rows);
    out.line(columns::row(&heading, &widths));
    for row in &rows {
        out.line(columns::row(&row.iter().map(String::as_str).collect::<Vec<_>>(), &widths));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_pane_is_drawn_and_left_as_it_was() {
        let size = Size { points: 3000, samples: 120, screen: (120, 40), rounds: 2 };
        let measured = measure(size, &Out::new(false, true)).unwrap();
        let names: Vec<_> = measured.panes.iter().map(|row| row.name).collect();
        assert_eq!(names, KEYS.map(|k| k.0));
        for row in &measured.panes {
            assert!(row.slow_keys.len() == 3, "{row:?}");
            assert!(row.frames >= 30 && row.bytes > 0, "{row:?}");
            assert!(row.p50_ms > 0.0 && row.p50_ms <= row.p99_ms && row.p99_ms <= row.max_ms, "{row:?}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let costs: Vec<Cost> = (1..=200).map(|n| Cost { bytes: n, ..Cost::default() }).collect();
        let bytes = |percent| percentile(&costs, percent).bytes;
        assert_eq!([bytes(50), bytes(99), bytes(100)], [100, 198, 200]);
        assert_eq!(percentile(&[], 50).bytes, 0);
    }
}
