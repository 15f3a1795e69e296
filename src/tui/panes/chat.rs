//! The chat pane: a picture beside the talk about it, answers as they come, from the adapter or the base model.

use super::{Canvas, Hit, Pane, movement, row};
use crate::data::ImageRef;
use crate::tui::action::{Action, Context};
use crate::tui::effects::Effect;
use crate::tui::effects::Load;
use crate::tui::state::State;
use crate::tui::state::data::{caption, question};
use crate::tui::state::talk::{Answering, Exchange, Typing};
use crate::tui::talk_worker::Ask;
use crate::tui::text;
use crate::tui::widgets::input::Typed;
use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// How the talk is looked at.
#[derive(Default)]
pub struct ChatPane {
    /// Lines scrolled up from the end.
    back: usize,
    show_caption: bool,
}

impl Pane for ChatPane {
    fn context(&self) -> Context {
        Context::Chat
    }

    fn name(&self) -> &'static str {
        "Chat"
    }

    fn title(&self, state: &State) -> String {
        state.words.fill("chat.answers", &[("who", &who(state))])
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
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
        hints.extend([
            (Action::ToggleBase, if state.talk.use_base { "use adapter" } else { "use base" }),
            (Action::NextPicture, "next picture"),
            (Action::ShowCaption, "caption"),
        ]);
        hints
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Write => (state.talk.typing, state.talk.typing_what) = (true, Typing::Question),
            Action::EditLast => state.edit_last(),
            Action::CorrectAnswer => state.begin_correction(),
            Action::AddPair => return Some(state.add_pair()),
            Action::ShowOdds => state.talk.show_odds = !state.talk.show_odds,
            Action::CompareAnswers => {
                self.back = 0;
                return Some(state.compare_last());
            }
            Action::ToggleBase => state.talk.use_base = !state.talk.use_base,
            Action::Retry => {
                self.back = 0;
                return Some(state.retry());
            }
            Action::StopAnswer => return Some(state.stop_answer()),
            Action::ClearTalk if !state.talk.answering() => {
                state.talk.exchanges.clear();
                state.talk.dropped.clear();
            }
            Action::NextPicture => state.data.step(1),
            Action::PreviousPicture => state.data.step(-1),
            Action::ShowCaption => self.show_caption = !self.show_caption,
            action => {
                let most = 100_000;
                self.back = (self.back as isize).saturating_sub(movement(action)?).clamp(0, most) as usize;
            }
        }
        Some(Vec::new())
    }

    fn typing(&self, state: &State) -> bool {
        state.talk.typing
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        match state.talk.input.key(key) {
            Typed::Cancel => state.talk.typing = false,
            Typed::Submit if state.talk.typing_what == Typing::Correction => {
                let answer = state.talk.input.take();
                state.correct(answer);
                state.talk.typing_what = Typing::Question;
            }
            Typed::Submit if state.talk.answering() => {}
            Typed::Submit => {
                self.back = 0;
                let typed = state.talk.input.take();
                // An empty line asks what the sample itself asks.
                let asked = if typed.trim().is_empty() { suggestion(state) } else { typed };
                return state.ask(&asked);
            }
            Typed::Changed | Typed::Other => {}
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, _state: &mut State) -> Vec<Effect> {
        // Whether these are files that were dropped is for the worker to find out.
        vec![Effect::Load(Load::Talk(Ask::Dropped(pasted.into())))]
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let foot = area.height.min(2);
        let body = Rect { height: area.height.saturating_sub(3), ..area };
        let bottom = Rect { y: area.bottom() - foot, height: foot, ..area };
        draw_question(canvas, bottom);
        let side = if area.width >= 56 { (area.width * 2 / 5).min(60) } else { 0 };
        if side > 0 {
            let words = Rect { x: body.x + side + 2, width: body.width - side - 2, ..body };
            self.draw_side(canvas, Rect { width: side, ..body });
            self.draw_talk(canvas, words);
        } else if body.height >= 12 {
            let picture = Rect { height: body.height / 3, ..body };
            self.draw_side(canvas, picture);
            let y = picture.bottom() + 1;
            self.draw_talk(canvas, Rect { y, height: body.bottom() - y, ..body });
        } else {
            self.draw_talk(canvas, body);
        }
    }
}

/// Who would answer now.
fn who(state: &State) -> String {
    let words = state.words;
    let run = state.run.as_ref().filter(|r| r.alive());
    match (state.talk.use_base, run, &state.adapter) {
        (true, ..) => words.get("chat.base").into(),
        (_, Some(run), _) => words.fill("chat.in_training", &[("n", &run.step().to_string())]),
        (_, None, Some(dir)) => {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            words.fill("chat.adapter", &[("name", &crate::data::clean::for_terminal(&name))])
        }
        (_, None, None) => words.get("chat.no_adapter").into(),
    }
}

/// What the selected sample asks.
fn suggestion(state: &State) -> String {
    let asked = state.data.sample().map(|s| question(s).trim().replace('\n', " "));
    asked.filter(|q| !q.is_empty()).unwrap_or_else(|| crate::job::DEFAULT_QUESTION.into())
}

/// The line being written, and the line that must be read.
fn draw_question(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let (theme, talk) = (&state.theme, &state.talk);
    canvas.line(
        area,
        usize::from(area.height.saturating_sub(1)),
        Line::styled(state.words.get("chat.no_device"), theme.dim),
    );
    if area.height < 2 {
        return;
    }
    canvas.line(area, 0, Span::styled("> ", if talk.typing { theme.key } else { theme.dim }));
    let at = row(area, 0);
    let at = Rect { x: at.x + at.width.min(2), width: at.width.saturating_sub(2), ..at };
    canvas.hits.push((row(area, 0), Hit::Act(Action::Write)));
    if talk.typing {
        canvas.cursor = talk.input.draw(at, canvas.frame.buffer_mut(), theme.strong);
    }
    if talk.input.text().is_empty() {
        let key = if talk.typing { "Enter".into() } else { state.keys.hint_in(Context::Chat, Action::Write) };
        let parts = [("key", key.as_str()), ("question", &suggestion(state))];
        let hint = match talk.typing {
            true => state.words.fill("chat.enter_asks", &parts),
            false => state.words.fill("chat.to_ask", &parts),
        };
        canvas.line(at, 0, Line::styled(text::truncate(&hint, at.width.into()), theme.dim));
    } else if !talk.typing {
        canvas.line(at, 0, Line::raw(talk.input.text().to_string()));
    }
}

impl ChatPane {
    /// The picture with the sample's name, and its caption when wanted.
    fn draw_side(&self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let theme = &state.theme;
        if let Some(path) = state.talk.dropped.last() {
            let picture = Rect { height: area.height.saturating_sub(1), ..area };
            canvas.picture(picture, &ImageRef::Path(path.clone()));
            let words = Rect { y: picture.bottom(), height: area.height - picture.height, ..area };
            let name = crate::data::clean::for_terminal(&path.display().to_string());
            let parts = [("n", state.talk.dropped.len().to_string()), ("name", name)];
            let name = state.words.fill("chat.dropped", &parts.each_ref().map(|(k, v)| (*k, v.as_str())));
            return canvas.line(words, 0, Line::styled(text::truncate(&name, words.width.into()), theme.dim));
        }
        let Some(sample) = state.data.sample() else {
            let key = state.keys.hint(Action::FocusData);
            canvas.wrapped(area, 0, &state.words.fill("chat.no_picture", &[("key", &key)]), theme.dim);
            return;
        };
        let rows = if self.show_caption { (area.height / 2).max(2) } else { 1 };
        let picture = Rect { height: area.height.saturating_sub(rows), ..area };
        // Several pictures stand side by side.
        let many = (sample.images.len() as u16).min(picture.width / 12).max(1);
        for (i, image) in sample.images.iter().take(usize::from(many)).enumerate() {
            let width = picture.width / many;
            canvas.picture(Rect { x: picture.x + i as u16 * width, width, ..picture }, image);
        }
        let words = Rect { y: picture.bottom(), height: area.height - picture.height, ..area };
        let id = crate::data::clean::for_terminal(&sample.id);
        let name = format!("{} · {id}", state.words.fill("data.row", &[("n", &sample.row.to_string())]));
        canvas.line(words, 0, Line::styled(text::truncate(&name, words.width.into()), theme.dim));
        if self.show_caption {
            let caption = state.words.fill("chat.caption", &[("caption", &caption(sample))]);
            canvas.wrapped(words, 1, &caption, theme.good);
        }
    }

    fn draw_talk(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        if state.talk.exchanges.is_empty() {
            let keys = [
                ("base", state.keys.hint(Action::ToggleBase)),
                ("retry", state.keys.hint_in(Context::Chat, Action::Retry)),
            ];
            let lines = [
                state.words.get("chat.also_training").to_string(),
                state.words.get("chat.as_it_is").to_string(),
                state.words.fill("chat.compare", &keys.each_ref().map(|(name, key)| (*name, key.as_str()))),
            ];
            return canvas.empty(area, state.words.get("chat.none"), &lines);
        }
        let height = usize::from(area.height);
        let mut lines = last_lines(state, area.width.into(), height + self.back);
        lines.pop(); // the empty line behind the last answer
        self.back = self.back.min(lines.len().saturating_sub(height));
        let first = lines.len().saturating_sub(height + self.back);
        for (y, line) in lines.into_iter().skip(first).take(height).enumerate() {
            canvas.line(area, y, line);
        }
    }
}

/// The last exchanges, as many as take up more than `wanted` lines: a long talk is not wrapped for every frame.
fn last_lines(state: &State, columns: usize, wanted: usize) -> Vec<Line<'static>> {
    let mut blocks: Vec<Vec<Line>> = Vec::new();
    let mut all = state.talk.exchanges.iter().rev();
    let mut known = 0;
    while let Some(exchange) = all.next().filter(|_| known <= wanted) {
        let question = if exchange.beside { all.next() } else { None };
        let block = match question {
            Some(left) if columns >= SIDE_BY_SIDE => beside(left, exchange, columns, state),
            Some(left) => {
                let mut both = exchange_lines(left, columns, state);
                both.extend(exchange_lines(exchange, columns, state));
                both
            }
            None => exchange_lines(exchange, columns, state),
        };
        known += block.len();
        blocks.push(block);
    }
    blocks.into_iter().rev().flatten().collect()
}

/// Columns from which two answers stand side by side.
const SIDE_BY_SIDE: usize = 44;

/// One question and two answers to it.
fn beside(left: &Exchange, right: &Exchange, columns: usize, state: &State) -> Vec<Line<'static>> {
    let half = (columns - 2) / 2;
    let question = text::wrap(&left.question, columns, 200);
    let asked = text::wrap(&left.question, half, 200).len();
    let mut all: Vec<Line> = question.into_iter().map(|l| Line::styled(l, state.theme.accent)).collect();
    let answers = |e: &Exchange| exchange_lines(e, half, state).into_iter().skip(asked).collect::<Vec<_>>();
    let (mut a, mut b) = (answers(left), answers(right));
    let rows = a.len().max(b.len());
    a.resize(rows, Line::raw(""));
    b.resize(rows, Line::raw(""));
    for (a, b) in a.into_iter().zip(b) {
        let gap = " ".repeat(half.saturating_sub(a.width()) + 2);
        let spans = |line: Line<'static>| {
            let style = line.style;
            line.spans.into_iter().map(move |span| span.patch_style(style)).collect::<Vec<_>>()
        };
        let mut row = spans(a);
        row.push(Span::raw(gap));
        row.extend(spans(b));
        all.push(Line::from(row));
    }
    all
}

/// The tokens that the model was least sure of.
fn unsure(exchange: &Exchange) -> Option<String> {
    const SHOWN: usize = 4;
    const SURE: f32 = 0.7;
    let mut odds: Vec<_> = exchange.odds.iter().filter(|o| o.logprob.exp() < SURE).collect();
    odds.sort_by(|a, b| a.logprob.total_cmp(&b.logprob));
    let one = |o: &&crate::job::Odds| {
        let other = o.top.iter().find(|(token, _)| *token != o.token);
        let other = other.map(|(t, p)| format!(" (or {:?} {:.0} %)", t.trim(), p.exp() * 100.0));
        format!("{:?} {:.0} %{}", o.token.trim(), o.logprob.exp() * 100.0, other.unwrap_or_default())
    };
    let all: Vec<String> = odds.iter().take(SHOWN).map(one).collect();
    (!all.is_empty()).then(|| crate::data::clean::for_terminal(&all.join(", ")))
}

/// A question, who answers, the answer, and an empty line.
fn exchange_lines(
    exchange: &Exchange,
    columns: usize,
    State { theme, words, .. }: &State,
) -> Vec<Line<'static>> {
    // More than this of one answer is never looked at in a terminal.
    const MOST: usize = 2000;
    let styled = |lines: Vec<String>, style: Style| lines.into_iter().map(move |l| Line::styled(l, style));
    let mut all: Vec<_> = styled(text::wrap(&exchange.question, columns, MOST), theme.accent).collect();
    let (status, style) = match &exchange.status {
        Answering::Waiting => (words.get("chat.waiting"), theme.dim),
        Answering::Streaming => (" · …", theme.dim),
        Answering::Done => ("", theme.dim),
        Answering::Stopped => (words.get("chat.stopped"), theme.warn),
        Answering::Failed(_) => (words.get("chat.failed"), theme.bad),
    };
    let time = exchange.first_token.map(|s| words.fill("chat.first_word", &[("s", &format!("{s:.2}"))]));
    let corrected = if exchange.corrected { words.get("chat.corrected") } else { "" };
    let by = format!("{}{status}{corrected}{}", exchange.by, time.unwrap_or_default());
    let by = text::truncate(&by, columns).into_owned();
    all.push(Line::styled(by, style));
    all.extend(styled(text::wrap(exchange.answer.trim_end(), columns, MOST), Style::new()));
    if let Some(unsure) = unsure(exchange).map(|all| words.fill("chat.unsure", &[("all", &all)])) {
        all.extend(styled(text::wrap(&unsure, columns, 4), theme.dim));
    }
    if let Answering::Failed(why) = &exchange.status {
        all.extend(styled(text::wrap(why, columns, 20), theme.bad));
    }
    all.push(Line::raw(""));
    all
}
