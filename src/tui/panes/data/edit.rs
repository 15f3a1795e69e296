//! Editing a caption or a question in place.

use super::{Canvas, DataPane};
use crate::data::overlay;
use crate::job::Level;
use crate::tui::browse::{Edit, Part};
use crate::tui::effects::Effect;
use crate::tui::state::State;
use crate::tui::widgets::editor::{Edited, Editor};
use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

/// A turn being edited.
pub(super) struct Editing {
    row: usize,
    part: Part,
    /// The text it began with.
    began: String,
    pub editor: Editor,
    /// Leaving was asked for once although there are changes.
    warned: bool,
}

impl DataPane {
    /// Opens the editor on a turn of the selected sample.
    pub(super) fn edit(&mut self, part: Part, state: &mut State) {
        let turn = state.data.sample().and_then(|sample| {
            let turn = match part {
                Part::Caption => overlay::caption_turn(sample),
                Part::Question => overlay::question_turn(sample),
            };
            Some((sample.row, sample.messages[turn?].content.clone()))
        });
        let Some((row, text)) = turn else {
            return state.notify(Level::Warning, state.words.get("data.nothing_to_edit"));
        };
        let editor = Editor::with(&text);
        self.full = false;
        self.editing = Some(Editing { row, part, began: editor.text().to_string(), editor, warned: false });
    }

    pub(super) fn edit_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        let Some(editing) = &mut self.editing else { return Vec::new() };
        let changed = editing.editor.text() != editing.began;
        match editing.editor.key(key) {
            Edited::Save => {
                let text = editing.editor.text().to_string();
                let (row, part) = (editing.row, editing.part);
                self.editing = None;
                if changed {
                    return state.change(row, Edit::Text(part, text));
                }
            }
            Edited::Leave if changed && !editing.warned => {
                editing.warned = true;
                state.notify(Level::Warning, state.words.get("data.not_saved"));
            }
            Edited::Leave => self.editing = None,
            Edited::Changed => editing.warned = false,
            Edited::Other => {}
        }
        Vec::new()
    }

    pub(super) fn draw_editor(&mut self, canvas: &mut Canvas, area: Rect) {
        let Some(editing) = &mut self.editing else { return };
        let (theme, words) = (&canvas.state.theme, canvas.state.words);
        let row = editing.row.to_string();
        let title = match editing.part {
            Part::Caption => words.fill("data.edit_caption", &[("n", &row)]),
            Part::Question => words.fill("data.edit_question", &[("n", &row)]),
        };
        canvas.line(area, 0, Line::styled(title, theme.accent));
        let top = area.height.min(2);
        let room = Rect { y: area.y + top, height: area.height - top, ..area };
        canvas.cursor = editing.editor.draw(room, canvas.frame.buffer_mut(), Style::new());
    }
}
