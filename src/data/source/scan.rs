//! Finds where the rows of a JSON list, or of JSON values one after another, begin and end, without parsing them.

use serde::de::IgnoredAny;
use std::io::{self, Read};

/// Why the scan ended before the file did.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// The file is not JSON; around this byte.
    Malformed(u64),
    /// From this byte on a row is not UTF-8.
    NotUtf8(u64),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Fault::Io(e)
    }
}

/// Reads a file through a window and hands out row after row. A row longer than the window doubles it.
pub(super) struct Scanner<R> {
    from: R,
    window: usize,
    buffer: Vec<u8>,
    /// The next byte to look at, and where in the file the buffer starts.
    at: usize,
    base: u64,
    ended: bool,
    /// Rows are the elements of a list; whether one was met.
    list: bool,
    started: bool,
}

impl<R: Read> Scanner<R> {
    pub fn new(from: R, window: usize) -> Result<Self, Fault> {
        let mut scanner = Self {
            from,
            window,
            buffer: Vec::new(),
            at: 0,
            base: 0,
            ended: false,
            list: false,
            started: false,
        };
        while scanner.buffer.len() < 3 && !scanner.ended {
            scanner.refill()?;
        }
        if scanner.buffer.starts_with(b"\xEF\xBB\xBF") {
            scanner.at = 3;
        }
        if scanner.peek()? == Some(b'[') {
            scanner.list = true;
            scanner.at += 1;
        }
        Ok(scanner)
    }

    /// The next row: where it starts in the file, and its bytes, which are well-formed JSON. `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, Fault> {
        if !self.find_start()? {
            return Ok(None);
        }
        let length = loop {
            match value_end(&self.buffer[self.at..], self.ended) {
                Some(length) => break length,
                None if self.ended => return Err(self.malformed()),
                None => self.refill()?,
            }
        };
        let (from, offset) = (self.at, self.position());
        let row = &self.buffer[from..from + length];
        let text = std::str::from_utf8(row).map_err(|e| Fault::NotUtf8(offset + e.valid_up_to() as u64))?;
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Err(Fault::Malformed(offset));
        }
        self.at += length;
        Ok(Some((offset, &self.buffer[from..from + length])))
    }

    /// How much of the file was looked at.
    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Goes to the first byte of the next row; false behind the last.
    fn find_start(&mut self) -> Result<bool, Fault> {
        let next = self.peek()?;
        if !self.list {
            return Ok(next.is_some());
        }
        match next {
            Some(b']') => {
                self.at += 1;
                self.list = false;
                match self.peek()? {
                    None => Ok(false),
                    Some(_) => Err(self.malformed()),
                }
            }
            Some(b',') if self.started => {
                self.at += 1;
                match self.peek()? {
                    Some(b']') | None => Err(self.malformed()),
                    Some(_) => Ok(true),
                }
            }
            Some(_) if !self.started => {
                self.started = true;
                Ok(true)
            }
            _ => Err(self.malformed()),
        }
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            let blanks = self.buffer[self.at..].iter().take_while(|b| is_blank(**b)).count();
            self.at += blanks;
            match self.buffer.get(self.at) {
                Some(byte) => return Ok(Some(*byte)),
                None if self.ended => return Ok(None),
                None => self.refill()?,
            }
        }
    }

    /// Reads on; what was handed out already makes room.
    fn refill(&mut self) -> Result<(), Fault> {
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let wanted = self.window.max(self.buffer.len());
        let got = (&mut self.from).take(wanted as u64).read_to_end(&mut self.buffer)?;
        self.ended = got < wanted;
        Ok(())
    }

    fn malformed(&self) -> Fault {
        Fault::Malformed(self.position())
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The length of the JSON value that `bytes` start with; `None` when its end is not there yet. Brackets are counted, not
/// matched: whether the value is well-formed is for the parser to say.
fn value_end(bytes: &[u8], ended: bool) -> Option<usize> {
    match bytes.first()? {
        b'"' => string_end(bytes, 0),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0usize, 0);
            loop {
                match bytes.get(at)? {
                    b'"' => at = string_end(bytes, at)? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' if depth == 1 => return Some(at + 1),
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
        }
        _ => {
            let stops = |b: &u8| is_blank(*b) || b"\"[]{},:".contains(b);
            bytes.iter().position(stops).or(ended.then_some(bytes.len()))
        }
    }
}

/// The place behind the string that opens at `open`.
fn string_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// The rows by the scan, or that it refused.
    fn scanned(text: &[u8], window: usize) -> Option<Vec<Value>> {
        let mut scanner = Scanner::new(text, window).ok()?;
        let mut rows = Vec::new();
        while let Some((offset, row)) = scanner.next().ok()? {
            assert!(&text[offset as usize..][..row.len()] == row, "the offset is wrong");
            rows.push(serde_json::from_slice(row).unwrap());
        }
        Some(rows)
    }

    /// The rows by the parser.
    fn parsed(text: &[u8]) -> Option<Vec<Value>> {
        match text.iter().find(|b| !is_blank(**b)) {
            Some(b'[') => serde_json::from_slice(text).ok(),
            _ => serde_json::Deserializer::from_slice(text).into_iter().collect::<Result<_, _>>().ok(),
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\\\\\"{}\\[\\],:\n肺 ]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-z\"\\\\]{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn text() -> impl Strategy<Value = String> {
        (prop::collection::vec(value(), 0..6), any::<bool>(), any::<bool>(), "[ \n\t]{0,3}").prop_map(
            |(rows, list, pretty, blank)| {
                let write = |v: &Value| match pretty {
                    true => serde_json::to_string_pretty(v).unwrap(),
                    false => v.to_string(),
                };
                let rows: Vec<String> = rows.iter().map(write).collect();
                match list {
                    true => format!("{blank}[{}]{blank}", rows.join(&format!("{blank},{blank}"))),
                    false => format!("{blank}{}", rows.join("\n")),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn finds_the_rows_the_parser_finds(text in text(), window in 1usize..40) {
            prop_assert_eq!(scanned(text.as_bytes(), window), parsed(text.as_bytes()));
        }

        /// Broken texts too: what is refused is the same.
        #[test]
        fn refuses_what_the_parser_refuses(
            text in text(), at in any::<prop::sample::Index>(), put in "[\\[\\]{},:\"0a \\\\]", cut in any::<bool>(), window in 1usize..40
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len() + 1);
            match cut {
                true => bytes.truncate(at),
                false => drop(bytes.splice(at..at, put.bytes())),
            }
            prop_assert_eq!(scanned(&bytes, window), parsed(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(scanned(b"\xEF\xBB\xBF[1, 2]", 2), Some(vec![1.into(), 2.into()]));
        assert_eq!(scanned(b"", 2), Some(vec![]));
        assert_eq!(scanned(b"{\"a\": \"\xFF\"}", 2), None, "not UTF-8");
    }
}
