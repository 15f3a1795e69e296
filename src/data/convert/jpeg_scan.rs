//! Whether a JPEG's coded data is whole, without computing pixels: every block is read, none is transformed.
//!
//! Decoders fill what is missing or damaged with grey and say nothing, and they spend most of their time on pixels that
//! nobody needs here. Section and figure numbers are those of ITU-T T.81.

use super::jpeg_code::{Bits, Table};
use image::metadata::Orientation;
use std::ops::Range;
use std::rc::Rc;

/// What a JPEG is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The headers are as libjpeg wants them, and every block of every component is there.
    Whole(Frame),
    /// Progressive: the headers are as libjpeg wants them; the coded data was not read.
    Headers(Frame),
    /// Where and how the coded data is damaged.
    Damaged(String),
    /// Something that libjpeg may refuse, though other decoders may not.
    Unknown,
}

/// What the headers of a whole JPEG say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub width: u32,
    pub height: u32,
    /// 1 grey, 3 colour, 4 CMYK.
    pub components: usize,
    /// EXIF has the picture turned or mirrored.
    pub oriented: bool,
}

/// Reads all coded data of a JPEG.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    match Reader::default().run(bytes) {
        Ok((frame, true)) => Scan::Headers(frame),
        Ok((frame, false)) => Scan::Whole(frame),
        Err(Stop::Damaged(why)) => Scan::Damaged(why),
        Err(Stop::Unknown) => Scan::Unknown,
    }
}

/// Where the coded data of these block groups is damaged: read once more, one by one.
fn damage(bits: &mut Bits, round: &[(&Table, &Table)], mut groups: Range<usize>, all: usize) -> Stop {
    let group = groups.find(|_| !bits.blocks(round, round.len())).unwrap_or(all);
    Stop::Damaged(format!("the coded data is damaged or ends at block group {group} of {all}"))
}

enum Stop {
    Damaged(String),
    Unknown,
}

#[derive(Clone, Copy, Default)]
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    /// Its quantisation table.
    quant: usize,
    /// It was coded in a scan.
    seen: bool,
}

/// A component in a scan: its number, its DC and its AC table.
type Part = (usize, usize, usize);

#[derive(Default)]
struct Reader {
    width: usize,
    height: usize,
    components: Vec<Component>,
    restart: usize,
    oriented: bool,
    progressive: bool,
    /// Which quantisation tables are there.
    quant: [bool; 4],
    dc: [Option<Rc<Table>>; 4],
    ac: [Option<Rc<Table>>; 4],
}

impl Reader {
    /// The facts, and whether it is progressive.
    fn run(&mut self, bytes: &[u8]) -> Result<(Frame, bool), Stop> {
        let mut at = 2;
        loop {
            let marker = marker(bytes, &mut at)?;
            if marker == 0xD9 {
                let all = !self.components.is_empty() && self.components.iter().all(|c| c.seen);
                let damaged = Stop::Damaged("not all components are there".into());
                return if all { Ok((self.facts(), self.progressive)) } else { Err(damaged) };
            }
            let length = bytes.get(at..at + 2).ok_or(Stop::Unknown)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let segment = bytes.get(at + 2..at + length).ok_or(Stop::Unknown)?;
            at += length;
            match marker {
                0xC0..=0xC2 => self.frame(segment, marker == 0xC2)?,
                0xC4 => self.tables(segment)?,
                0xDB => self.quantisation(segment)?,
                0xDD => {
                    self.restart =
                        usize::from(u16::from_be_bytes(segment.try_into().map_err(|_| Stop::Unknown)?))
                }
                0xDA if self.progressive => at += self.skipped(segment, &bytes[at..])?,
                0xDA => at += self.coded(segment, &bytes[at..])?,
                0xE1 => self.oriented |= is_oriented(segment),
                0xE0..=0xEF | 0xFE => {}
                // Other frames: lossless, arithmetic, hierarchical; a height that comes later; reserved.
                _ => return Err(Stop::Unknown),
            }
        }
    }

    fn facts(&self) -> Frame {
        let (width, height) = (self.width as u32, self.height as u32);
        Frame { width, height, components: self.components.len(), oriented: self.oriented }
    }

    /// The frame header (B.2.2).
    fn frame(&mut self, segment: &[u8], progressive: bool) -> Result<(), Stop> {
        self.progressive = progressive;
        let [precision, h1, h2, w1, w2, count, ref components @ ..] = *segment else {
            return Err(Stop::Unknown);
        };
        self.height = usize::from(u16::from_be_bytes([h1, h2]));
        self.width = usize::from(u16::from_be_bytes([w1, w2]));
        let sound = precision == 8 && self.height > 0 && self.width > 0 && self.components.is_empty();
        if !sound || !(1..=4).contains(&count) || components.len() != usize::from(count) * 3 {
            return Err(Stop::Unknown);
        }
        for c in components.chunks_exact(3) {
            let (h, v) = (usize::from(c[1] >> 4), usize::from(c[1] & 15));
            let quant = usize::from(c[2]);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || quant > 3 {
                return Err(Stop::Unknown);
            }
            self.components.push(Component { id: c[0], h, v, quant, seen: false });
        }
        Ok(())
    }

    /// Quantisation tables (B.2.4.1).
    fn quantisation(&mut self, mut segment: &[u8]) -> Result<(), Stop> {
        while let Some((head, rest)) = segment.split_first() {
            let size = match head >> 4 {
                0 => 64,
                1 => 128,
                _ => return Err(Stop::Unknown),
            };
            *self.quant.get_mut(usize::from(head & 15)).ok_or(Stop::Unknown)? = true;
            segment = rest.get(size..).ok_or(Stop::Unknown)?;
        }
        Ok(())
    }

    /// Huffman tables (B.2.4.2).
    fn tables(&mut self, mut segment: &[u8]) -> Result<(), Stop> {
        while let Some((head, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk().ok_or(Stop::Unknown)?;
            let total: usize = counts.iter().map(|n| usize::from(*n)).sum();
            let symbols = rest.get(16..16 + total).ok_or(Stop::Unknown)?;
            let (class, slot) = (head >> 4, usize::from(head & 15));
            let tables = match class {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Stop::Unknown),
            };
            let table = Table::cached(counts, symbols, class == 0).ok_or(Stop::Unknown)?;
            *tables.get_mut(slot).ok_or(Stop::Unknown)? = Some(table);
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    /// The components of a scan (B.2.3) with their DC and AC tables, and the three bytes behind them.
    fn scan_header(&mut self, header: &[u8]) -> Result<(Vec<Part>, [u8; 3]), Stop> {
        let (count, rest) = header.split_first().ok_or(Stop::Unknown)?;
        let count = usize::from(*count);
        let (parts, numbers) = rest.split_at_checked(count * 2).ok_or(Stop::Unknown)?;
        if count == 0 || count > self.components.len() {
            return Err(Stop::Unknown);
        }
        let mut found = Vec::new();
        for part in parts.chunks_exact(2) {
            let i = self.components.iter().position(|known| known.id == part[0]).ok_or(Stop::Unknown)?;
            let component = &mut self.components[i];
            // Only progressive pictures come back to a component.
            if !self.quant[component.quant] || (component.seen && !self.progressive) {
                return Err(Stop::Unknown);
            }
            component.seen = true;
            found.push((i, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
        }
        Ok((found, numbers.try_into().map_err(|_| Stop::Unknown)?))
    }

    /// A progressive scan, of which the header is checked (G.1.1.1.1); returns the length of its data.
    fn skipped(&mut self, header: &[u8], data: &[u8]) -> Result<usize, Stop> {
        let (parts, [first, last, approximation]) = self.scan_header(header)?;
        let (high, low) = (approximation >> 4, approximation & 15);
        let band = if first == 0 { last == 0 } else { parts.len() == 1 && (first..64).contains(&last) };
        if !band || low > 13 || (high != 0 && high != low + 1) {
            return Err(Stop::Unknown);
        }
        for (_, dc, ac) in parts {
            let table = if first == 0 { self.dc.get(dc) } else { self.ac.get(ac) };
            // A refining DC scan has no codes.
            if table.is_none_or(Option::is_none) && !(first == 0 && high != 0) {
                return Err(Stop::Unknown);
            }
        }
        let is_end = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF);
        data.windows(2).position(is_end).ok_or(Stop::Unknown)
    }

    /// A sequential scan; returns the length of its data.
    fn coded(&mut self, header: &[u8], data: &[u8]) -> Result<usize, Stop> {
        let (parts, numbers) = self.scan_header(header)?;
        // What a sequential scan has to say (table B.3). libjpeg reads on, other decoders refuse.
        if numbers != [0, 63, 0] {
            return Err(Stop::Unknown);
        }
        let (mcus, blocks) = self.layout(&parts);
        // libjpeg's limit, which is the standard's (B.2.3).
        if blocks.iter().sum::<usize>() > 10 {
            return Err(Stop::Unknown);
        }
        let mut tables = Vec::new();
        for ((_, dc, ac), blocks) in parts.iter().zip(blocks) {
            let dc = self.dc.get(*dc).and_then(Option::as_deref).ok_or(Stop::Unknown)?;
            let ac = self.ac.get(*ac).and_then(Option::as_deref).ok_or(Stop::Unknown)?;
            tables.push((dc, ac, blocks));
        }
        let mut bits = Bits::new(data);
        let round: Vec<(&Table, &Table)> =
            tables.iter().flat_map(|&(dc, ac, blocks)| std::iter::repeat_n((dc, ac), blocks)).collect();
        let every = if self.restart > 0 { self.restart } else { mcus };
        for first in (0..mcus).step_by(every.max(1)) {
            if first > 0 && !bits.restart(0xD0 + ((first / every - 1) % 8) as u8) {
                let what = format!("a restart mark is missing at block group {first} of {mcus}");
                return Err(Stop::Damaged(what));
            }
            let groups = first..mcus.min(first + every);
            if !bits.blocks(&round, groups.len() * round.len()) {
                return Err(damage(&mut bits, &round, groups, mcus));
            }
        }
        // Bytes too many before the next marker do no harm.
        let rest = data.get(bits.at()..).ok_or(Stop::Unknown)?;
        let marker = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0);
        Ok(bits.at() + marker.ok_or(Stop::Unknown)?)
    }

    /// How many minimum coded units a scan has, and how many blocks of each component are in one (A.2).
    fn layout(&self, parts: &[Part]) -> (usize, Vec<usize>) {
        let most = |f: fn(&Component) -> usize| self.components.iter().map(f).max().unwrap_or(1);
        let (h_most, v_most) = (most(|c| c.h), most(|c| c.v));
        if let [(only, ..)] = parts {
            let c = self.components[*only];
            let across = (self.width * c.h).div_ceil(h_most).div_ceil(8);
            let down = (self.height * c.v).div_ceil(v_most).div_ceil(8);
            return (across * down, vec![1]);
        }
        let mcus = self.width.div_ceil(8 * h_most) * self.height.div_ceil(8 * v_most);
        (mcus, parts.iter().map(|(c, ..)| self.components[*c].h * self.components[*c].v).collect())
    }
}

/// The marker that must be here, after any number of 0xFF (B.1.1.2); `at` moves behind it.
fn marker(bytes: &[u8], at: &mut usize) -> Result<u8, Stop> {
    if bytes.get(*at) != Some(&0xFF) {
        return Err(Stop::Unknown);
    }
    while bytes.get(*at) == Some(&0xFF) {
        *at += 1;
    }
    *at += 1;
    bytes.get(*at - 1).copied().ok_or(Stop::Unknown)
}

/// Whether an application segment is EXIF with an orientation other than the plain one.
fn is_oriented(segment: &[u8]) -> bool {
    let exif = segment.strip_prefix(b"Exif\0\0");
    exif.and_then(Orientation::from_exif_chunk).is_some_and(|found| found != Orientation::NoTransforms)
}
