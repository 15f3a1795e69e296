//! Huffman codes and bits of sequential JPEG data, read over but not turned into numbers. Numbers are those of ITU-T T.81.

use std::cell::Cell;
use std::rc::Rc;

/// Codes of up to this many bits are found by one look, and as many codes at once as are whole in it.
const LOOK: usize = 12;

/// What a code does: how many bits it takes with the value behind it, and how many coefficients it goes on.
#[derive(Clone, Copy, Default)]
struct Step {
    /// 0: no code, or one that is longer than `LOOK`.
    bits: u8,
    advance: u8,
    /// Of the code alone, in a table of single steps.
    length: u8,
}

/// An end-of-block code goes on by more than a block has. What is added to it is the way of the codes before it.
const END: u8 = 128;

/// What a table is made from.
#[derive(PartialEq)]
struct Key {
    counts: [u8; 16],
    symbols: Box<[u8]>,
    dc: bool,
}

/// Two pairs of tables for each of some encoders.
const MOST_KNOWN: usize = 16;

thread_local! {
    /// The tables that were used last, the latest first.
    static KNOWN: Cell<Vec<(Key, Rc<Table>)>> = Cell::default();
}

pub(super) struct Table {
    short: [Step; 1 << LOOK],
    /// All codes of AC coefficients that begin in so many bits and of which the code is whole, up to an end of block.
    /// Worth its making only for a table that comes again.
    several: Option<Box<[Step; 1 << LOOK]>>,
    /// For each length: the first code, and the number of it among all (F.2.2.3).
    first: [(u32, usize); 17],
    counts: [u8; 16],
    steps: Vec<Step>,
}

impl Table {
    /// `None` when the counts make no prefix code that libjpeg takes (no code is all ones).
    pub fn new(counts: &[u8; 16], symbols: &[u8], dc: bool) -> Option<Self> {
        let mut table = Self {
            short: [Step::default(); 1 << LOOK],
            several: None,
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
                    (true, 1.., _) => return None,
                    (false, 15, 0) => 16,
                    (false, 0, 0) => END,
                    (false, run, 1..) => run + 1,
                    // Runs of blocks, for progressive pictures; more bits than 8-bit samples need.
                    (false, _, 0) | (true, ..) => 0,
                };
                // A symbol without a meaning here is no code.
                let bits = if advance == 0 { 0 } else { length as u8 + size };
                let step = Step { bits, advance, length: length as u8 };
                table.steps.push(step);
                if code + 1 >= 1 << length {
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

    /// [`Table::new`], or the table that was made before from the same. Most encoders write the tables of Annex K.
    pub fn cached(counts: &[u8; 16], symbols: &[u8], dc: bool) -> Option<Rc<Self>> {
        let key = Key { counts: *counts, symbols: symbols.into(), dc };
        let mut known = KNOWN.take();
        let found = known.iter().position(|(known, _)| *known == key).map(|i| known.remove(i).1);
        let table = match found {
            Some(table) if dc || table.several.is_some() => Some(table),
            Some(_) => Self::new(counts, symbols, dc).map(|table| Rc::new(table.with_several())),
            None => Self::new(counts, symbols, dc).map(Rc::new),
        };
        if let Some(table) = &table {
            known.truncate(MOST_KNOWN - 1);
            known.insert(0, (key, Rc::clone(table)));
        }
        KNOWN.set(known);
        table
    }

    fn with_several(mut self) -> Self {
        self.several = Some(Box::new(std::array::from_fn(|front| self.steps_in(front))));
        self
    }

    /// The steps in the `LOOK` bits `front`, one after another, as one; none if there is no code.
    fn steps_in(&self, front: usize) -> Step {
        let mut all = Step::default();
        while usize::from(all.bits) < LOOK && all.advance < END {
            // Zeros come in from below: a code that reaches into them is not known.
            let step = self.short[(front << all.bits) & ((1 << LOOK) - 1)];
            let known = usize::from(step.length) + usize::from(all.bits) <= LOOK;
            let advance = (all.advance & !END) + (step.advance & !END);
            if step.bits == 0 || !known || advance >= 64 {
                break;
            }
            all.bits += step.bits;
            all.advance = advance | (step.advance & END);
        }
        all
    }

    /// The step of a code longer than `LOOK` at the front of 16 bits.
    fn long(&self, front: u32) -> Option<Step> {
        (LOOK + 1..=16)
            .find_map(|length| {
                let (first, number) = self.first[length];
                let offset = (front >> (16 - length)).checked_sub(first)?;
                (offset < u32::from(self.counts[length - 1])).then(|| self.steps[number + offset as usize])
            })
            .filter(|step| step.bits > 0)
    }
}

/// Coded data bit by bit. A zero byte after 0xFF is taken out (B.1.1.5); at a marker or the end zeros follow.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next `count` bits, from the top.
    buffer: u64,
    count: u32,
    /// How many bits at the end of the buffer are not data.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, buffer: 0, count: 0, padding: 0 }
    }

    /// How far the data was taken in: not behind a marker.
    pub fn at(&self) -> usize {
        self.at
    }

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
        self.take(step);
        Some(step)
    }

    /// Reads a block of 64 coefficients (F.2.2); `false` if it has more, or a code is none.
    pub fn block(&mut self, dc: &Table, ac: &Table) -> bool {
        if self.step(dc).is_none() {
            return false;
        }
        let several = ac.several.as_deref();
        let mut k = 1u32;
        while k < 64 {
            if self.count < 32 {
                self.fill();
            }
            if let Some(several) = several {
                let steps = several[(self.buffer >> (64 - LOOK)) as usize];
                let way = u32::from(steps.advance & !END);
                // Behind the last coefficient the next block begins, with a code of another table.
                if steps.bits > 0 && k + way < 64 {
                    self.take(steps);
                    k += u32::from(steps.advance);
                    continue;
                }
            }
            let Some(step) = self.step(ac) else { return false };
            k += u32::from(step.advance);
        }
        k == 64 || k >= u32::from(END)
    }

    #[inline(always)]
    fn take(&mut self, step: Step) {
        self.buffer <<= step.bits;
        self.count -= u32::from(step.bits);
    }

    /// More was read than there is.
    pub fn is_beyond(&self) -> bool {
        self.padding > self.count
    }

    /// Goes to the restart mark that must come next.
    pub fn restart(&mut self, expected: u8) -> bool {
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
