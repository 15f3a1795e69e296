//! Colours by role, so that no pane names a colour.

use ratatui::style::{Color, Modifier, Style};

/// One style per role. Plain text and background stay the terminal's own.
#[derive(Clone, Debug)]
pub struct Theme {
    pub dim: Style,
    pub strong: Style,
    pub accent: Style,
    pub key: Style,
    pub select: Style,
    pub select_unfocused: Style,
    pub good: Style,
    pub warn: Style,
    pub bad: Style,
    pub border: Style,
    pub focus: Style,
    /// Curves: as measured, smoothed, evaluation, others.
    pub raw: Style,
    pub smooth: Style,
    pub eval: Style,
    pub curve: Style,
    pub bar: Style,
    /// Whether any colour is used.
    pub colours: bool,
}

impl Theme {
    /// For dark backgrounds, in the terminal's own 16 colours: legible wherever its palette is.
    pub fn dark() -> Self {
        let fg = |c| Style::new().fg(c);
        Self {
            dim: fg(Color::DarkGray),
            strong: Style::new().add_modifier(Modifier::BOLD),
            accent: fg(Color::Cyan),
            key: fg(Color::Yellow),
            select: Style::new().bg(Color::Blue).fg(Color::White).add_modifier(Modifier::BOLD),
            select_unfocused: Style::new().add_modifier(Modifier::UNDERLINED),
            good: fg(Color::Green),
            warn: fg(Color::Yellow),
            bad: fg(Color::LightRed),
            border: fg(Color::DarkGray),
            focus: fg(Color::Cyan).add_modifier(Modifier::BOLD),
            raw: fg(Color::DarkGray),
            smooth: fg(Color::Cyan),
            eval: fg(Color::Magenta),
            curve: fg(Color::Green),
            bar: fg(Color::Cyan),
            colours: true,
        }
    }

    /// With 24-bit colours, chosen to differ in lightness too (Okabe-Ito hues for the curves).
    pub fn dark_rgb() -> Self {
        let fg = |r, g, b| Style::new().fg(Color::Rgb(r, g, b));
        Self {
            dim: fg(128, 135, 145),
            accent: fg(86, 180, 233),
            key: fg(240, 200, 100),
            select: Style::new().bg(Color::Rgb(38, 66, 96)).fg(Color::Rgb(255, 255, 255)),
            select_unfocused: Style::new().bg(Color::Rgb(44, 48, 54)),
            good: fg(0, 190, 140),
            warn: fg(230, 159, 0),
            bad: fg(240, 110, 80),
            border: fg(80, 86, 95),
            focus: fg(86, 180, 233).add_modifier(Modifier::BOLD),
            raw: fg(105, 112, 122),
            smooth: fg(86, 180, 233),
            eval: fg(204, 121, 167),
            curve: fg(0, 190, 140),
            bar: fg(86, 180, 233),
            ..Self::dark()
        }
    }

    /// For light backgrounds.
    pub fn light() -> Self {
        let fg = |c| Style::new().fg(c);
        Self {
            accent: fg(Color::Blue),
            key: fg(Color::Magenta),
            warn: fg(Color::Red),
            bad: fg(Color::Red).add_modifier(Modifier::BOLD),
            focus: fg(Color::Blue).add_modifier(Modifier::BOLD),
            smooth: fg(Color::Blue),
            bar: fg(Color::Blue),
            ..Self::dark()
        }
    }

    /// Without colours: bold, dim, underlined and reversed only.
    pub fn mono() -> Self {
        let with = |m| Style::new().add_modifier(m);
        let (plain, bold, dim) = (Style::new(), with(Modifier::BOLD), with(Modifier::DIM));
        Self {
            dim,
            strong: bold,
            accent: bold,
            key: bold,
            select: with(Modifier::REVERSED),
            select_unfocused: with(Modifier::UNDERLINED),
            good: plain,
            warn: bold,
            bad: bold,
            border: dim,
            focus: bold,
            raw: dim,
            smooth: bold,
            eval: with(Modifier::UNDERLINED),
            curve: plain,
            bar: plain,
            colours: false,
        }
    }

    /// The theme for an environment: `NO_COLOR`, `LORASCOPE_THEME` (dark, light, mono), `COLORTERM`.
    pub fn choose(env: impl Fn(&str) -> Option<String>) -> Self {
        if env("NO_COLOR").is_some_and(|v| !v.is_empty()) {
            return Self::mono();
        }
        match env("LORASCOPE_THEME").as_deref() {
            Some("light") => Self::light(),
            Some("mono") => Self::mono(),
            _ if matches!(env("COLORTERM").as_deref(), Some("truecolor" | "24bit")) => Self::dark_rgb(),
            _ => Self::dark(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_wins_and_means_no_colour() {
        let theme = Theme::choose(|k| matches!(k, "NO_COLOR" | "COLORTERM").then(|| "truecolor".into()));
        assert!(!theme.colours);
        for style in [theme.dim, theme.select, theme.bad, theme.smooth, theme.focus] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
