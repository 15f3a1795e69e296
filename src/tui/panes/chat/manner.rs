//! The small editor of the talk's system text and of how words are chosen.

use crate::config::{TrainConfig, decoding, fields};
use crate::tui::panes::{Canvas, row};
use crate::tui::state::State;
use crate::tui::state::talk::Manner;
use crate::tui::text;
use crate::tui::widgets::editor::{Edited, Editor};
use crate::tui::widgets::table::row_style;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Rows of the settings, the system text first. `do_sample` is `temperature` above 0.
const ROWS: usize = decoding::LIVE.len();
/// Lines of the system text that are shown at most.
const SYSTEM_LINES: u16 = 4;
/// Columns of the names.
const NAMES: u16 = 20;

/// Values being edited.
pub struct MannerEditor {
    selected: usize,
    /// The value of the selected row.
    editor: Editor,
    system: String,
    draft: TrainConfig,
    error: Option<String>,
}

/// What became of the editor.
pub enum Ended {
    No,
    Left,
    Taken(Manner),
}

impl MannerEditor {
    pub fn open(state: &State) -> Self {
        let rule = state.talk_sampling();
        let mut draft = TrainConfig::default();
        draft.set_sampling(&rule);
        if !draft.do_sample {
            (draft.do_sample, draft.temperature) = (true, 0.0);
        }
        let system = state.talk.manner.system.clone().unwrap_or_default();
        let editor = Editor::with(&system);
        Self { selected: 0, editor, system, draft, error: None }
    }

    /// The setting of the selected row; `None`: the system text.
    fn key(&self) -> Option<&'static str> {
        (self.selected > 0).then(|| decoding::LIVE[self.selected])
    }

    pub fn type_key(&mut self, key: KeyEvent, state: &State) -> Ended {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let single = !self.editor.text().contains('\n');
        match key.code {
            KeyCode::Enter if alt => self.new_line(),
            KeyCode::Char('j') if ctrl => self.new_line(),
            KeyCode::Enter if self.take() => return Ended::Taken(self.manner(state)),
            KeyCode::Enter => {}
            KeyCode::Tab => self.go(1),
            KeyCode::BackTab => self.go(ROWS - 1),
            KeyCode::Down if single => self.go(1),
            KeyCode::Up if single => self.go(ROWS - 1),
            _ => match self.editor.key(key) {
                Edited::Leave => return Ended::Left,
                Edited::Changed => self.error = None,
                Edited::Save | Edited::Other => {}
            },
        }
        Ended::No
    }

    pub fn paste(&mut self, pasted: &str) {
        match self.key() {
            None => self.editor.insert(pasted),
            Some(_) => self.editor.insert(pasted.trim()),
        }
    }

    fn new_line(&mut self) {
        if self.key().is_none() {
            self.editor.insert("\n");
        }
    }

    /// Takes the value of the row; says whether it could be.
    fn take(&mut self) -> bool {
        let text = self.editor.text();
        match self.key() {
            None => self.system = text.to_string(),
            Some(key) => {
                if let Err(error) = fields::set(&mut self.draft, key, text) {
                    self.error = Some(error.message);
                    return false;
                }
            }
        }
        self.error = None;
        true
    }

    /// Another row, if the value of this one can be taken.
    fn go(&mut self, by: usize) {
        if self.take() {
            self.selected = (self.selected + by) % ROWS;
            self.editor = Editor::with(&self.value(self.selected));
        }
    }

    fn value(&self, at: usize) -> String {
        if at == 0 { self.system.clone() } else { fields::get(&self.draft, decoding::LIVE[at]) }
    }

    fn manner(&self, state: &State) -> Manner {
        let rule = self.draft.sampling();
        Manner {
            system: Some(self.system.trim().to_string()).filter(|text| !text.is_empty()),
            sampling: (rule != state.greedy_sampling()).then_some(rule),
        }
    }

    /// Rows that it takes.
    pub fn height(&self, width: u16) -> u16 {
        ROWS as u16 + 2 + self.system_lines(width) - 1
    }

    fn system_lines(&self, width: u16) -> u16 {
        let width = width.saturating_sub(NAMES);
        let rows = match self.selected {
            0 => self.editor.rows(width),
            _ => Editor::with(&self.system).rows(width),
        };
        rows.clamp(1, SYSTEM_LINES)
    }

    pub fn draw(&self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let (theme, words) = (&state.theme, state.words);
        canvas.line(area, 0, Line::styled(words.get("chat.manner"), theme.strong));
        let mut y = 1;
        for at in 0..ROWS {
            let name = if at == 0 { words.get("chat.system") } else { decoding::LIVE[at] };
            let rows = if at == 0 { self.system_lines(area.width) } else { 1 };
            let line = row(area, y);
            let selected = at == self.selected;
            let names = Rect { width: NAMES.min(line.width), ..line };
            let style = row_style(theme, selected, true);
            canvas.frame.render_widget(Line::styled(text::pad(name, NAMES.into()), style), names);
            let height = rows.min((area.height).saturating_sub(y as u16));
            let room = Rect { x: line.x + names.width, width: line.width - names.width, height, ..line };
            if selected {
                let style = if self.error.is_some() { theme.bad } else { theme.strong };
                canvas.cursor = self.editor.draw(room, canvas.frame.buffer_mut(), style);
            } else {
                let value = self.value(at);
                canvas.wrapped(room, 0, if value.is_empty() { "-" } else { &value }, theme.dim);
            }
            y += usize::from(rows);
        }
        let (note, style) = match &self.error {
            Some(error) => (error.as_str(), theme.bad),
            None => (words.get("chat.manner_note"), theme.dim),
        };
        canvas.line(area, y, Line::styled(text::truncate(note, area.width.into()), style));
    }
}
