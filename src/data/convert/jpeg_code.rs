//! Huffman codes and bits of sequential JPEG data, read over but not turned into numbers. Numbers are those of ITU-T T.81.

use std::cell::Cell;
use std::hint::select_unpredictable;
use std::rc::Rc;

/// Codes of up to this many bits are found by one look, and as many AC codes at once as are whole in it. The tables of two
/// components should fit the first cache.
const LOOK: u32 = 12;

/// What a code, or several, does: how many bits it takes with the value behind it, and how many coefficients it goes on.
#[derive(Clone, Copy)]
struct Step(u16);

/// An end-of-block code goes on by more than a block has. What is added to it is the way of the codes before it.
const END: u32 = 128;

impl Step {
    /// No code, or one that is not found like this: farther than any block goes.
    const NONE: Self = Self::new(0, 127);

    const fn new(bits: u32, advance: u32) -> Self {
        Self((advance << 8 | bits) as u16)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self.0 & 0xFF)
    }

    #[inline(always)]
    fn advance(self) -> u32 {
        u32::from(self.0 >> 8)
    }

    /// How many coefficients it goes on before an end of block.
    #[inline(always)]
    fn way(self) -> u32 {
        self.advance() & (END - 1)
    }

    #[inline(always)]
    fn ends(self) -> bool {
        self.advance() >= END
    }

    fn is_none(self) -> bool {
        self.bits() == 0
    }
}

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

/// A step for each front of so many bits.
type Look = [Step; 1 << LOOK];

pub(super) struct Table {
    /// The code at the front of so many bits.
    short: Box<Look>,
    /// All AC codes that begin in so many bits and of which the code is whole, up to an end of block. Worth its making only for a
    /// table that comes again.
    several: Option<Box<Look>>,
    /// For each length: the first code, and the number of it among all (F.2.2.3).
    first: [(u32, usize); 17],
    counts: [u8; 16],
    /// What each code does, in the order of the codes.
    steps: Vec<Step>,
}

impl Table {
    /// `None` when the counts make no prefix code that libjpeg takes (no code is all ones).
    pub fn new(counts: &[u8; 16], symbols: &[u8], dc: bool) -> Option<Self> {
        let mut short = Box::new([Step::NONE; 1 << LOOK]);
        let (mut first, mut steps) = ([(0, 0); 17], Vec::new());
        let (mut code, mut number) = (0u32, 0);
        for length in 1..=16u32 {
            first[length as usize] = (code, number);
            for _ in 0..counts[length as usize - 1] {
                let symbol = symbols[number];
                let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                let step = match (dc, run, size) {
                    (true, 0, 0..=11) => Step::new(length + size, 1),
                    (true, 1.., _) => return None,
                    (false, 15, 0) => Step::new(length, 16),
                    (false, 0, 0) => Step::new(length, END),
                    (false, run, 1..) => Step::new(length + size, run + 1),
                    // Runs of blocks, for progressive pictures; more bits than 8-bit samples need.
                    (false, _, 0) | (true, ..) => Step::NONE,
                };
                steps.push(step);
                if code + 1 >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let start = (code << (LOOK - length)) as usize;
                    short[start..start + (1 << (LOOK - length))].fill(step);
                }
                (code, number) = (code + 1, number + 1);
            }
            code <<= 1;
        }
        Some(Self { short, several: None, first, counts: *counts, steps })
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

    fn look(&self) -> &Look {
        self.several.as_deref().unwrap_or(&self.short)
    }

    /// The steps in the `LOOK` bits `front`, one after another, as one; none if there is no code.
    fn steps_in(&self, front: usize) -> Step {
        let (mut bits, mut advance) = (0, 0);
        while bits < LOOK && advance < END {
            // Zeros come in from below: a code that reaches into them is not known.
            let look = (front << bits) & ((1 << LOOK) - 1);
            let step = self.short[look];
            if step.is_none() || self.length(look) + bits > LOOK || advance + step.way() >= 64 {
                break;
            }
            (bits, advance) = (bits + step.bits(), advance + step.advance());
        }
        if bits == 0 { Step::NONE } else { Step::new(bits, advance) }
    }

    /// Bits of the code at the front of a look that holds one, without its value.
    fn length(&self, look: usize) -> u32 {
        let is = |length: &u32| {
            let (first, _) = self.first[*length as usize];
            let offset = ((look as u32) >> (LOOK - length)).checked_sub(first);
            offset.is_some_and(|offset| offset < u32::from(self.counts[*length as usize - 1]))
        };
        (1..=LOOK).find(is).unwrap_or(16)
    }

    /// The step of the code at the front, if there is one.
    #[inline(always)]
    fn step(&self, buffer: u64) -> Option<Step> {
        let step = self.short[(buffer >> (64 - LOOK)) as usize];
        if step.is_none() { self.long((buffer >> 48) as u32) } else { Some(step) }
    }

    /// The step of a code longer than a look at the front of 16 bits.
    #[inline(never)]
    fn long(&self, front: u32) -> Option<Step> {
        (LOOK + 1..=16)
            .find_map(|length| {
                let (first, number) = self.first[length as usize];
                let offset = (front >> (16 - length)).checked_sub(first)?;
                let there = offset < u32::from(self.counts[length as usize - 1]);
                there.then(|| self.steps[number + offset as usize])
            })
            .filter(|step| !step.is_none())
    }
}

/// Coded data bit by bit. A zero byte after 0xFF is taken out (B.1.1.5); at a marker or the end zeros follow.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    front: Front,
}

/// The front of the data.
#[derive(Clone, Copy, Default)]
struct Front {
    at: usize,
    /// The next `count` bits, from the top.
    buffer: u64,
    count: u32,
    /// How many bits at the end of the buffer are not data.
    padding: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, front: Front::default() }
    }

    /// How far the data was taken in: not behind a marker.
    pub fn at(&self) -> usize {
        self.front.at
    }

    /// Reads `count` blocks of 64 coefficients (F.2.2), whose tables (DC and AC) come round in order. `false`, and nothing read,
    /// if one has more, a code is none, or the data ends before.
    pub fn blocks(&mut self, round: &[(&Table, &Table)], count: usize) -> bool {
        let front = blocks(self.data, self.front, round, count).filter(|front| front.padding <= front.count);
        self.front = front.unwrap_or(self.front);
        front.is_some()
    }

    /// Goes to the restart mark that must come next.
    pub fn restart(&mut self, expected: u8) -> bool {
        let Front { mut at, count, padding, .. } = self.front;
        // Whole bytes that were read ahead are given back; between them and the mark nothing may stand.
        if padding > count || count - padding >= 8 {
            return false;
        }
        while self.data.get(at) == Some(&0xFF) && self.data.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        let found = self.data.get(at..at + 2) == Some(&[0xFF, expected]);
        self.front = Front { at: at + 2, ..Front::default() };
        found
    }
}

/// The front behind `left` blocks. Its fields are variables of their own here: together they would go through memory with
/// every code. Where a block ends cannot be foreseen, so nothing branches on it: the next table is chosen.
fn blocks(data: &[u8], front: Front, round: &[(&Table, &Table)], mut left: usize) -> Option<Front> {
    let Front { mut at, mut buffer, mut count, mut padding } = front;
    // For each block: its AC codes, and the DC codes of the next one.
    let looks = round.iter().zip(round.iter().cycle().skip(1));
    let looks: Vec<(&Look, &Look)> = looks.map(|(this, next)| (this.1.look(), next.0.look())).collect();
    let (mut ac, mut dc) = *looks.first()?;
    let (mut look, mut block, mut k) = (round.first()?.0.look(), 0, 0);
    while left > 0 {
        if count < 32 {
            if let Some(word) = eight(data, at) {
                let bytes = (64 - count) / 8;
                // Bits beyond the whole bytes are filled in again next time, with the same values.
                buffer |= word >> count;
                (count, at) = (count + bytes * 8, at + bytes as usize);
            } else {
                let full = filled_by_byte(data, Front { at, buffer, count, padding });
                (at, buffer, count, padding) = (full.at, full.buffer, full.count, full.padding);
            }
        }
        let mut step = look[(buffer >> (64 - LOOK)) as usize];
        if k + step.way() >= 64 {
            // Behind the last coefficient the next block begins, with a code of another table.
            let (dc, ac) = round[block];
            step = if k > 0 { ac } else { dc }.step(buffer)?;
            match k + step.way() {
                0..64 => {}
                64 => step = Step::new(step.bits(), END),
                _ => return None,
            }
        }
        buffer <<= step.bits();
        count -= step.bits();
        let ends = step.ends();
        k = select_unpredictable(ends, 0, k + step.way());
        look = select_unpredictable(ends, dc, ac);
        block += usize::from(ends);
        block = select_unpredictable(block == looks.len(), 0, block);
        (ac, dc) = looks[block];
        left -= usize::from(ends);
    }
    Some(Front { at, buffer, count, padding })
}

/// The eight bytes from `at` on, unless one of them is 0xFF or there are less.
#[inline(always)]
fn eight(data: &[u8], at: usize) -> Option<u64> {
    let word = u64::from_be_bytes(*data.get(at..at + 8)?.first_chunk()?);
    // No byte is 0xFF: none of the inverted bytes is zero.
    let zero_byte = (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
    (zero_byte == 0).then_some(word)
}

#[inline(never)]
fn filled_by_byte(data: &[u8], mut front: Front) -> Front {
    while front.count <= 56 {
        let byte = match (data.get(front.at), data.get(front.at + 1)) {
            (Some(0xFF), Some(0)) => {
                front.at += 2;
                0xFF
            }
            (Some(0xFF), _) | (None, _) => {
                front.padding += 8;
                0
            }
            (Some(byte), _) => {
                front.at += 1;
                *byte
            }
        };
        // What an eight-byte fill left here is this byte again, or data that is now known to end.
        let shift = 56 - front.count;
        front.buffer = (front.buffer & !(0xFFu64 << shift)) | (u64::from(byte) << shift);
        front.count += 8;
    }
    front
}
