//! The data pane: the registered data sets, their rows, the selected sample with its picture; search and edits.

mod detail;
mod edit;
mod full;
mod list;
mod titles;

use super::{Canvas, Pane, movement};
use crate::data::query;
use crate::tui::action::{Action, Context};
use crate::tui::browse::{Edit, Part};
use crate::tui::effects::{Effect, Load};
use crate::tui::state::browse::Copied;
use crate::tui::state::{PaneId, State};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::popup::Popup;
use crate::tui::widgets::table::Scroll;
use crate::tui::words::Words;
use crossterm::event::KeyEvent;
use edit::Editing;
use ratatui::layout::Rect;

/// How the data are looked at.
#[derive(Default)]
pub struct DataPane {
    scroll: Scroll,
    search: Option<Input>,
    editing: Option<Editing>,
    /// The picture has the whole screen.
    full: bool,
}

impl Pane for DataPane {
    fn context(&self) -> Context {
        if self.full { Context::Picture } else { Context::Data }
    }

    fn name(&self) -> &'static str {
        "Data"
    }

    fn title(&self, state: &State) -> String {
        titles::title(state)
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        if self.full { titles::picture_hints(state) } else { titles::hints(state) }
    }

    fn full_screen(&self) -> bool {
        self.full
    }

    fn notes(&self, words: Words) -> Vec<String> {
        if self.full {
            return Vec::new();
        }
        let line = |(field, what): &(&str, &str)| format!("  {field:<22} {}", words.said(what));
        let fields = query::FIELDS.iter().map(line);
        let heading = words.get("data.search_fields").to_string();
        std::iter::once(heading).chain(fields).chain([String::new()]).collect()
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Filter => self.search = Some(Input::with(&state.data.search.text)),
            Action::FullPicture => self.full = !self.full && state.data.row().is_some(),
            Action::Back if self.full => self.full = false,
            Action::Back if !state.data.search.text.is_empty() => return Some(search_for("", state)),
            Action::EditCaption => self.edit(Part::Caption, state),
            Action::EditQuestion => self.edit(Part::Question, state),
            action => return act_on_rows(action, state).or_else(|| self.move_by(action, state)),
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.search.is_some() || self.editing.is_some()
    }

    fn typing_hint(&self) -> &'static str {
        match self.editing {
            Some(_) => "typing.editor",
            None => "typing.search",
        }
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        if self.editing.is_some() {
            return self.edit_key(key, state);
        }
        let Some(input) = &mut self.search else { return Vec::new() };
        match input.key(key) {
            Typed::Changed => return search_for(input.text(), state),
            Typed::Submit => self.search = None,
            Typed::Cancel => {
                self.search = None;
                return search_for("", state);
            }
            Typed::Other => {}
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        if let Some(editing) = &mut self.editing {
            editing.editor.insert(pasted);
        } else if let Some(input) = &mut self.search {
            input.paste(pasted);
            return search_for(input.text(), state);
        }
        Vec::new()
    }

    fn click(&mut self, place: usize, state: &mut State) {
        state.data.select(place as isize);
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        if canvas.state.data.names.is_empty() {
            list::draw_empty(canvas, area);
        } else if self.full {
            full::draw(canvas, area);
        } else if self.editing.is_some() && area.width < 100 {
            self.draw_editor(canvas, area);
        } else {
            let [list, rest] = list::split(canvas, area);
            self.draw_list(canvas, list);
            match self.editing {
                Some(_) => self.draw_editor(canvas, rest),
                None => detail::draw(canvas, rest),
            }
        }
    }
}

impl DataPane {
    /// Moves the selection, or what is seen of a picture that is zoomed into.
    fn move_by(&self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        let look = &mut state.data.look;
        match action {
            action if self.full && look.zoom > 100 && look.pan_by(action) => {}
            Action::Left | Action::Right if self.full => {
                state.data.step(if action == Action::Right { 1 } else { -1 });
            }
            action => state.data.step(movement(action)?),
        }
        Some(Vec::new())
    }
}

/// Searches, with the settings that tokens are counted by.
fn search_for(text: &str, state: &mut State) -> Vec<Effect> {
    let config = state.config.clone();
    state.data.set_search(text, &config)
}

/// Actions on the selected row and on the data set.
fn act_on_rows(action: Action, state: &mut State) -> Option<Vec<Effect>> {
    match action {
        Action::NextDataset => return Some(state.open_dataset(1)),
        Action::PreviousDataset => return Some(state.open_dataset(-1)),
        Action::Reload => return Some(vec![Effect::Load(Load::Registry(state.data.dir.clone()))]),
        Action::AskAbout if state.data.sample().is_some() => {
            state.focus = PaneId::Chat;
            state.talk.typing = true;
        }
        Action::Findings => {
            let lines = titles::findings(state);
            state.popup = Some(Popup::text(state.words.get("data.findings_title"), lines));
        }
        Action::NextMatch | Action::PreviousMatch => next_match(state, action == Action::PreviousMatch),
        Action::NextFinding | Action::PreviousFinding => {
            next_finding(state, action == Action::PreviousFinding)
        }
        Action::AllRows => state.data.toggle_all_rows(),
        Action::Exclude => {
            let row = state.data.current().filter(|row| row.sample.is_ok());
            let Some((row, excluded)) = row.map(|row| (row.row, row.applied.excluded)) else {
                return Some(Vec::new());
            };
            return Some(state.change(row, Edit::Exclude(!excluded)));
        }
        Action::Undo => return Some(state.undo_change()),
        Action::Redo => return Some(state.redo_change()),
        Action::CopyCaption => return Some(state.copy(Copied::Caption)),
        Action::CopyPath => return Some(state.copy(Copied::Path)),
        Action::CopyId => return Some(state.copy(Copied::Id)),
        action => return act_on_look(action, state),
    }
    Some(Vec::new())
}

/// Actions on how the selected sample is looked at.
fn act_on_look(action: Action, state: &mut State) -> Option<Vec<Effect>> {
    let auto = state.auto_window();
    let pictures = state.data.sample().map_or(0, |s| s.images.len());
    let look = &mut state.data.look;
    match action {
        Action::AsTrained => (look.trained, look.scroll) = (!look.trained, 0),
        Action::ScrollDown => look.scroll += 3,
        Action::ScrollUp => look.scroll = look.scroll.saturating_sub(3),
        action if look.act(action, pictures, auto) => {}
        _ => return None,
    }
    Some(Vec::new())
}

fn next_match(state: &mut State, back: bool) {
    let next = state.data.row().and_then(|row| state.data.search.next(row, back));
    match next {
        Some(row) => state.data.select_row(row),
        None => {
            let key = state.keys.hint_in(Context::Data, Action::Filter);
            state.notify(crate::job::Level::Info, state.words.fill("data.nothing_found", &[("key", &key)]));
        }
    }
}

fn next_finding(state: &mut State, back: bool) {
    match state.data.next_finding(back) {
        Some(row) => state.data.select_row(row),
        None => {
            let words = state.words;
            let said =
                if back { words.get("data.no_finding_before") } else { words.get("data.no_finding_after") };
            state.notify(crate::job::Level::Info, said);
        }
    }
}
