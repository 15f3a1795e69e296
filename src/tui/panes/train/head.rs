//! The top of the training pane: progress, the numbers of now, where the time of a step goes.

use crate::job::{StepRow, TimeSplit};
use crate::runs::Metric;
use crate::tui::panes::Canvas;
use crate::tui::state::run::{Run, per_second};
use crate::tui::text;
use crate::tui::theme::Theme;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Progress and the numbers of now; gives the rows used.
pub fn draw(canvas: &mut Canvas, area: Rect, run: &Run) -> usize {
    let theme = &canvas.state.theme;
    let columns = usize::from(area.width);
    let (done, total) = match run.phase {
        Some((_, done, total)) => (done, total),
        None => (run.step(), run.total_steps),
    };
    let what = match run.phase {
        Some((phase, ..)) => phase.name(),
        None => run.word(),
    };
    let epoch = run.last.as_ref().map_or(String::new(), |r| format!(" · epoch {:.2}", r.epoch));
    let eta = run.remaining().map_or(String::new(), |s| format!(" · ETA {}", text::duration(s)));
    let words = format!("{what} {done}/{total}{epoch}{eta}");
    let room = columns.saturating_sub(text::width(&words) + 2).min(40);
    canvas.line(area, 0, bar(theme, (done, total), room, &words));
    let Some(row) = &run.last else { return 1 };
    let mut y = 1;
    for line in text::wrap(&numbers(run, row).join("   "), columns, 2) {
        canvas.line(area, y, Line::raw(line));
        y += 1;
    }
    if area.height >= 16 {
        let split = split_line(&row.split, row.seconds);
        if !split.is_empty() {
            canvas.line(area, y, Line::styled(text::truncate(&split, columns).into_owned(), theme.dim));
            y += 1;
        }
    }
    y
}

fn numbers(run: &Run, row: &StepRow) -> Vec<String> {
    let smooth = run.curves.smooth.last().map_or(String::new(), |s| format!("\u{a0}({})", text::number(s)));
    let mut all = vec![
        format!("loss\u{a0}{}{smooth}", text::number(row.loss)),
        format!("lr\u{a0}{}", text::number(row.lr)),
    ];
    // A log of another program does not have all of them.
    let known = |metric: Metric| !metric.of(row).is_nan();
    if known(Metric::GradNorm) {
        all.push(format!("grad\u{a0}{}", text::number(row.grad_norm)));
    }
    if known(Metric::TokensPerSecond) {
        all.push(format!("{}\u{a0}samples/s", text::number(per_second(row.samples, row.seconds))));
        all.push(format!("{}\u{a0}tokens/s", text::number(per_second(row.tokens, row.seconds))));
        all.push(format!("data\u{a0}wait\u{a0}{:.0}\u{a0}%", 100.0 * row.data_wait / row.seconds));
    }
    if known(Metric::Memory) {
        all.push(text::bytes(row.memory).replace(' ', "\u{a0}"));
    }
    if run.parameters > 0 {
        let share = 100.0 * run.trainable as f64 / run.parameters as f64;
        all.push(
            format!("trains\u{a0}{}\u{a0}({share:.1}\u{a0}%)", text::count(run.trainable))
                .replace(' ', "\u{a0}"),
        );
    }
    all.extend(run.scores.iter().map(|(name, value)| format!("{name}\u{a0}{}", text::number(*value))));
    all
}

/// Where the seconds since the last log went, the parts that count.
fn split_line(split: &TimeSplit, seconds: f64) -> String {
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
    let shown =
        parts.iter().filter(|p| share(p.1) >= 0.5).map(|(name, s)| format!("{name} {:.0} %", share(*s)));
    format!("step time: {}", shown.collect::<Vec<_>>().join(" · "))
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

    #[test]
    fn the_split_names_what_counts() {
        let split =
            TimeSplit { data: 0.1, forward: 1.0, backward: 2.0, saving: 0.001, ..TimeSplit::default() };
        assert_eq!(split_line(&split, 4.0), "step time: data 2 % · forward 25 % · backward 50 %");
        assert_eq!(split_line(&TimeSplit::default(), 4.0), "");
        assert_eq!(split_line(&split, f64::NAN), "step time: data 3 % · forward 32 % · backward 64 %");
    }
}
