//! The training pane: where the run stands, its curves, its log, and the controls.

use super::derived;
use super::{Canvas, Hit, Pane, movement};
use crate::job::{Command, Level, StepRow};
use crate::tui::action::{Action, Context};
use crate::tui::effects::Effect;
use crate::tui::state::State;
use crate::tui::state::run::{Run, Status, per_second};
use crate::tui::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::chart::{Chart, Series};
use crate::tui::widgets::popup::Popup;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// How the run is looked at.
#[derive(Default)]
pub struct TrainPane {
    log_y: bool,
    hide_smooth: bool,
    log_view: bool,
    /// Lines from the end of the log.
    log_back: usize,
    /// Index of the logged step whose values are read.
    cursor: Option<usize>,
}

impl Pane for TrainPane {
    fn context(&self) -> Context {
        Context::Training
    }

    fn name(&self) -> &'static str {
        "Training"
    }

    fn title(&self, state: &State) -> String {
        let Some(run) = &state.run else { return String::new() };
        let name = run.run_dir.file_name().unwrap_or_default().to_string_lossy();
        format!("{} · {}", crate::data::clean::for_terminal(&name), run.word())
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        match state.run.as_ref().filter(|r| r.alive()) {
            None => vec![(Action::Train, "start"), (Action::LogView, "log"), (Action::LogY, "log axis")],
            Some(run) => vec![
                (Action::Pause, if matches!(run.status, Status::Paused) { "resume" } else { "pause" }),
                (Action::SaveNow, "save now"),
                (Action::StopAndSave, "stop+save"),
                (Action::StopNow, "stop now"),
                (Action::LogView, "log"),
                (Action::LogY, "log axis"),
            ],
        }
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::LogY => self.log_y = !self.log_y,
            Action::Smoothing => self.hide_smooth = !self.hide_smooth,
            Action::LogView => (self.log_view, self.log_back) = (!self.log_view, 0),
            Action::Pause | Action::SaveNow | Action::StopAndSave | Action::StopNow => {
                return Some(control(action, state));
            }
            Action::Left => self.move_cursor(-1, state),
            Action::Right => self.move_cursor(1, state),
            Action::Back if self.cursor.is_some() => self.cursor = None,
            Action::Back if self.log_view => self.log_view = false,
            action if self.log_view => {
                let most = state.run.as_ref().map_or(0, |r| r.log.len()) as isize;
                self.log_back =
                    (self.log_back as isize).saturating_sub(movement(action)?).clamp(0, most) as usize;
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let Some(run) = &state.run else { return draw_empty(canvas, area) };
        let head = draw_head(canvas, area, run).min(area.height.into()) as u16;
        let body = Rect { y: area.y + head, height: area.height - head, ..area };
        if self.log_view {
            return self.draw_log(canvas, body, run);
        }
        if run.curves.step.is_empty() {
            return draw_waiting(canvas, body, run);
        }
        let log = if body.height >= 14 && !run.log.is_empty() { (body.height / 5).clamp(2, 8) } else { 0 };
        let small = if body.height >= 22 { body.height / 4 } else { 0 };
        let [loss, small, log] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(small), Constraint::Length(log)])
                .areas(body);
        self.draw_loss(canvas, loss, run);
        self.draw_small(canvas, small, run);
        self.draw_log(canvas, log, run);
    }
}

/// Says something to the running job; what loses work asks first.
fn control(action: Action, state: &mut State) -> Vec<Effect> {
    if !state.may_command() {
        return Vec::new();
    }
    let Some(run) = state.run.as_mut().filter(|r| r.alive()) else {
        let key = state.keys.hint(Action::Train);
        state.notify(Level::Info, format!("nothing is training; {key} starts"));
        return Vec::new();
    };
    let command = match action {
        Action::Pause if matches!(run.status, Status::Paused) => Command::Resume,
        Action::Pause => Command::Pause,
        Action::SaveNow => Command::SaveNow,
        Action::StopAndSave => Command::Stop { save: true },
        _ => {
            let lost = run.step().saturating_sub(run.saved.as_ref().map_or(0, |s| s.0));
            state.popup = Some(Popup::stop_now(state.words, lost));
            return Vec::new();
        }
    };
    let said = match command {
        Command::Resume => "resuming",
        Command::Pause => "pausing after this step",
        Command::SaveNow => "saving a checkpoint after this step",
        _ => "saving, then stopping",
    };
    state.notify(Level::Info, said);
    state.tell(command)
}

fn draw_empty(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let model = state.config.model_name_or_path.file_name().map(|n| n.to_string_lossy().into_owned());
    let lines = match model {
        None if state.data.names.is_empty() => {
            vec![format!("{}   get the demo data and model first", state.keys.hint(Action::Demo))]
        }
        None => vec![format!("{}   set model_name_or_path first", state.keys.hint(Action::FocusParameters))],
        Some(model) => vec![
            format!("{}   start training", state.keys.hint(Action::Train)),
            String::new(),
            format!("{} on {}", crate::data::clean::for_terminal(&model), state.config.dataset.join(", ")),
            derived::line(&state.config, state),
        ],
    };
    canvas.empty(area, "No training yet", &lines);
}

/// Before the first step: what is happening, and what will be trained.
fn draw_waiting(canvas: &mut Canvas, area: Rect, run: &Run) {
    let theme = &canvas.state.theme;
    if let Some(error) = run.error() {
        let y = canvas.wrapped(area, 1, &crate::data::clean::for_terminal(&error.message), theme.bad);
        let hint = error.hint.as_deref().unwrap_or("the log has the details");
        canvas.wrapped(area, y + 1, &crate::data::clean::for_terminal(hint), Style::new());
        return;
    }
    for (y, t) in run.targets.iter().enumerate() {
        let share = if t.trainable > 0 { format!("+{}", text::count(t.trainable)) } else { "frozen".into() };
        let row = format!(
            "{} {} {} {}",
            text::pad(&t.family, 28),
            text::pad_left(&format!("{}×", t.matrices), 6),
            text::pad_left(&text::count(t.parameters), 9),
            text::pad_left(&share, 9)
        );
        let style = if t.trainable > 0 { theme.good } else { theme.dim };
        canvas.line(area, y + 1, Line::styled(row, style));
    }
}

/// Progress and the numbers of now; gives the rows used.
fn draw_head(canvas: &mut Canvas, area: Rect, run: &Run) -> usize {
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
    canvas.line(
        area,
        0,
        bar(theme, done, total, columns.saturating_sub(text::width(&words) + 2).min(40), &words),
    );
    let Some(row) = &run.last else { return 1 };
    let mut y = 1;
    for line in text::wrap(&numbers(run, row).join("   "), columns, 2) {
        canvas.line(area, y, Line::raw(line));
        y += 1;
    }
    y
}

fn numbers(run: &Run, row: &StepRow) -> Vec<String> {
    let smooth = run.curves.smooth.last().map_or(String::new(), |s| format!("\u{a0}({})", text::number(*s)));
    let wait = if row.seconds > 0.0 { 100.0 * row.data_wait / row.seconds } else { 0.0 };
    let mut all = vec![
        format!("loss\u{a0}{}{smooth}", text::number(row.loss)),
        format!("lr\u{a0}{}", text::number(row.lr)),
        format!("grad\u{a0}{}", text::number(row.grad_norm)),
        format!("{}\u{a0}samples/s", text::number(per_second(row.samples, row.seconds))),
        format!("{}\u{a0}tokens/s", text::number(per_second(row.tokens, row.seconds))),
        format!("data\u{a0}wait\u{a0}{wait:.0}\u{a0}%"),
        text::bytes(row.memory).replace(' ', "\u{a0}"),
    ];
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

/// A progress bar with words behind it.
fn bar<'a>(theme: &Theme, done: usize, total: usize, columns: usize, words: &str) -> Line<'a> {
    let full = (done.min(total) * columns).checked_div(total).unwrap_or(0);
    Line::from(vec![
        Span::styled("━".repeat(full), theme.bar),
        Span::styled("─".repeat(columns - full), theme.border),
        Span::raw(format!("  {words}")),
    ])
}

impl TrainPane {
    /// Moves the reading cursor by logged steps, from the end at first.
    fn move_cursor(&mut self, by: isize, state: &State) {
        let Some(last) = state.run.as_ref().and_then(|r| r.curves.step.len().checked_sub(1)) else { return };
        let stride = (last / 100).max(1) as isize;
        let now = self.cursor.unwrap_or(last) as isize;
        self.cursor = Some((now + by * stride).clamp(0, last as isize) as usize);
    }

    fn draw_loss(&mut self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let theme = &canvas.state.theme;
        let c = &run.curves;
        self.cursor = self.cursor.map(|i| i.min(c.step.len() - 1));
        let mut title = vec![Span::styled("loss", theme.strong)];
        match self.cursor {
            Some(i) => title.push(Span::raw(format!(
                "  step {} · {} (smoothed {}) · lr {} · grad {}",
                c.step[i],
                text::number(c.loss[i]),
                c.smooth.get(i).map_or("-".into(), |v| text::number(*v)),
                text::number(c.lr[i]),
                text::number(c.grad_norm[i])
            ))),
            None => {
                title.push(Span::styled("  ⠒ measured", theme.raw));
                if !self.hide_smooth {
                    title.push(Span::styled("  ⠒ smoothed", theme.smooth));
                }
                if !c.eval_step.is_empty() {
                    title.push(Span::styled("  ⠒ evaluation", theme.eval));
                }
                title.push(Span::styled(if self.log_y { "  (log)" } else { "" }, theme.dim));
            }
        }
        canvas.line(area, 0, Line::from(title));
        let mut series = vec![Series { xs: &c.step, ys: &c.loss, style: theme.raw }];
        if !self.hide_smooth {
            series.push(Series { xs: &c.step, ys: &c.smooth, style: theme.smooth });
        }
        series.push(Series { xs: &c.eval_step, ys: &c.eval_loss, style: theme.eval });
        let cursor = self.cursor.map(|i| c.step[i]);
        let chart = Chart { series, log_y: self.log_y, cursor, theme };
        canvas.frame.render_widget(chart, below(area));
    }

    fn draw_small(&self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let theme = &canvas.state.theme;
        let c = &run.curves;
        let all: [(&str, &[f64]); 3] =
            [("learning rate", &c.lr), ("gradient norm", &c.grad_norm), ("tokens/s", &c.tokens_per_second)];
        let shown = &all[..(usize::from(area.width) / 36).clamp(1, 3)];
        let parts = Layout::horizontal(shown.iter().map(|_| Constraint::Fill(1))).spacing(2).split(area);
        for ((name, ys), part) in shown.iter().zip(parts.iter()) {
            canvas.line(*part, 0, Line::styled(*name, theme.strong));
            let series = vec![Series { xs: &c.step, ys, style: theme.curve }];
            let cursor = self.cursor.map(|i| c.step[i]);
            canvas.frame.render_widget(Chart { series, log_y: false, cursor, theme }, below(*part));
        }
    }

    /// The newest lines, the last at the bottom.
    fn draw_log(&mut self, canvas: &mut Canvas, area: Rect, run: &Run) {
        let theme = &canvas.state.theme;
        let height = usize::from(area.height);
        if height == 0 {
            return;
        }
        canvas.hits.push((area, Hit::Act(Action::LogView)));
        canvas.line(
            area,
            0,
            Line::styled("─ log ".to_string() + &"─".repeat(area.width.into()), theme.border),
        );
        let inner = below(area);
        let rows = usize::from(inner.height);
        self.log_back = self.log_back.min(run.log.len().saturating_sub(rows));
        let first = run.log.len().saturating_sub(rows + self.log_back);
        for (y, (level, line)) in run.log.iter().skip(first).take(rows).enumerate() {
            let style = match level {
                Level::Error => theme.bad,
                Level::Warning => theme.warn,
                Level::Info => Style::new(),
                Level::Debug => theme.dim,
            };
            canvas.line(inner, y, Line::styled(text::truncate(line, inner.width.into()), style));
        }
    }
}

/// An area without its first row.
fn below(area: Rect) -> Rect {
    Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area }
}
