//! The panes and what they have in common.

pub mod chat;
pub mod data;
pub mod derived;
pub mod eval;
pub mod params;
pub mod runs;
pub mod train;

use super::action::{Action, Context};
use super::effects::Effect;
use super::layout::Split;
use super::pictures::{PictureKey, Shown, Slot, View};
use super::state::{PaneId, State};
use super::text;
use super::words::Words;
use crate::data::ImageRef;
use crossterm::event::KeyEvent;
use ratatui::Frame;
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::Style;
use ratatui::text::Line;

/// One part of the workbench. What panes share is in [`State`]; a pane itself keeps only how it looks at it.
pub trait Pane {
    fn context(&self) -> Context;
    fn name(&self) -> &'static str;
    /// What stands behind the name in the frame: counts, the open file.
    fn title(&self, state: &State) -> String;
    /// Actions worth showing in the line of hints, each with a text or its key.
    fn hints(&self, state: &State) -> Vec<(Action, &'static str)>;
    /// Handles an action; `None` when it is not one of the pane's.
    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>>;
    fn draw(&mut self, canvas: &mut Canvas, area: Rect);
    /// Whether keys are text now.
    fn typing(&self, _state: &State) -> bool {
        false
    }
    /// Takes a key while [`Pane::typing`].
    fn type_key(&mut self, _key: KeyEvent, _state: &mut State) -> Vec<Effect> {
        Vec::new()
    }
    /// Takes pasted text while [`Pane::typing`].
    fn paste(&mut self, _pasted: &str, _state: &mut State) -> Vec<Effect> {
        Vec::new()
    }
    /// The keys worth knowing while [`Pane::typing`]: a text or its key.
    fn typing_hint(&self) -> &'static str {
        "typing.line"
    }
    /// Whether the pane has the whole screen now.
    fn full_screen(&self) -> bool {
        false
    }
    /// What the help says besides keys.
    fn notes(&self, _words: Words) -> Vec<String> {
        Vec::new()
    }
    /// A click on a row that the pane registered.
    fn click(&mut self, _row: usize, _state: &mut State) {}
}

/// All panes in the order of [`PaneId::ALL`].
pub fn all() -> [Box<dyn Pane>; PaneId::ALL.len()] {
    [
        Box::<data::DataPane>::default(),
        Box::<params::ParamsPane>::default(),
        Box::<train::TrainPane>::default(),
        Box::<chat::ChatPane>::default(),
        Box::<runs::RunsPane>::default(),
        Box::<eval::EvalPane>::default(),
    ]
}

/// What a click hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    Pane(PaneId),
    /// The border with the name.
    Title(PaneId),
    Row(PaneId, usize),
    Act(Action),
    /// A line between panes.
    Split(Split),
}

/// Where a pane draws, and what it asks for while drawing.
pub struct Canvas<'a, 'b> {
    pub frame: &'a mut Frame<'b>,
    pub state: &'a State,
    /// Later ones lie over earlier ones.
    pub hits: Vec<(Rect, Hit)>,
    /// Pictures that are on screen but not loaded.
    pub wants: Vec<PictureKey>,
    /// Pictures that may soon be on screen.
    pub ahead: Vec<PictureKey>,
    /// Places of the list of samples that are on screen.
    pub view: Option<std::ops::Range<usize>>,
    pub cursor: Option<Position>,
    /// Where the panes are.
    pub body: Rect,
}

impl<'a, 'b> Canvas<'a, 'b> {
    pub fn new(frame: &'a mut Frame<'b>, state: &'a State) -> Self {
        Self {
            frame,
            state,
            hits: Vec::new(),
            wants: Vec::new(),
            ahead: Vec::new(),
            view: None,
            cursor: None,
            body: Rect::default(),
        }
    }
}

impl Canvas<'_, '_> {
    /// Draws a line into row `y` of `area`, if there is such a row.
    pub fn line<'l>(&mut self, area: Rect, y: usize, line: impl Into<Line<'l>>) {
        self.frame.render_widget(line.into(), row(area, y));
    }

    /// Draws text lines from row `y` on; gives the row after them.
    pub fn lines(&mut self, area: Rect, y: usize, lines: &[String], style: Style) -> usize {
        for (i, l) in lines.iter().enumerate() {
            self.line(area, y + i, Line::styled(l.as_str(), style));
        }
        y + lines.len()
    }

    /// Wraps a text into the rows of `area` from `y` on; gives the row after it.
    pub fn wrapped(&mut self, area: Rect, y: usize, content: &str, style: Style) -> usize {
        let rows = usize::from(area.height).saturating_sub(y);
        let lines = text::wrap(content, usize::from(area.width), rows);
        self.lines(area, y, &lines, style)
    }

    /// Draws a picture in the middle of `area`, or what is known of it.
    pub fn picture(&mut self, area: Rect, image: &ImageRef) {
        self.picture_as(area, image, View::default());
    }

    /// Draws a picture as `view` says in the middle of `area`, or what is known of it.
    pub fn picture_as(&mut self, area: Rect, image: &ImageRef, view: View) {
        let dim = self.state.theme.dim;
        if area.width < 4 || area.height < 2 {
            return;
        }
        let pictures = &self.state.pictures;
        if pictures.protocol.is_none() {
            let why = pictures.describe(self.state.words);
            let what = self.state.words.fill("picture.off", &[("why", &why)]);
            self.wrapped(area, 0, &what, dim);
            return;
        }
        if self.state.popup.is_some() && !pictures.plain_cells() {
            return; // it would lie over the popup
        }
        let key = PictureKey { image: image.clone(), size: Size::new(area.width, area.height), view };
        match pictures.get(&key) {
            None => {
                match pictures.stand_in(&key) {
                    Some(shown) => self.shown(area, shown),
                    None => drop(self.wrapped(area, 0, self.state.words.get("picture.loading"), dim)),
                }
                self.wants.push(key);
            }
            Some(Slot::Failed(why)) => {
                self.wrapped(area, 0, &self.state.words.said(why), self.state.theme.bad);
            }
            Some(Slot::Ready(shown)) => self.shown(area, shown),
        }
    }

    /// Draws a picture that is ready, in the middle.
    fn shown(&mut self, area: Rect, shown: &Shown) {
        let size = shown.protocol.size();
        let x = area.x + area.width.saturating_sub(size.width) / 2;
        let (width, height) = (size.width.min(area.width), size.height.min(area.height));
        let at = Rect { x, width, height, ..area };
        self.frame.render_widget(ratatui_image::Image::new(&shown.protocol).allow_clipping(true), at);
    }

    /// An empty state: what is missing and what to press, in the upper middle of the area.
    pub fn empty(&mut self, area: Rect, title: &str, lines: &[String]) {
        let top = (usize::from(area.height) / 3).saturating_sub(lines.len() / 2);
        let theme = &self.state.theme;
        self.line(area, top, Line::styled(title, theme.strong).centered());
        for (i, l) in lines.iter().enumerate() {
            let l = text::truncate(l, usize::from(area.width));
            self.line(area, top + 2 + i, Line::styled(l, theme.dim).centered());
        }
    }
}

/// Row `y` of an area; empty when there is none.
pub fn row(area: Rect, y: usize) -> Rect {
    if y >= usize::from(area.height) {
        return Rect { height: 0, ..area };
    }
    Rect { y: area.y + y as u16, height: 1, ..area }
}

/// Rows a page key moves by.
pub const PAGE: isize = 10;

/// How far a movement action goes in a list; `None` for other actions.
pub fn movement(action: Action) -> Option<isize> {
    match action {
        Action::Down => Some(1),
        Action::Up => Some(-1),
        Action::PageDown => Some(PAGE),
        Action::PageUp => Some(-PAGE),
        Action::Bottom => Some(isize::MAX / 2),
        Action::Top => Some(isize::MIN / 2),
        _ => None,
    }
}
