//! Colours by role, so that no pane names a colour: four variants, each for 24-bit, 256, 16 and no colours.

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
    pub variant: Variant,
    pub depth: Depth,
}

/// For whose eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Dark,
    Light,
    Contrast,
    /// Told apart by lightness and by blue against orange, never by red against green.
    ColourBlind,
}

impl Variant {
    pub const ALL: [Variant; 4] = [Variant::Dark, Variant::Light, Variant::Contrast, Variant::ColourBlind];

    /// The name in `LORASCOPE_THEME` and `--theme`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Dark => "dark",
            Variant::Light => "light",
            Variant::Contrast => "high-contrast",
            Variant::ColourBlind => "colour-blind",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.name() == name)
    }

    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|v| *v == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    None,
    Sixteen,
    Many,
    Full,
}

impl Depth {
    /// By `NO_COLOR`, `COLORTERM` and `TERM`.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| env(name).filter(|v| !v.is_empty());
        let term = set("TERM").unwrap_or_default();
        if set("NO_COLOR").is_some() || term == "dumb" {
            return Depth::None;
        }
        match set("COLORTERM").as_deref() {
            Some("truecolor" | "24bit") => Depth::Full,
            _ if term.contains("direct") => Depth::Full,
            _ if term.contains("256") => Depth::Many,
            _ => Depth::Sixteen,
        }
    }
}

/// A colour in full, and the nearest of the terminal's own sixteen.
#[derive(Clone, Copy)]
struct Ink(u32, Color);

/// Inks by role.
struct Palette {
    dim: Ink,
    accent: Ink,
    key: Ink,
    select: (Ink, Ink),
    unfocused: Ink,
    good: Ink,
    warn: Ink,
    bad: Ink,
    border: Ink,
    /// Measured, smoothed, evaluation, others.
    curves: [Ink; 4],
}

const DARK: Palette = Palette {
    dim: Ink(0x808791, Color::DarkGray),
    accent: Ink(0x56b4e9, Color::Cyan),
    key: Ink(0xf0c864, Color::Yellow),
    select: (Ink(0xffffff, Color::White), Ink(0x264260, Color::Blue)),
    unfocused: Ink(0x2c3036, Color::Reset),
    good: Ink(0x00be8c, Color::Green),
    warn: Ink(0xe69f00, Color::Yellow),
    bad: Ink(0xf06e50, Color::LightRed),
    border: Ink(0x50565f, Color::DarkGray),
    curves: [
        Ink(0x69707a, Color::DarkGray),
        Ink(0x56b4e9, Color::Cyan),
        Ink(0xcc79a7, Color::Magenta),
        Ink(0x00be8c, Color::Green),
    ],
};

const LIGHT: Palette = Palette {
    dim: Ink(0x667080, Color::DarkGray),
    accent: Ink(0x0062a3, Color::Blue),
    key: Ink(0x8a4b00, Color::Magenta),
    select: (Ink(0x000000, Color::White), Ink(0xb8d8f8, Color::Blue)),
    unfocused: Ink(0xe4e8ee, Color::Reset),
    good: Ink(0x00704f, Color::Green),
    warn: Ink(0x9a5b00, Color::Red),
    bad: Ink(0xb3261e, Color::Red),
    border: Ink(0x9aa2ad, Color::DarkGray),
    curves: [
        Ink(0x8a919c, Color::DarkGray),
        Ink(0x0062a3, Color::Blue),
        Ink(0x9b2c77, Color::Magenta),
        Ink(0x00704f, Color::Green),
    ],
};

const CONTRAST: Palette = Palette {
    dim: Ink(0xc8ced6, Color::White),
    accent: Ink(0x7fd7ff, Color::LightCyan),
    key: Ink(0xffff5f, Color::LightYellow),
    select: (Ink(0x000000, Color::Black), Ink(0xffff5f, Color::LightYellow)),
    unfocused: Ink(0x404040, Color::Reset),
    good: Ink(0x5fff87, Color::LightGreen),
    warn: Ink(0xffd75f, Color::LightYellow),
    bad: Ink(0xff9c8f, Color::LightRed),
    border: Ink(0xffffff, Color::White),
    curves: [
        Ink(0xb2b2b2, Color::White),
        Ink(0x7fd7ff, Color::LightCyan),
        Ink(0xffafff, Color::LightMagenta),
        Ink(0x5fff87, Color::LightGreen),
    ],
};

/// Okabe and Ito's colours, <https://jfly.uni-koeln.de/color/>.
const COLOUR_BLIND: Palette = Palette {
    good: Ink(0x56b4e9, Color::LightCyan),
    warn: Ink(0xe69f00, Color::Yellow),
    bad: Ink(0xf0e442, Color::LightYellow),
    curves: [
        Ink(0x69707a, Color::DarkGray),
        Ink(0x56b4e9, Color::LightCyan),
        Ink(0xe69f00, Color::Yellow),
        Ink(0xf0e442, Color::LightYellow),
    ],
    ..DARK
};

impl Theme {
    /// A variant for a terminal with so many colours.
    pub fn new(variant: Variant, depth: Depth) -> Self {
        if depth == Depth::None {
            return Self { variant, ..Self::mono() };
        }
        let p = match variant {
            Variant::Dark => DARK,
            Variant::Light => LIGHT,
            Variant::Contrast => CONTRAST,
            Variant::ColourBlind => COLOUR_BLIND,
        };
        let colour = |ink: Ink| paint(ink, depth);
        let fg = |ink: Ink| Style::new().fg(colour(ink));
        let bold = |style: Style| style.add_modifier(Modifier::BOLD);
        let (over, under) = (colour(p.select.0), colour(p.select.1));
        let plain_unfocused = depth == Depth::Sixteen;
        Self {
            dim: fg(p.dim),
            strong: bold(Style::new()),
            accent: fg(p.accent),
            key: fg(p.key),
            select: bold(Style::new().bg(under).fg(over)),
            select_unfocused: match plain_unfocused {
                true => Style::new().add_modifier(Modifier::UNDERLINED),
                false => Style::new().bg(colour(p.unfocused)),
            },
            good: fg(p.good),
            warn: fg(p.warn),
            bad: if variant == Variant::Dark { fg(p.bad) } else { bold(fg(p.bad)) },
            border: fg(p.border),
            focus: bold(fg(p.accent)),
            raw: fg(p.curves[0]),
            smooth: fg(p.curves[1]),
            eval: fg(p.curves[2]),
            curve: fg(p.curves[3]),
            bar: fg(p.accent),
            colours: true,
            variant,
            depth,
        }
    }

    /// For dark backgrounds, in the terminal's own 16 colours: legible wherever its palette is.
    pub fn dark() -> Self {
        Self::new(Variant::Dark, Depth::Sixteen)
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
            variant: Variant::Dark,
            depth: Depth::None,
        }
    }

    /// The theme for an environment: `NO_COLOR`, `COLORTERM` and `TERM` say how many colours there are;
    /// `LORASCOPE_THEME`, else what was chosen last, else the background that `COLORFGBG` tells, which ones.
    pub fn choose(env: impl Fn(&str) -> Option<String>, last: Option<Variant>) -> Self {
        let depth = Depth::of(&env);
        let wish = env("LORASCOPE_THEME");
        if wish.as_deref() == Some("mono") {
            return Self::mono();
        }
        let light = || {
            let background = env("COLORFGBG")?.rsplit(';').next()?.parse::<u8>().ok()?;
            (matches!(background, 7 | 15)).then_some(Variant::Light)
        };
        let variant = wish.as_deref().and_then(Variant::named).or(last).or_else(light);
        Self::new(variant.unwrap_or(Variant::Dark), depth)
    }
}

fn paint(ink: Ink, depth: Depth) -> Color {
    let [_, r, g, b] = ink.0.to_be_bytes();
    match depth {
        Depth::None => Color::Reset,
        Depth::Sixteen => ink.1,
        Depth::Many => Color::Indexed(nearest([r, g, b])),
        Depth::Full => Color::Rgb(r, g, b),
    }
}

/// The nearest of the 240 fixed colours of a 256-colour terminal: a cube of 6 steps, and 24 greys.
fn nearest(rgb: [u8; 3]) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let off = |a: [u8; 3]| -> u32 { a.iter().zip(rgb).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    let step = |v: u8| (0..6).min_by_key(|i| STEPS[*i].abs_diff(v)).unwrap_or(0);
    let [r, g, b] = rgb.map(step);
    let cube = ([STEPS[r], STEPS[g], STEPS[b]], (16 + 36 * r + 6 * g + b) as u8);
    let greys = (0..24u8).map(|i| ([8 + 10 * i; 3], 232 + i));
    greys.chain([cube]).min_by_key(|(colour, _)| off(*colour)).map_or(15, |(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styles(t: &Theme) -> [(&'static str, Style); 12] {
        [
            ("dim", t.dim),
            ("accent", t.accent),
            ("key", t.key),
            ("good", t.good),
            ("warn", t.warn),
            ("bad", t.bad),
            ("border", t.border),
            ("focus", t.focus),
            ("raw", t.raw),
            ("smooth", t.smooth),
            ("eval", t.eval),
            ("curve", t.curve),
        ]
    }

    /// Relative luminance and contrast as WCAG 2 has them.
    fn luminance(colour: Color) -> f64 {
        let Color::Rgb(r, g, b) = colour else { panic!("no full colour: {colour:?}") };
        let line = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b)
    }

    fn contrast(a: Color, b: Color) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn no_color_wins_and_means_no_colour() {
        let theme =
            Theme::choose(|k| matches!(k, "NO_COLOR" | "COLORTERM").then(|| "truecolor".into()), None);
        assert!(!theme.colours);
        for (_, style) in styles(&theme).into_iter().chain([("select", theme.select)]) {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    #[test]
    fn every_role_is_legible_on_its_background() {
        for variant in Variant::ALL {
            let theme = Theme::new(variant, Depth::Full);
            let paper = if variant == Variant::Light { 255 } else { 24 };
            let paper = Color::Rgb(paper, paper, paper);
            for (role, style) in styles(&theme) {
                let least = match (role, variant) {
                    (_, Variant::Contrast) => 7.0,
                    ("border", _) => 2.0,
                    ("raw", _) => 3.0,
                    _ => 4.5,
                };
                let seen = contrast(style.fg.unwrap_or(paper), paper);
                assert!(seen >= least, "{} {role}: {seen:.1}", variant.name());
            }
            let select = theme.select;
            let seen = contrast(select.fg.unwrap_or(paper), select.bg.unwrap_or(paper));
            assert!(seen >= 7.0, "{} selection: {seen:.1}", variant.name());
        }
    }

    #[test]
    fn curves_differ_in_lightness_for_the_colour_blind() {
        let t = Theme::new(Variant::ColourBlind, Depth::Full);
        let mut curves = [t.raw, t.eval, t.smooth, t.curve].map(|s| luminance(s.fg.unwrap_or(Color::Reset)));
        curves.sort_by(f64::total_cmp);
        assert!(curves[0] * 1.5 < curves[1] && curves[2] * 1.4 < curves[3], "{curves:?}");
    }

    #[test]
    fn fewer_colours_where_the_terminal_has_fewer() {
        let depth = |term: &'static str, colour: Option<&'static str>| {
            Depth::of(|k| match k {
                "TERM" => Some(term.to_string()),
                "COLORTERM" => colour.map(str::to_string),
                _ => None,
            })
        };
        assert_eq!(depth("xterm", None), Depth::Sixteen);
        assert_eq!(depth("tmux-256color", None), Depth::Many);
        assert_eq!(depth("xterm-256color", Some("truecolor")), Depth::Full);
        assert_eq!(depth("dumb", None), Depth::None);
        assert_eq!([nearest([255, 0, 0]), nearest([0, 0, 0]), nearest([128, 128, 128])], [196, 16, 244]);
        assert!(matches!(Theme::new(Variant::Dark, Depth::Many).accent.fg, Some(Color::Indexed(_))));
    }

    #[test]
    fn the_variant_is_wished_remembered_or_seen() {
        let choose = |wish: Option<&str>, background: Option<&str>, last| {
            let env = |k: &str| match k {
                "LORASCOPE_THEME" => wish.map(str::to_string),
                "COLORFGBG" => background.map(str::to_string),
                _ => None,
            };
            Theme::choose(env, last).variant
        };
        assert_eq!(choose(None, None, None), Variant::Dark);
        assert_eq!(choose(None, Some("0;15"), None), Variant::Light);
        assert_eq!(choose(None, Some("0;15"), Some(Variant::Contrast)), Variant::Contrast);
        assert_eq!(choose(Some("colour-blind"), None, Some(Variant::Light)), Variant::ColourBlind);
    }
}
