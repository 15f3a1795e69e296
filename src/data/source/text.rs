//! The texts of a JSON row, for searching.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// All strings of a row but those under the name `but`, one a line. Names of fields are left out.
pub(super) fn strings(row: &[u8], but: Option<&str>) -> serde_json::Result<String> {
    let mut found = String::new();
    Strings { found: &mut found, but }.deserialize(&mut serde_json::Deserializer::from_slice(row))?;
    Ok(found)
}

/// As [`strings`], of a row that was parsed.
pub(super) fn strings_of(row: &Value, but: Option<&str>) -> String {
    let mut found = String::new();
    Strings { found: &mut found, but }
        .deserialize(row)
        .expect("a JSON value holds nothing that is not taken");
    found
}

/// Gathers strings while the parser goes over them: nothing else is kept.
struct Strings<'a> {
    found: &'a mut String,
    but: Option<&'a str>,
}

impl Strings<'_> {
    fn again(&mut self) -> Strings<'_> {
        Strings { found: self.found, but: self.but }
    }
}

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if !self.found.is_empty() {
            self.found.push('\n');
        }
        self.found.push_str(text);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.but {
                Some(but) if but == name => map.next_value::<IgnoredAny>().map(|_| ())?,
                _ => map.next_value_seed(self.again())?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
