//! `lorascope show NAME --find QUERY`: the rows that match, one a line.

use crate::cli::output::Out;
use crate::config::TrainConfig;
use crate::data::check;
use crate::data::encode::Encoder;
use crate::data::overlay::Applied;
use crate::data::query::{Facts, Query};
use crate::data::reader::Reader;
use crate::data::{Role, Sample};
use crate::error::{Error, Result};
use serde_json::json;
use std::collections::HashMap;

/// Characters of the caption in a line.
const SHOWN: usize = 100;

/// Prints row, id and the beginning of the caption of each row found, and how many.
pub fn run(query: &str, reader: &Reader, config: &TrainConfig, out: &Out) -> Result<()> {
    let query = Query::parse(query)?;
    let encoder = match query.counts_tokens() {
        true if config.model_name_or_path.as_os_str().is_empty() => {
            return Err(Error::usage("tokens are counted with a model's tokenizer").hint("add --model DIR"));
        }
        true => Some(Encoder::load(&config.model_name_or_path, config)?),
        false => None,
    };
    let count = |sample: &Sample| {
        let encoder = encoder.as_ref().expect("loaded for a query about tokens");
        let segments = encoder.segments(sample, &encoder.grids(sample)?)?;
        Ok(segments.iter().map(|s| s.ids.len()).sum())
    };
    let mut codes: HashMap<usize, Vec<String>> = HashMap::new();
    for (row, code) in check::saved(&config.dataset_dir, &reader.name).unwrap_or_default() {
        codes.entry(row).or_default().push(code);
    }
    let mut found = Vec::new();
    for row in 0..reader.len() {
        let codes: Vec<&str> = codes.get(&row).into_iter().flatten().map(String::as_str).collect();
        if !query.may_match(row, &codes, reader.overlay.touches(row), || reader.text_of(row).ok()) {
            continue;
        }
        let mut sample = reader.original(row).ok();
        let applied = sample.as_mut().map_or(Applied::default(), |sample| reader.overlay.apply(sample));
        let facts = Facts { row, sample: sample.as_ref(), applied, codes: &codes, tokens: &count };
        if query.matches(&facts)? {
            out.line(line(row, sample.as_ref()));
            found.push(row);
        }
    }
    out.note(format!("{} of {} rows", found.len(), reader.len()));
    out.object(&json!({ "rows": found, "count": found.len(), "of": reader.len() }));
    Ok(())
}

fn line(row: usize, sample: Option<&Sample>) -> String {
    let Some(sample) = sample else { return format!("{row:>8}  cannot be used") };
    let answers = sample.messages.iter().filter(|m| m.role == Role::Assistant);
    let caption: String = answers.flat_map(|m| m.content.chars()).take(SHOWN).collect();
    format!("{row:>8}  {}  {}", sample.id, crate::data::clean::for_terminal(&caption))
}
