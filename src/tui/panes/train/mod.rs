//! The training pane: where the run stands, its curves, its log, and the controls.

mod change;
mod charts;
mod head;
mod log;

use super::derived;
use super::{Canvas, Pane};
use crate::job::{Command, Level};
use crate::runs::export::View;
use crate::tui::action::{Action, Context};
use crate::tui::effects::{Effect, Load};
use crate::tui::run_worker::Ask;
use crate::tui::state::State;
use crate::tui::state::run::{Run, Status};
use crate::tui::text;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::popup::Popup;
use change::Change;
use charts::Charts;
pub use charts::by;
use crossterm::event::KeyEvent;
use log::LogView;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

/// How the run is looked at.
#[derive(Default)]
pub struct TrainPane {
    charts: Charts,
    log: LogView,
    change: Option<Change>,
    /// The file that the plot is to be written to.
    plot: Option<Input>,
}

/// The run that is shown: one that was opened, else the one of this workbench.
fn shown(state: &State) -> Option<&Run> {
    state.runs.opened.as_deref().or(state.run.as_ref())
}

impl Pane for TrainPane {
    fn context(&self) -> Context {
        Context::Training
    }

    fn name(&self) -> &'static str {
        "Training"
    }

    fn title(&self, state: &State) -> String {
        let Some(run) = shown(state) else { return String::new() };
        let name = run.run_dir.file_name().unwrap_or_default().to_string_lossy();
        let (name, word) = (crate::data::clean::for_terminal(&name), state.words.get(run.word()));
        match run.opened {
            Some(_) => state.words.fill("train.opened", &[("name", &name), ("word", word)]),
            None => format!("{name} · {word}"),
        }
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        let look = [(Action::LogView, "log"), (Action::LogY, "log axis"), (Action::NextCurve, "curve")];
        let first = match shown(state) {
            Some(run) if run.opened.is_some() => {
                vec![(Action::Back, "close"), (Action::ExportPlot, "export")]
            }
            Some(run) if run.alive() => vec![
                (Action::Pause, if matches!(run.status, Status::Paused) { "resume" } else { "pause" }),
                (Action::SaveNow, "save now"),
                (Action::StopAndSave, "stop+save"),
                (Action::StopNow, "stop now"),
                (Action::ChangeSetting, "change"),
            ],
            _ => vec![(Action::Train, "start"), (Action::FocusRuns, "runs")],
        };
        first.into_iter().chain(look).collect()
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Pause | Action::SaveNow | Action::StopAndSave | Action::StopNow => {
                return Some(control(action, state));
            }
            Action::ChangeSetting => self.open_change(state),
            Action::ExportPlot => {
                self.plot = shown(state).map(|run| super::runs::plot_path(state, &run.run_dir))
            }
            action if self.log.act(action, shown(state)) => {}
            action if shown(state).is_some_and(|run| self.charts.act(action, &run.curves)) => {}
            Action::Back if state.runs.opened.is_some() => state.runs.opened = None,
            _ => return None,
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.change.is_some() || self.plot.is_some() || self.log.search.is_some()
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        if let Some(change) = &mut self.change {
            let effects = change.type_key(key, state);
            if effects.is_none() || !state.training() {
                self.change = None;
            }
            return effects.unwrap_or_default();
        }
        let Some(input) = &mut self.plot else {
            self.log.type_key(key);
            return Vec::new();
        };
        let typed = input.key(key);
        if !matches!(typed, Typed::Submit | Typed::Cancel) {
            return Vec::new();
        }
        let path = self.plot.take().map(|mut input| input.take()).unwrap_or_default();
        let Some(run) = shown(state).filter(|_| typed == Typed::Submit && !path.trim().is_empty()) else {
            return Vec::new();
        };
        let view = View { metric: self.charts.metric, axis: self.charts.axis, log_y: self.charts.log_y };
        let (path, dirs) = (path.trim().into(), vec![run.run_dir.clone()]);
        vec![Effect::Load(Load::Runs(Ask::Export { path, dirs, view }))]
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        match (&mut self.change, &mut self.plot) {
            (Some(change), _) => change.paste(pasted, state),
            (None, Some(input)) => input.paste(pasted),
            (None, None) => self.log.paste(pasted),
        }
        Vec::new()
    }

    fn typing_hint(&self) -> &'static str {
        match (&self.change, &self.plot) {
            (Some(_), _) => "typing.change",
            (None, Some(_)) => "typing.plot",
            (None, None) => "typing.filter",
        }
    }

    fn click(&mut self, row: usize, _state: &mut State) {
        self.charts.cursor = Some(row);
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let Some(run) = shown(state) else { return draw_empty(canvas, area) };
        let used = head::draw(canvas, area, run).min(area.height.into()) as u16;
        let mut body = Rect { y: area.y + used, height: area.height - used, ..area };
        if let Some(change) = &self.change {
            let rows = change::ROWS.min(body.height);
            change.draw(canvas, Rect { height: rows, ..body });
            body = Rect { y: body.y + rows, height: body.height - rows, ..body };
        } else if let Some(input) = &self.plot {
            super::runs::draw_question(canvas, body, state.words.get("runs.write_to"), input);
            body = below(body);
        }
        if self.log.open {
            return self.log.draw(canvas, body, run);
        }
        if run.curves.is_empty() {
            return draw_waiting(canvas, body, run);
        }
        let log = if body.height >= 14 && !run.log.is_empty() { (body.height / 5).clamp(2, 8) } else { 0 };
        let small = match body.height {
            0..22 => 0,
            22..48 => body.height / 4,
            tall => tall / 3,
        };
        let [loss, small, log] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(small), Constraint::Length(log)])
                .areas(body);
        self.charts.draw_large(canvas, loss, run);
        self.charts.draw_small(canvas, small, run);
        self.log.draw(canvas, log, run);
    }
}

impl TrainPane {
    fn open_change(&mut self, state: &mut State) {
        if !state.may_command() {
            return;
        }
        if state.training() {
            (self.change, state.runs.opened) = (Some(Change::default()), None);
        } else {
            state.notify(Level::Info, state.words.get("train.not_training"));
        }
    }
}

/// Says something to the running job; what loses work asks first.
fn control(action: Action, state: &mut State) -> Vec<Effect> {
    if !state.may_command() {
        return Vec::new();
    }
    let Some(run) = state.run.as_mut().filter(|r| r.alive()) else {
        let key = state.keys.hint(Action::Train);
        state.notify(Level::Info, state.words.fill("train.nothing", &[("key", &key)]));
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
        Command::Resume => "train.resuming",
        Command::Pause => "train.pausing",
        Command::SaveNow => "train.saving",
        _ => "train.stopping",
    };
    state.notify(Level::Info, state.words.get(said));
    state.tell(command)
}

fn draw_empty(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let model = state.config.model_name_or_path.file_name().map(|n| n.to_string_lossy().into_owned());
    let say = |what, action| state.words.fill(what, &[("key", &state.keys.hint(action))]);
    let lines = match model {
        None if state.data.names.is_empty() => vec![say("train.get_demo", Action::Demo)],
        None => vec![say("train.set_model", Action::FocusParameters)],
        Some(model) => {
            let model = crate::data::clean::for_terminal(&model);
            let parts = [("model", model.as_str()), ("data", &state.config.dataset.join(", "))];
            vec![
                say("train.start", Action::Train),
                String::new(),
                state.words.fill("train.on", &parts),
                derived::line(&state.config, state),
            ]
        }
    };
    canvas.empty(area, state.words.get("train.none"), &lines);
}

/// Before the first step: what is happening, and what will be trained.
fn draw_waiting(canvas: &mut Canvas, area: Rect, run: &Run) {
    let (theme, words) = (&canvas.state.theme, canvas.state.words);
    let clean = |text: &str| crate::data::clean::for_terminal(&words.said(text));
    if let Some(error) = run.error() {
        let y = canvas.wrapped(area, 1, &clean(&error.message), theme.bad);
        let hint = error.hint.as_deref().unwrap_or(words.get("train.log_has"));
        canvas.wrapped(area, y + 1, &clean(hint), Style::new());
        return;
    }
    for (y, t) in run.targets.iter().enumerate() {
        let share = match t.trainable {
            0 => words.get("frozen").to_string(),
            n => format!("+{}", text::count(n)),
        };
        let row = format!(
            "{} {} {} {}",
            text::pad(&clean(&t.family), 28),
            text::pad_left(&format!("{}×", t.matrices), 6),
            text::pad_left(&text::count(t.parameters), 9),
            text::pad_left(&share, 9)
        );
        let style = if t.trainable > 0 { theme.good } else { theme.dim };
        canvas.line(area, y + 1, Line::styled(row, style));
    }
}

/// An area without its first row.
fn below(area: Rect) -> Rect {
    Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area }
}
