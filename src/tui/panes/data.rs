//! The data pane: the registered data sets, their samples, the selected sample with its picture.

use super::{Canvas, Hit, Pane, movement, row};
use crate::job::{Finding, Level};
use crate::tui::action::{Action, Context};
use crate::tui::effects::{Effect, Load};
use crate::tui::state::data::{caption, question};
use crate::tui::state::{PaneId, State};
use crate::tui::text;
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::popup::Popup;
use crate::tui::widgets::table::{Align, Scroll, cell, row_style};
use crossterm::event::KeyEvent;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

/// How the data are looked at.
#[derive(Default)]
pub struct DataPane {
    scroll: Scroll,
    filter: Option<Input>,
}

impl State {
    /// Opens the data set `step` places further in the list, around the ends.
    pub fn open_dataset(&mut self, step: isize) -> Vec<Effect> {
        let n = self.data.names.len() as isize;
        if n == 0 {
            return Vec::new();
        }
        let data = &mut self.data;
        data.open = (data.open as isize + step).rem_euclid(n) as usize;
        data.loading = true;
        data.samples.clear();
        data.visible.clear();
        let name = data.names[data.open].clone();
        let media_dir = self.config.media_dir.clone();
        vec![Effect::Load(Load::Dataset { dir: data.dir.clone(), name, media_dir })]
    }
}

impl Pane for DataPane {
    fn context(&self) -> Context {
        Context::Data
    }

    fn name(&self) -> &'static str {
        "Data"
    }

    fn title(&self, state: &State) -> String {
        let data = &state.data;
        let Some(name) = data.name() else { return String::new() };
        let mut title = crate::data::clean::for_terminal(name);
        if data.names.len() > 1 {
            title.push_str(&format!(" ({}/{})", data.open + 1, data.names.len()));
        }
        if !data.loading {
            let rows = data.visible.len();
            title.push_str(&match rows == data.samples.len() {
                true => format!(" · {rows} samples"),
                false => format!(" · {rows} of {} samples", data.samples.len()),
            });
        }
        let findings = data.findings.len();
        if findings > 0 {
            title.push_str(&format!(" · {findings} finding{}", if findings == 1 { "" } else { "s" }));
        }
        title
    }

    fn hints(&self, state: &State) -> Vec<(Action, &'static str)> {
        if state.data.names.is_empty() {
            return vec![(Action::Demo, "demo data"), (Action::Convert, "convert parquet")];
        }
        let mut hints = vec![(Action::Filter, "search"), (Action::AskAbout, "ask about it")];
        if state.data.names.len() > 1 {
            hints.push((Action::NextDataset, "next set"));
        }
        if !state.data.findings.is_empty() {
            hints.push((Action::Findings, "findings"));
        }
        hints
    }

    fn act(&mut self, action: Action, state: &mut State) -> Option<Vec<Effect>> {
        match action {
            Action::Filter => self.filter = Some(Input::with(&state.data.filter)),
            Action::Back if !state.data.filter.is_empty() => state.data.set_filter(""),
            Action::NextDataset => return Some(state.open_dataset(1)),
            Action::PreviousDataset => return Some(state.open_dataset(-1)),
            Action::Reload => return Some(vec![Effect::Load(Load::Registry(state.data.dir.clone()))]),
            Action::AskAbout if state.data.sample().is_some() => {
                state.focus = PaneId::Chat;
                state.talk.typing = true;
            }
            Action::Findings => {
                let lines: Vec<_> = state.data.findings.iter().flat_map(finding_lines).collect();
                let lines = if lines.is_empty() { vec!["Nothing was found.".into()] } else { lines };
                state.popup = Some(Popup::text("Findings", lines));
            }
            action => state.data.step(movement(action)?),
        }
        Some(Vec::new())
    }

    fn typing(&self, _state: &State) -> bool {
        self.filter.is_some()
    }

    fn type_key(&mut self, key: KeyEvent, state: &mut State) -> Vec<Effect> {
        let Some(input) = &mut self.filter else { return Vec::new() };
        match input.key(key) {
            Typed::Changed => state.data.set_filter(input.text()),
            Typed::Submit => self.filter = None,
            Typed::Cancel => {
                self.filter = None;
                state.data.set_filter("");
            }
            Typed::Other => {}
        }
        Vec::new()
    }

    fn paste(&mut self, pasted: &str, state: &mut State) {
        if let Some(input) = &mut self.filter {
            input.paste(pasted);
            state.data.set_filter(input.text());
        }
    }

    fn click(&mut self, row: usize, state: &mut State) {
        state.data.select(row as isize);
    }

    fn draw(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        if state.data.names.is_empty() {
            return draw_empty(canvas, area);
        }
        let [list, gap, detail] = if area.width >= 50 {
            let list = (area.width * 2 / 5).clamp(22, 64);
            Layout::horizontal([Constraint::Length(list), Constraint::Length(2), Constraint::Min(0)])
                .areas(area)
        } else {
            let list = (area.height / 2).max(1);
            Layout::vertical([Constraint::Length(list), Constraint::Length(1), Constraint::Min(0)])
                .areas(area)
        };
        if area.width >= 50 {
            for y in 0..usize::from(gap.height) {
                canvas.line(gap, y, Line::styled("│", state.theme.border));
            }
        } else {
            canvas.line(gap, 0, Line::styled("─".repeat(gap.width.into()), state.theme.border));
        }
        self.draw_list(canvas, list);
        draw_detail(canvas, detail);
    }
}

impl DataPane {
    fn draw_list(&mut self, canvas: &mut Canvas, area: Rect) {
        let state = canvas.state;
        let (theme, data) = (&state.theme, &state.data);
        let mut area = area;
        if self.filter.is_some() || !data.filter.is_empty() {
            let line = Line::from(vec![Span::styled("/", theme.key), Span::raw(data.filter.clone())]);
            canvas.line(area, 0, line);
            if let Some(input) = &self.filter {
                let at = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..row(area, 0) };
                canvas.cursor = input.draw(at, canvas.frame.buffer_mut(), theme.strong);
            }
            area = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
        }
        if data.visible.is_empty() {
            let why = match (&data.error, data.loading) {
                (_, true) => "loading …".into(),
                (Some(error), _) => error.clone(),
                _ if data.filter.is_empty() => "this data set has no samples".into(),
                _ => format!("nothing matches; {} clears the search", state.keys.hint(Action::Back)),
            };
            let style = if data.error.is_some() { theme.bad } else { theme.dim };
            canvas.wrapped(area, 0, &why, style);
            return;
        }
        let columns = usize::from(area.width);
        let number = data.samples.len().to_string().len() + 1;
        let longest = data.samples.iter().take(100).map(|s| text::width(&s.id)).max().unwrap_or(0);
        let id = (longest + 1).clamp(6, (columns.saturating_sub(number) / 2).max(6));
        let focused = state.focus == PaneId::Data;
        for (y, i) in self.scroll.follow(data.selected, area.height.into(), data.visible.len()).enumerate() {
            let sample = &data.samples[data.visible[i]];
            let selected = i == data.selected;
            let style = row_style(theme, selected, focused);
            let rest = columns.saturating_sub(number + id);
            let first = caption(sample).replace('\n', " ");
            let id_text = crate::data::clean::for_terminal(&sample.id);
            let dim = if selected && focused { style } else { theme.dim.patch(style) };
            let line = Line::from(vec![
                Span::styled(cell(&sample.row.to_string(), number, Align::Right), dim),
                Span::styled(cell(&id_text, id, Align::Left), style),
                Span::styled(text::pad(&first, rest), style),
            ]);
            canvas.line(area, y, line);
            canvas.hits.push((row(area, y), Hit::Row(PaneId::Data, i)));
        }
    }
}

fn draw_empty(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    if let Some(busy) = &state.busy {
        let progress =
            if busy.total > 0 { format!("{} of {}", busy.done, busy.total) } else { String::new() };
        return canvas.empty(area, &format!("{} …", busy.what), &[progress]);
    }
    if let Some(error) = &state.data.error {
        let lines = text::wrap(error, area.width.into(), 6);
        return canvas.empty(area, "The data cannot be read", &lines);
    }
    let lines = [
        format!("{}   unpack the demo: drawn scans, a tiny model", state.keys.hint(Action::Demo)),
        format!("{}   convert your own parquet files            ", state.keys.hint(Action::Convert)),
    ];
    canvas.empty(area, "No data yet", &lines);
}

/// The selected sample: picture, question, caption.
fn draw_detail(canvas: &mut Canvas, area: Rect) {
    let state = canvas.state;
    let Some(sample) = state.data.sample() else { return };
    let theme = &state.theme;
    let (question, caption) = (question(sample), caption(sample));
    let columns = usize::from(area.width);
    let lines = text::wrap(&caption, columns, usize::from(area.height)).len() + 2;
    // The text gets what it needs, up to half; the picture the rest.
    let text_rows = (lines as u16).min(area.height / 2).max(area.height.min(3));
    let picture = Rect { height: area.height.saturating_sub(text_rows + 1), ..area };
    match sample.images.first() {
        Some(image) if picture.height >= 3 => canvas.picture(picture, image),
        Some(_) => {}
        None => canvas.line(picture, 0, Line::styled("no picture", theme.dim)),
    }
    let words = Rect { y: area.bottom().saturating_sub(text_rows).max(area.y), height: text_rows, ..area };
    let id = text::truncate(&crate::data::clean::for_terminal(&sample.id), columns / 2).into_owned();
    let more = match sample.images.len() {
        0 | 1 => String::new(),
        n => format!(" · {n} pictures"),
    };
    canvas.line(words, 0, Line::styled(format!("row {} · {id}{more}", sample.row), theme.dim));
    let question = text::truncate(question.trim(), columns.saturating_sub(2)).replace('\n', " ");
    canvas.line(
        words,
        1,
        Line::from(vec![Span::styled("? ", theme.key), Span::styled(question, theme.accent)]),
    );
    canvas.wrapped(words, 2, &caption, ratatui::style::Style::new());
}

fn finding_lines(finding: &Finding) -> Vec<String> {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info | Level::Debug => "note",
    };
    let rows: Vec<_> = finding.rows.iter().take(8).map(usize::to_string).collect();
    let rows = if rows.is_empty() { String::new() } else { format!(" (rows {})", rows.join(", ")) };
    let message = crate::data::clean::for_terminal(&finding.message);
    let fix = crate::data::clean::for_terminal(&finding.fix);
    vec![format!("{level}: {message}, {}×{rows}", finding.count), format!("    {fix}")]
}
