//! JSON as Python's `json.dumps` writes it, so that our files are LLaMA-Factory's byte for byte.

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

/// One line, `{"a": 1, "b": [2, 3]}`.
pub fn line(value: &impl Serialize) -> String {
    write(value, Python { indent: None })
}

/// Indented by `spaces`, keys sorted (`json.dumps(value, indent=spaces, sort_keys=True)`).
pub fn sorted(value: &impl Serialize, spaces: usize) -> String {
    let mut value = serde_json::to_value(value).expect("plain data serialises");
    value.sort_all_objects();
    let indent = b"        ".get(..spaces).unwrap_or(b"  ");
    write(&value, Python { indent: Some(PrettyFormatter::with_indent(indent)) })
}

fn write(value: &impl Serialize, formatter: Python) -> String {
    let mut bytes = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        .expect("plain data serialises into memory");
    String::from_utf8(bytes).expect("the formatter writes ASCII")
}

/// `", "` and `": "` between items, Python's way with floats, ASCII only.
struct Python<'a> {
    indent: Option<PrettyFormatter<'a>>,
}

impl Formatter for Python<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, w: &mut W, value: f64) -> io::Result<()> {
        w.write_all(float(value).as_bytes())
    }
    fn write_string_fragment<W: ?Sized + Write>(&mut self, w: &mut W, text: &str) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() {
                write!(w, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(w, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
    fn begin_array<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.begin_array(w),
            None => w.write_all(b"["),
        }
    }
    fn end_array<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.end_array(w),
            None => w.write_all(b"]"),
        }
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.begin_array_value(w, first),
            None => w.write_all(if first { b"" } else { b", " }),
        }
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.end_array_value(w),
            None => Ok(()),
        }
    }
    fn begin_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.begin_object(w),
            None => w.write_all(b"{"),
        }
    }
    fn end_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.end_object(w),
            None => w.write_all(b"}"),
        }
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.begin_object_key(w, first),
            None => w.write_all(if first { b"" } else { b", " }),
        }
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match &mut self.indent {
            Some(pretty) => pretty.end_object_value(w),
            None => Ok(()),
        }
    }
}

/// Python's `repr` of a float: the shortest digits, exponents below -4 and from 16 on, always a point or an exponent.
fn float(x: f64) -> String {
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{x}");
        if plain.contains('.') { plain } else { plain + ".0" }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons() {
        let cases = [
            (0.0, "0.0"),
            (3.0, "3.0"),
            (5e-5, "5e-05"),
            (0.0001, "0.0001"),
            (0.00012235870926211617, "0.00012235870926211617"),
            (1.5e-7, "1.5e-07"),
            (25719174144.0, "25719174144.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (-0.5, "-0.5"),
        ];
        for (x, text) in cases {
            assert_eq!(float(x), text);
        }
    }

    #[test]
    fn lines_and_indented_text_are_pythons() {
        let value = serde_json::json!({ "b": [1, 2.0, null], "a": { "é": "x\"肺😀", "e": {}, "l": [] } });
        let escaped = r#""x\"\u80ba\ud83d\ude00""#;
        assert_eq!(
            line(&value),
            format!(r#"{{"b": [1, 2.0, null], "a": {{"\u00e9": {escaped}, "e": {{}}, "l": []}}}}"#)
        );
        let indented = format!(
            "{{\n  \"a\": {{\n    \"e\": {{}},\n    \"l\": [],\n    \"\\u00e9\": {escaped}\n  }},\n  \"b\": [\n    1,\n    2.0,\n    null\n  ]\n}}"
        );
        assert_eq!(sorted(&value, 2), indented);
    }
}
