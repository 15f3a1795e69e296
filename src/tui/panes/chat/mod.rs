//! The chat pane: a picture beside the talk about it, answers as they come, from an adapter or the base model.

mod lines;
mod manner;
mod picture;
mod sure;

use super::{Canvas, Hit, Pane, movement, row};
use crate::data::dropped;
use crate::tui::action::{Action, Context};
use crate::tui::effects::{Effect, Load};
use crate::tui::state::State;
use crate::tui::state::data::question;
use crate::tui::state::talk::Typing;
use crate::tui::state::talk::answerer::{Answerer, Choice};
use crate::tui::talk_worker::Ask;
use crate::tui::text;
use crate::tui::widgets::editor::Edited;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use manner::{Ended, MannerEditor};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// How the talk is looked at.
#[derive(Default)]
pub struct ChatPane {
    /// Lines scrolled up from the end.
    back: usize,
    show_caption: bool,
    /// The picture has the whole screen.
    full: bool,
    manner: Option<MannerEditor>,
}

/// Lines of the question that is being written, at most.
const QUESTION_LINES: u16 = 6;

impl Pane for ChatPane {
    fn context(&self) -> Context {
        if self.full { Context::TalkPicture } else { Context::Chat }
    }

    fn name(&self) -> &'static str {
        "Chat"
    }

    fn title(&self, state: &State) -> String {
        state.words.fill("chat.answers", &[("who", &state.say_answerer(&state.answerer_now()))])
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        if self.full {
            return picture::hints();
        }
        let mut hints = vec![(Action::Write, "ask")];
        if state.talk.answering() {
            hints.push((Action::StopAnswer, "stop"));
        } else if !state.talk.exchanges.is_empty() {
            hints.extend([
                (Action::Retry, "retry"),
                (Action::EditLast, "edit"),
                (Action::CompareAnswers, "compare"),
                (Action::CorrectAnswer, "correct"),
                (Action::AddPair, "add to data"),
            ]);
        }
        if !state.talk.dropped.is_empty() {
            hints.push((Action::DropPicture, "drop picture"));
        }
        let base = state.talk.answerer == Answerer::Base;
        hints.extend([
            (Action::ToggleBase, if base { "use adapter" } else { "use base" }),
            (Action::ChooseAnswerer, "adapters"),
            (Action::TalkSettings, "settings"),
            (Action::FullPicture, "window"),
            (Action::NextPicture, "next picture"),
            (Action::ShowCaption, "caption"),
        ]);
        hints
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::FullPicture => self.full = !self.full && !state.talk_pictures().is_empty(),
            Action::Back if self.full => self.full = false,
            Action::NextPicture => state.data.step(1),
            Action::PreviousPicture => state.data.step(-1),
            action if self.full => return picture::act(action, state).then(Vec::new),
            Action::Write => (state.talk.typing, state.talk.typing_what) = (true, Typing::Question),
            Action::ShowOdds => {
                state.talk.show_odds = !state.talk.show_odds;
                // What was answered before was not asked for it.
                let known = state.talk.exchanges.last().is_none_or(|e| !e.odds.is_empty());
                let said = match (state.talk.show_odds, known) {
                    (true, true) => "chat.odds_on",
                    (true, false) => "chat.odds_next",
                    (false, _) => "chat.odds_off",
                };
                state.notify(crate::job::Level::Info, state.words.get(said));
            }
            Action::ToggleBase => state.talk.toggle_base(),
            Action::TalkSettings => self.manner = Some(MannerEditor::open(state)),
            Action::ClearTalk if !state.talk.answering() => state.talk.clear(),
            Action::DropPicture => state.drop_picture(),
            Action::ShowCaption => self.show_caption = !self.show_caption,
            action => return self.act_on_talk(action, state),
        }
        Some(Vec::new())
    }

    fn typing(&self, state: &State) -> bool {
        state.talk.typing || self.manner.is_some()
    }

    fn typing_hint(&self) -> &'static str {
        if self.manner.is_some() { "typing.settings" } else { "typing.question" }
    }

    fn full_screen(&self) -> bool {
        self.full
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        if let Some(manner) = &mut self.manner {
            match manner.type_key(key, state) {
                Ended::No => return Vec::new(),
                Ended::Left => {}
                Ended::Taken(manner) => state.talk.manner = manner,
            }
            self.manner = None;
            return Vec::new();
        }
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if alt => state.talk.input.insert("\n"),
            KeyCode::Char('j') if ctrl => state.talk.input.insert("\n"),
            KeyCode::Enter => return self.submit(state),
            _ if state.talk.input.key(key) == Edited::Leave => state.talk.leave(),
            _ => {}
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, state: &mut State) -> Vec<Effect> {
        match &mut self.manner {
            Some(manner) => manner.paste(pasted),
            // A name of a file is text here.
            None if matches!(state.talk.typing_what, Typing::Save | Typing::Load) => {
                state.talk.input.insert(pasted.trim());
            }
            // Whether these are files that were dropped is for the worker to find out.
            None => return vec![Effect::Load(Load::Talk(Ask::Dropped(pasted.into())))],
        }
        Vec::new()
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        if self.full {
            return picture::draw_full(canvas, area);
        }
        let mut area = area;
        if let Some(manner) = &self.manner {
            let rows = manner.height(area.width).min(area.height);
            manner.draw(canvas, Rect { height: rows, ..area });
            area = Rect { y: area.y + rows, height: area.height - rows, ..area };
        }
        let talk = &canvas.state.talk;
        let lines = if talk.typing { talk.input.rows(area.width.saturating_sub(2)) } else { 1 };
        let foot = area.height.min(1 + lines.clamp(1, QUESTION_LINES));
        let body = Rect { height: area.height.saturating_sub(foot + 1), ..area };
        let bottom = Rect { y: area.bottom() - foot, height: foot, ..area };
        draw_question(canvas, bottom);
        let side = if area.width >= 56 { (area.width * 2 / 5).min(60) } else { 0 };
        if side > 0 {
            let words = Rect { x: body.x + side + 2, width: body.width - side - 2, ..body };
            picture::draw_side(canvas, Rect { width: side, ..body }, self.show_caption);
            self.draw_talk(canvas, words);
        } else if body.height >= 12 {
            let picture = Rect { height: body.height / 3, ..body };
            picture::draw_side(canvas, picture, self.show_caption);
            let y = picture.bottom() + 1;
            self.draw_talk(canvas, Rect { y, height: body.bottom() - y, ..body });
        } else {
            self.draw_talk(canvas, body);
        }
    }
}

impl ChatPane {
    /// Actions on the last question and its answer, and on the talk as a whole.
    fn act_on_talk(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        let effects = match action {
            Action::EditLast => {
                state.edit_last();
                Vec::new()
            }
            Action::CorrectAnswer => {
                state.begin_correction();
                Vec::new()
            }
            Action::SaveTalk | Action::LoadTalk => {
                state.begin_file(if action == Action::SaveTalk { Typing::Save } else { Typing::Load });
                Vec::new()
            }
            Action::AddPair => state.add_pair(),
            Action::ChooseAnswerer => state.wanted_adapters(Choice::Answer),
            Action::CompareWith => state.wanted_adapters(Choice::Compare),
            Action::CompareAnswers => state.compare_last(Answerer::Base),
            Action::Retry => state.retry(),
            Action::StopAnswer => return Some(state.stop_answer()),
            action => {
                let most = 100_000;
                self.back = (self.back as isize).saturating_sub(movement(action)?).clamp(0, most) as usize;
                return Some(Vec::new());
            }
        };
        self.back = 0;
        Some(effects)
    }

    /// What was written is meant so.
    fn submit(&mut self, state: &mut State) -> Vec<Effect> {
        let what = state.talk.typing_what;
        if what == Typing::Question && state.talk.answering() {
            return Vec::new();
        }
        let typed = state.talk.input.take();
        if what != Typing::Question {
            state.talk.leave();
        }
        match what {
            Typing::Correction => state.correct(typed),
            Typing::Save | Typing::Load if typed.trim().is_empty() => {}
            Typing::Save => return state.save_talk(&typed),
            Typing::Load => return state.load_talk(&typed),
            Typing::Question => {
                self.back = 0;
                // Whether these are files is for the worker to find out.
                if dropped::could_be(&typed) {
                    return vec![Effect::Load(Load::Talk(Ask::Written(typed)))];
                }
                // An empty line asks what the sample itself asks.
                let asked = if typed.trim().is_empty() { suggestion(state) } else { typed };
                return state.ask_written(&asked);
            }
        }
        Vec::new()
    }

    fn draw_talk(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        if state.talk.exchanges.is_empty() {
            let keys = [
                ("base", state.keys.hint_in(Context::Chat, Action::ToggleBase)),
                ("retry", state.keys.hint_in(Context::Chat, Action::Retry)),
            ];
            let lines = [
                state.words.get("chat.also_training").to_string(),
                state.words.get("chat.as_it_is").to_string(),
                state.words.filled("chat.compare", &keys),
            ];
            return canvas.empty(area, state.words.get("chat.none"), &lines);
        }
        let height = usize::from(area.height);
        let lines = lines::last(state, area.width.into(), height + self.back);
        self.back = self.back.min(lines.len().saturating_sub(height));
        let first = lines.len().saturating_sub(height + self.back);
        for (y, line) in lines.into_iter().skip(first).take(height).enumerate() {
            canvas.line(area, y, line);
        }
    }
}

/// What the selected sample asks.
fn suggestion(state: &State) -> String {
    let asked = state.data.sample().map(|s| question(s).trim().to_string());
    asked.filter(|q| !q.is_empty()).unwrap_or_else(|| crate::job::DEFAULT_QUESTION.into())
}

/// What is being written, and the line that must be read.
fn draw_question(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let (theme, talk, words) = (&state.theme, &state.talk, state.words);
    let last = usize::from(area.height.saturating_sub(1));
    canvas.line(area, last, Line::styled(words.get("chat.no_device"), theme.dim));
    if area.height < 2 {
        return;
    }
    let mark = match talk.typing_what {
        Typing::Save if talk.typing => words.get("chat.save_to"),
        Typing::Load if talk.typing => words.get("chat.load_from"),
        _ => "> ",
    };
    canvas.line(area, 0, Span::styled(mark, if talk.typing { theme.key } else { theme.dim }));
    let used = (text::width(mark) as u16).min(area.width);
    let at = Rect { x: area.x + used, width: area.width - used, height: area.height - 1, ..area };
    canvas.hits.push((row(area, 0), Hit::Act(Action::Write)));
    if talk.typing {
        canvas.cursor = talk.input.draw(at, canvas.frame.buffer_mut(), theme.strong);
    }
    if talk.input.text().is_empty() && talk.typing_what == Typing::Question {
        let key = if talk.typing { "Enter".into() } else { state.keys.hint_in(Context::Chat, Action::Write) };
        let asked = suggestion(state).replace('\n', " ");
        let parts = [("key", key.as_str()), ("question", asked.as_str())];
        let hint = match talk.typing {
            true => words.fill("chat.enter_asks", &parts),
            false => words.fill("chat.to_ask", &parts),
        };
        canvas.line(at, 0, Line::styled(text::truncate(&hint, at.width.into()), theme.dim));
    } else if !talk.typing {
        let first = talk.input.text().lines().next().unwrap_or_default().to_string();
        canvas.line(at, 0, Line::raw(first));
    }
}
