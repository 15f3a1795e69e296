//! Whether a JPEG's coded data is whole, without computing pixels: every block is read, none is transformed.
//!
//! Decoders fill what is missing or damaged with grey and say nothing, and they spend most of their time on pixels that
//! nobody needs here. Section and figure numbers are those of ITU-T T.81.

use image::metadata::Orientation;

/// What a JPEG is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// Every block of every component is there.
    Whole(Frame),
    /// Where and how it is damaged.
    Damaged(String),
    /// Not sequential Huffman coding of 8-bit samples, or a header that a decoder should judge.
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
        Ok(frame) => Scan::Whole(frame),
        Err(Stop::Damaged(why)) => Scan::Damaged(why),
        Err(Stop::Unknown) => Scan::Unknown,
    }
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
    /// It was coded in a scan.
    seen: bool,
}

#[derive(Default)]
struct Reader {
    width: usize,
    height: usize,
    components: Vec<Component>,
    restart: usize,
    oriented: bool,
    dc: [Option<Box<Table>>; 4],
    ac: [Option<Box<Table>>; 4],
}

impl Reader {
    fn run(&mut self, bytes: &[u8]) -> Result<Frame, Stop> {
        let mut at = 2;
        loop {
            // Anything may stand before a marker, any number of 0xFF belongs to it (B.1.1.2).
            at +=
                bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == 0xFF)).ok_or(Stop::Unknown)?;
            let marker = *bytes.get(at + 1).ok_or(Stop::Unknown)?;
            if marker == 0xFF {
                at += 1;
                continue;
            }
            at += 2;
            if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD8) {
                continue;
            }
            if marker == 0xD9 {
                let all = !self.components.is_empty() && self.components.iter().all(|c| c.seen);
                return if all {
                    Ok(self.facts())
                } else {
                    Err(Stop::Damaged("not all components are there".into()))
                };
            }
            let length = bytes.get(at..at + 2).ok_or(Stop::Unknown)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let segment = bytes.get(at + 2..at + length.max(2)).ok_or(Stop::Unknown)?;
            at += length.max(2);
            match marker {
                0xC0 | 0xC1 => self.frame(segment)?,
                0xC4 => self.tables(segment)?,
                // Other frames: progressive, lossless, arithmetic, hierarchical; a height that comes later.
                0xC2..=0xCF | 0xDC | 0xDE | 0xDF => return Err(Stop::Unknown),
                0xDD => {
                    self.restart =
                        usize::from(u16::from_be_bytes(*segment.first_chunk().ok_or(Stop::Unknown)?))
                }
                0xE1 => self.oriented |= is_oriented(segment),
                0xDA => at += self.coded(segment, &bytes[at..])?,
                _ => {}
            }
        }
    }

    fn facts(&self) -> Frame {
        let (width, height) = (self.width as u32, self.height as u32);
        Frame { width, height, components: self.components.len(), oriented: self.oriented }
    }

    /// The frame header (B.2.2).
    fn frame(&mut self, segment: &[u8]) -> Result<(), Stop> {
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
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(Stop::Unknown);
            }
            self.components.push(Component { id: c[0], h, v, seen: false });
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
            let table = Table::new(counts, symbols, class == 0).ok_or(Stop::Unknown)?;
            *tables.get_mut(slot).ok_or(Stop::Unknown)? = Some(Box::new(table));
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    /// One scan's header (B.2.3) and its coded data; returns the length of the data.
    fn coded(&mut self, header: &[u8], data: &[u8]) -> Result<usize, Stop> {
        let (count, rest) = header.split_first().ok_or(Stop::Unknown)?;
        let count = usize::from(*count);
        if count == 0 || count > self.components.len() || rest.len() != count * 2 + 3 {
            return Err(Stop::Unknown);
        }
        let mut parts = Vec::new();
        for c in rest[..count * 2].chunks_exact(2) {
            let found = self.components.iter().position(|known| known.id == c[0]).ok_or(Stop::Unknown)?;
            self.components[found].seen = true;
            parts.push((found, usize::from(c[1] >> 4), usize::from(c[1] & 15)));
        }
        let (mcus, blocks) = self.layout(&parts);
        let mut tables = Vec::new();
        for ((_, dc, ac), blocks) in parts.iter().zip(blocks) {
            let dc = self.dc.get(*dc).and_then(Option::as_deref).ok_or(Stop::Unknown)?;
            let ac = self.ac.get(*ac).and_then(Option::as_deref).ok_or(Stop::Unknown)?;
            tables.push((dc, ac, blocks));
        }
        let mut bits = Bits { data, at: 0, buffer: 0, count: 0, padding: 0 };
        for mcu in 0..mcus {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                let expected = 0xD0 + ((mcu / self.restart - 1) % 8) as u8;
                if !bits.restart(expected) {
                    return Err(Stop::Damaged(format!(
                        "a restart mark is missing at block group {mcu} of {mcus}"
                    )));
                }
            }
            for &(dc, ac, blocks) in &tables {
                for _ in 0..blocks {
                    if !bits.block(dc, ac) {
                        return Err(Stop::Damaged(format!(
                            "the coded data is damaged at block group {mcu} of {mcus}"
                        )));
                    }
                }
            }
            if bits.is_beyond() {
                return Err(Stop::Damaged(format!("the coded data ends at block group {mcu} of {mcus}")));
            }
        }
        Ok(bits.at)
    }

    /// How many minimum coded units a scan has, and how many blocks of each component are in one (A.2).
    fn layout(&self, parts: &[(usize, usize, usize)]) -> (usize, Vec<usize>) {
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

/// Whether an application segment is EXIF with an orientation other than the plain one.
fn is_oriented(segment: &[u8]) -> bool {
    let exif = segment.strip_prefix(b"Exif\0\0");
    exif.and_then(Orientation::from_exif_chunk).is_some_and(|found| found != Orientation::NoTransforms)
}

/// Codes of up to this many bits are found by one look.
const LOOK: usize = 11;

/// What a code does: how many bits it takes with the value behind it, and how many coefficients it goes on.
#[derive(Clone, Copy, Default)]
struct Step {
    /// 0: no code, or one that is longer than `LOOK`.
    bits: u8,
    advance: u8,
}

/// An end-of-block code goes on by more than a block has.
const END: u8 = 128;

struct Table {
    short: [Step; 1 << LOOK],
    /// For each length: the first code, and the number of it among all (F.2.2.3).
    first: [(u32, usize); 17],
    counts: [u8; 16],
    steps: Vec<Step>,
}

impl Table {
    /// `None` when the counts make no prefix code or a symbol has no meaning.
    fn new(counts: &[u8; 16], symbols: &[u8], dc: bool) -> Option<Self> {
        let mut table = Self {
            short: [Step::default(); 1 << LOOK],
            first: [(0, 0); 17],
            counts: *counts,
            steps: Vec::new(),
        };
        let (mut code, mut number) = (0u32, 0);
        for length in 1..=16usize {
            table.first[length] = (code, number);
            for _ in 0..counts[length - 1] {
                let symbol = symbols[number];
                let (run, size) = (symbol >> 4, symbol & 15);
                let advance = match (dc, run, size) {
                    (true, 0, 0..=11) => 1,
                    (true, ..) => return None,
                    (false, 15, 0) => 16,
                    (false, 0, 0) => END,
                    // Runs of blocks are for progressive coding.
                    (false, _, 0) => return None,
                    (false, run, _) => run + 1,
                };
                let step = Step { bits: length as u8 + size, advance };
                table.steps.push(step);
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let start = (code << (LOOK - length)) as usize;
                    table.short[start..start + (1 << (LOOK - length))].fill(step);
                }
                (code, number) = (code + 1, number + 1);
            }
            code <<= 1;
        }
        Some(table)
    }

    /// The step of a code longer than `LOOK` at the front of 16 bits.
    fn long(&self, front: u32) -> Option<Step> {
        (LOOK + 1..=16).find_map(|length| {
            let (first, number) = self.first[length];
            let offset = (front >> (16 - length)).checked_sub(first)?;
            (offset < u32::from(self.counts[length - 1])).then(|| self.steps[number + offset as usize])
        })
    }
}

/// Coded data bit by bit. A zero byte after 0xFF is taken out (B.1.1.5); at a marker or the end zeros follow.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next `count` bits, from the top.
    buffer: u64,
    count: u32,
    /// How many bits at the end of the buffer are not data.
    padding: u32,
}

impl Bits<'_> {
    /// Makes at least 32 bits available, enough for any code with its value.
    #[inline]
    fn fill(&mut self) {
        if let Some(eight) = self.data.get(self.at..self.at + 8).and_then(|d| d.first_chunk()) {
            let word = u64::from_be_bytes(*eight);
            // No byte is 0xFF: none of the inverted bytes is zero.
            let zero_byte = (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
            if zero_byte == 0 {
                let bytes = (64 - self.count) / 8;
                // Bits beyond the whole bytes are filled in again next time, with the same values.
                self.buffer |= word >> self.count;
                self.count += bytes * 8;
                self.at += bytes as usize;
                return;
            }
        }
        self.fill_by_byte();
    }

    #[inline(never)]
    fn fill_by_byte(&mut self) {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF), _) | (None, _) => {
                    self.padding += 8;
                    0
                }
                (Some(byte), _) => {
                    self.at += 1;
                    *byte
                }
            };
            // What an eight-byte fill left here is this byte again, or data that is now known to end.
            let shift = 56 - self.count;
            self.buffer = (self.buffer & !(0xFFu64 << shift)) | (u64::from(byte) << shift);
            self.count += 8;
        }
    }

    /// The step of the next code.
    #[inline(always)]
    fn step(&mut self, table: &Table) -> Option<Step> {
        if self.count < 32 {
            self.fill();
        }
        let step = table.short[(self.buffer >> (64 - LOOK)) as usize];
        let step = if step.bits == 0 { table.long((self.buffer >> 48) as u32)? } else { step };
        self.buffer <<= step.bits;
        self.count -= u32::from(step.bits);
        Some(step)
    }

    /// Reads a block of 64 coefficients (F.2.2); `false` if it has more, or a code is none.
    fn block(&mut self, dc: &Table, ac: &Table) -> bool {
        if self.step(dc).is_none() {
            return false;
        }
        let mut k = 1u32;
        while k < 64 {
            let Some(step) = self.step(ac) else { return false };
            k += u32::from(step.advance);
        }
        k == 64 || k >= u32::from(END)
    }

    /// More was read than there is.
    fn is_beyond(&self) -> bool {
        self.padding > self.count
    }

    /// Goes to the restart mark that must come next.
    fn restart(&mut self, expected: u8) -> bool {
        // Whole bytes that were read ahead are given back; between them and the mark nothing may stand.
        if self.is_beyond() || self.count - self.padding >= 8 {
            return false;
        }
        while self.data.get(self.at) == Some(&0xFF) && self.data.get(self.at + 1) == Some(&0xFF) {
            self.at += 1;
        }
        let found = self.data.get(self.at..self.at + 2) == Some(&[0xFF, expected]);
        (self.at, self.buffer, self.count, self.padding) = (self.at + 2, 0, 0, 0);
        found
    }
}
