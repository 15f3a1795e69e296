//! The runs pane, the task centre: every run with its status, settings and results; compared, opened, resumed, deleted.

mod compared;
mod list;

use super::{Canvas, Pane, movement};
use crate::job::Level;
use crate::runs::Detail;
use crate::tui::action::{Action, Context};
use crate::tui::effects::{Effect, Load};
use crate::tui::run_worker::Ask;
use crate::tui::settings_worker;
use crate::tui::state::State;
use crate::tui::widgets::input::{Input, Typed};
use compared::Compared;
use crossterm::event::KeyEvent;
use list::List;
use ratatui::layout::Rect;
use ratatui::text::Span;
use std::path::{Path, PathBuf};

/// What is being typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    /// The folder to import.
    Import,
    /// The file to write the plot to.
    Plot,
    /// Words that names of runs have.
    Filter,
}

/// How the runs are looked at.
#[derive(Default)]
pub struct RunsPane {
    list: List,
    compared: Compared,
    typed: Option<(Question, Input)>,
}

impl Pane for RunsPane {
    fn context(&self) -> Context {
        Context::Runs
    }

    fn name(&self) -> &'static str {
        "Runs"
    }

    fn title(&self, state: &State) -> String {
        let runs = &state.runs;
        match &runs.compared {
            Some(compared) => state.words.count("runs.compared", compared.runs.len()),
            None if !runs.marked.is_empty() => {
                let (all, n) = (runs.list.len().to_string(), runs.marked.len().to_string());
                state.words.fill("runs.marked", &[("all", &all), ("n", &n)])
            }
            None if runs.known => runs.list.len().to_string(),
            None => String::new(),
        }
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        if state.runs.compared.is_some() {
            return vec![
                (Action::Back, "list"),
                (Action::NextCurve, "curve"),
                (Action::XAxis, "axis"),
                (Action::LogY, "log axis"),
                (Action::ExportPlot, "export"),
            ];
        }
        vec![
            (Action::OpenRun, "open"),
            (Action::Compare, "compare"),
            (Action::Mark, "mark"),
            (Action::ResumeRun, "resume"),
            (Action::UseSettings, "settings"),
            (Action::DeleteRun, "delete"),
            (Action::ImportRun, "import"),
        ]
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        if state.runs.compared.as_ref().is_some_and(|compared| self.compared.act(action, compared)) {
            return Some(Vec::new());
        }
        match action {
            Action::ExportPlot => self.ask_plot(state),
            Action::ImportRun => self.typed = Some((Question::Import, Input::default())),
            Action::Filter => self.typed = Some((Question::Filter, Input::with(&self.list.wanted))),
            Action::Reload => state.runs.stale = true,
            Action::Back if state.runs.compared.is_some() => state.runs.compared = None,
            Action::Back if !self.list.wanted.is_empty() => self.list.wanted.clear(),
            Action::Back if !state.runs.marked.is_empty() => state.runs.marked.clear(),
            Action::OpenRun
            | Action::ResumeRun
            | Action::UseSettings
            | Action::DeleteRun
            | Action::Compare
            | Action::Mark => return Some(self.with_selected(action, state)),
            action => self.list.step(movement(action)?, state),
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.typed.is_some()
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        let Some((question, input)) = &mut self.typed else { return Vec::new() };
        let (question, typed) = (*question, input.key(key));
        if question == Question::Filter {
            self.list.filter(if typed == Typed::Cancel { "" } else { input.text() }, state);
        }
        if !matches!(typed, Typed::Submit | Typed::Cancel) {
            return Vec::new();
        }
        let text = self.typed.take().map(|(_, mut input)| input.take()).unwrap_or_default();
        if typed == Typed::Cancel || text.trim().is_empty() {
            return Vec::new();
        }
        let ask = match question {
            Question::Filter => return Vec::new(),
            Question::Import => Ask::Import { from: text.trim().into(), into: state.runs.root.clone() },
            Question::Plot => Ask::Export {
                path: text.trim().into(),
                dirs: self.plotted(state),
                view: self.compared.view(),
            },
        };
        vec![Effect::Load(Load::Runs(ask))]
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        if let Some((question, input)) = &mut self.typed {
            input.paste(pasted);
            if *question == Question::Filter {
                self.list.filter(input.text(), state);
            }
        }
        Vec::new()
    }

    fn typing_hint(&self) -> &'static str {
        match self.typed {
            Some((Question::Import, _)) => "typing.import",
            Some((Question::Plot, _)) => "typing.plot",
            _ => "typing.filter",
        }
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let mut body = area;
        if let Some((question, input)) = &self.typed {
            let words = canvas.state.words;
            let asked = match question {
                Question::Import => words.get("runs.import_from"),
                Question::Plot => words.get("runs.write_to"),
                Question::Filter => "/ ",
            };
            draw_question(canvas, area, asked, input);
            body = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        }
        match &canvas.state.runs.compared {
            Some(compared) => self.compared.draw(canvas, body, compared),
            None => self.list.draw(canvas, body),
        }
    }

    fn click(&mut self, row: usize, state: &mut State) {
        match &state.runs.compared {
            Some(_) => self.compared.click(row),
            None => state.runs.selected = row,
        }
    }
}

impl RunsPane {
    /// The runs whose curves a plot shows now.
    fn plotted(&self, state: &State) -> Vec<PathBuf> {
        let paths = |runs: &[Detail]| runs.iter().map(|r| r.info.path.clone()).collect();
        match &state.runs.compared {
            Some(compared) => paths(&compared.runs),
            None => chosen(state),
        }
    }

    fn ask_plot(&mut self, state: &State) {
        if let Some(first) = self.plotted(state).first() {
            self.typed = Some((Question::Plot, plot_path(state, first)));
        }
    }

    /// What needs a selected run.
    fn with_selected(&mut self, action: Action, state: &mut State) -> Vec<Effect> {
        let Some(run) = state.runs.list.get(state.runs.selected).cloned() else {
            state.notify(Level::Info, state.words.get("runs.none_yet"));
            return Vec::new();
        };
        let dir = run.info.path.clone();
        let ask = match action {
            Action::Mark => {
                state.runs.mark(&dir);
                self.list.step(1, state);
                return Vec::new();
            }
            Action::UseSettings => {
                let name = dir.display().to_string();
                return vec![Effect::Load(Load::Settings(settings_worker::Ask::Load(name)))];
            }
            Action::ResumeRun => match run.checkpoint {
                Some(checkpoint) => Ask::Resume { dir, checkpoint },
                None => {
                    state.notify(Level::Warning, state.words.get("runs.no_checkpoint"));
                    return Vec::new();
                }
            },
            Action::DeleteRun => Ask::Doom(chosen(state)),
            Action::Compare => return compare(state),
            _ if is_own(state, &dir) => {
                (state.runs.opened, state.focus) = (None, crate::tui::state::PaneId::Training);
                return Vec::new();
            }
            _ => Ask::Open { dir, status: run.info.status },
        };
        vec![Effect::Load(Load::Runs(ask))]
    }
}

/// Whether a folder is that of the run in this workbench, which the training pane shows anyway.
fn is_own(state: &State, dir: &Path) -> bool {
    state.run.as_ref().is_some_and(|run| run.alive() && run.run_dir == dir)
}

/// The marked runs, else the selected one.
fn chosen(state: &State) -> Vec<PathBuf> {
    let runs = &state.runs;
    if !runs.marked.is_empty() {
        return runs.marked.clone();
    }
    runs.list.get(runs.selected).map(|r| r.info.path.clone()).into_iter().collect()
}

/// Compares the marked runs; with fewer than two marked, the selected run with the one trained before it.
fn compare(state: &mut State) -> Vec<Effect> {
    let runs = &state.runs;
    let mut dirs = runs.marked.clone();
    if dirs.len() < 2 {
        let (newer, rest) = runs.list.split_at(runs.selected.min(runs.list.len()));
        let (selected, older) = rest.split_at(rest.len().min(1));
        let near = older.iter().chain(newer.iter().rev()).filter(|run| run.info.total_steps > 0);
        for run in selected.iter().chain(near) {
            if dirs.len() < 2 && !dirs.contains(&run.info.path) {
                // What was marked, or came before, stands first.
                let place = if runs.marked.is_empty() { 0 } else { dirs.len() };
                dirs.insert(place, run.info.path.clone());
            }
        }
    }
    if dirs.len() < 2 {
        state.notify(Level::Info, state.words.get("runs.needs_two"));
        return Vec::new();
    }
    vec![Effect::Load(Load::Runs(Ask::Compare { root: runs.root.clone(), dirs }))]
}

/// A name for the plot of a run, to be edited.
pub(super) fn plot_path(state: &State, run_dir: &Path) -> Input {
    let name = run_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Input::with(&state.workspace.join(format!("{name}.png")).display().to_string())
}

/// A question with the answer being typed, in the first row of an area.
pub(super) fn draw_question(canvas: &mut Canvas, area: Rect, words: &str, input: &Input) {
    let theme = &canvas.state.theme;
    canvas.line(area, 0, Span::styled(words.to_string(), theme.key));
    let used = (crate::tui::text::width(words) as u16).min(area.width);
    let at = Rect { x: area.x + used, width: area.width - used, height: area.height.min(1), ..area };
    canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
}
