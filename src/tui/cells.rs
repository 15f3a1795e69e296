//! Cells of a frame as the bytes that draw them: one sequence for all that changes in the looks of a cell, and of numbers only
//! those that differ. A picture in half blocks changes two colours in every cell, so these bytes are most of a frame.

use ratatui::buffer::Cell;
use ratatui::style::{Color, Modifier};

/// Attributes, what switches each on and off (ECMA-48, 8.3.117). Bold and dim are switched off together.
const ATTRIBUTES: [(Modifier, u8, u8); 9] = [
    (Modifier::BOLD, 1, 22),
    (Modifier::DIM, 2, 22),
    (Modifier::ITALIC, 3, 23),
    (Modifier::UNDERLINED, 4, 24),
    (Modifier::SLOW_BLINK, 5, 25),
    (Modifier::RAPID_BLINK, 6, 25),
    (Modifier::REVERSED, 7, 27),
    (Modifier::HIDDEN, 8, 28),
    (Modifier::CROSSED_OUT, 9, 29),
];

/// Appends what draws the cells at their places (columns and rows from 0), and leaves the terminal with plain looks. Without
/// `colours` none is sent, whatever the cells say.
pub fn write<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = (u16, u16, &'a Cell)>, colours: bool) {
    let mut looks = Looks::default();
    let mut next = None;
    for (x, y, cell) in cells {
        // A wide character leaves the cursor where not every terminal agrees on: only the cell beside is taken for granted.
        if next != Some((x, y)) {
            out.extend_from_slice(b"\x1b[");
            number(out, y + 1);
            out.push(b';');
            number(out, x + 1);
            out.push(b'H');
        }
        next = Some((x + 1, y));
        looks.become_those_of(cell, out, colours);
        out.extend_from_slice(cell.symbol().as_bytes());
    }
    if looks != Looks::default() {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// How the terminal draws at the moment.
#[derive(Default, PartialEq)]
struct Looks {
    fg: Color,
    bg: Color,
    modifier: Modifier,
}

impl Looks {
    #[inline]
    fn become_those_of(&mut self, cell: &Cell, out: &mut Vec<u8>, colours: bool) {
        let (fg, bg) = if colours { (cell.fg, cell.bg) } else { (Color::Reset, Color::Reset) };
        if (self.fg, self.bg, self.modifier) == (fg, bg, cell.modifier) {
            return;
        }
        out.extend_from_slice(b"\x1b[");
        if self.modifier != cell.modifier {
            attributes(out, self.modifier, cell.modifier);
        }
        if self.fg != fg {
            colour(out, fg, 30);
        }
        if self.bg != bg {
            colour(out, bg, 40);
        }
        // Each number was followed by a semicolon.
        out.pop();
        out.push(b'm');
        *self = Self { fg, bg, modifier: cell.modifier };
    }
}

fn attributes(out: &mut Vec<u8>, from: Modifier, to: Modifier) {
    let intensity = Modifier::BOLD | Modifier::DIM;
    let blinking = Modifier::SLOW_BLINK | Modifier::RAPID_BLINK;
    let mut kept = from & to;
    for (attribute, _, off) in ATTRIBUTES {
        if (from - to).contains(attribute) {
            parameter(out, off);
            // What is switched off with it has to be switched on again.
            kept -= [intensity, blinking].into_iter().find(|g| g.contains(attribute)).unwrap_or(attribute);
        }
    }
    for (attribute, on, _) in ATTRIBUTES {
        if (to - kept).contains(attribute) {
            parameter(out, on);
        }
    }
}

/// A colour of the foreground (`base` 30) or of the background (40).
#[inline]
fn colour(out: &mut Vec<u8>, colour: Color, base: u8) {
    let named = match colour {
        Color::Reset => 9,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        Color::LightRed => 61,
        Color::LightGreen => 62,
        Color::LightYellow => 63,
        Color::LightBlue => 64,
        Color::LightMagenta => 65,
        Color::LightCyan => 66,
        Color::White => 67,
        Color::Indexed(index) => return [base + 8, 5, index].into_iter().for_each(|n| parameter(out, n)),
        Color::Rgb(r, g, b) => return [base + 8, 2, r, g, b].into_iter().for_each(|n| parameter(out, n)),
    };
    parameter(out, base + named);
}

#[inline]
fn parameter(out: &mut Vec<u8>, n: u8) {
    number(out, n.into());
    out.push(b';');
}

#[inline]
fn number(out: &mut Vec<u8>, n: u16) {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    match n {
        0..10 => out.push(digit(n)),
        10..100 => out.extend_from_slice(&[digit(n / 10), digit(n)]),
        100..1000 => out.extend_from_slice(&[digit(n / 100), digit(n / 10), digit(n)]),
        _ => out.extend_from_slice(n.to_string().as_bytes()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ratatui::backend::{Backend, CrosstermBackend};
    use ratatui::style::Style;

    const COLOURS: [Color; 20] = [
        Color::Reset,
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
        Color::DarkGray,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
        Color::White,
        Color::Indexed(208),
        Color::Rgb(0, 99, 255),
        Color::Rgb(7, 10, 100),
    ];

    /// Cells with all colours and all pairs of attributes one after another, wide ones and gaps.
    fn cells() -> Vec<(u16, u16, Cell)> {
        let modifiers = [1, 2, 3, 4, 8, 9, 13, 0x40, 0x41, 0x80, 0x100, 0];
        let pairs = modifiers.iter().flat_map(|&a| modifiers.iter().flat_map(move |&b| [a, b]));
        let mut all = Vec::new();
        for (i, bits) in pairs.enumerate() {
            let mut cell = Cell::new(["a", "▀", "肝", " "][i % 4]);
            let (fg, bg) = (COLOURS[i * 7 % COLOURS.len()], COLOURS[i / 5 % COLOURS.len()]);
            cell.set_style(Style::new().fg(fg).bg(bg).add_modifier(Modifier::from_bits_truncate(bits)));
            all.push(((i % 40 * 3) as u16, (i / 40) as u16, cell.clone()));
            if i % 4 != 2 {
                all.push(((i % 40 * 3 + 1) as u16, (i / 40) as u16, cell));
            }
        }
        all
    }

    fn drawn(bytes: &[u8]) -> Vec<Vec<vt100::Cell>> {
        let mut parser = vt100::Parser::new(12, 130, 0);
        parser.process(bytes);
        let row = |y| (0..130).map(|x| parser.screen().cell(y, x).unwrap().clone()).collect();
        (0..12).map(row).collect()
    }

    #[test]
    fn it_draws_what_crossterm_draws_in_fewer_bytes() {
        let cells = cells();
        let content = || cells.iter().map(|(x, y, cell)| (*x, *y, cell));
        let mut want = Vec::new();
        CrosstermBackend::new(&mut want).draw(content()).unwrap();
        let mut got = Vec::new();
        write(&mut got, content(), true);
        assert_eq!(drawn(&got).len(), drawn(&want).len());
        for (y, (got, want)) in drawn(&got).iter().zip(&drawn(&want)).enumerate() {
            for (x, (got, want)) in got.iter().zip(want).enumerate() {
                assert_eq!(got, want, "row {y}, column {x}");
            }
        }
        assert!(got.len() < want.len(), "{} {}", got.len(), want.len());
        // The next frame begins with plain looks.
        assert!(got.ends_with(b"\x1b[0m") && !got.windows(2).any(|w| w == b";m" || w == b"[m"));
    }

    #[test]
    fn attributes_that_a_parser_of_the_tests_does_not_know_go_on_and_off() {
        let mut out = Vec::new();
        attributes(&mut out, Modifier::BOLD | Modifier::DIM | Modifier::CROSSED_OUT, Modifier::DIM);
        assert_eq!(out, b"22;29;2;");
        out.clear();
        attributes(&mut out, Modifier::SLOW_BLINK, Modifier::RAPID_BLINK | Modifier::HIDDEN);
        assert_eq!(out, b"25;6;8;");
    }

    #[test]
    fn without_colours_none_is_sent() {
        let mut out = Vec::new();
        let mut cell = Cell::new("x");
        cell.set_style(Style::new().fg(Color::Red).bg(Color::Rgb(1, 2, 3)).add_modifier(Modifier::BOLD));
        write(&mut out, [(0, 0, &cell), (1, 0, &cell)].into_iter(), false);
        assert_eq!(out, b"\x1b[1;1H\x1b[1mxx\x1b[0m");
    }

    #[test]
    fn numbers_have_their_digits() {
        let mut out = Vec::new();
        [0, 9, 10, 99, 100, 255, 1000, 65535]
            .into_iter()
            .for_each(|n| (number(&mut out, n), out.push(b' ')).1);
        assert_eq!(String::from_utf8(out).unwrap(), "0 9 10 99 100 255 1000 65535 ");
    }
}
