//! What is asked in an evaluation: each sample's prompt, and what is known of it.

use super::groups::Groups;
use super::modality;
use super::samples::Samples;
use super::slots::Labels;
use crate::data::batch::EncodedSample;
use crate::data::encode::{Encoded, Encoder, IGNORE};
use crate::data::picture;
use crate::data::sample::{ImageRef, Role, Sample};
use crate::error::Result;
use std::collections::HashMap;

/// A question with its reference answer.
pub struct Item {
    pub id: String,
    pub prompt_ids: Vec<u32>,
    pub grids: Vec<[usize; 3]>,
    pub sample: EncodedSample,
    pub question: String,
    /// As it is scored: without special tokens.
    pub label: String,
    /// As it is written.
    pub written_label: String,
    pub images: Vec<String>,
    pub group: Option<String>,
}

/// What is known besides the samples.
pub struct Known<'a> {
    pub labels: Option<&'a Labels>,
    /// Special tokens are left out of written labels.
    pub skip_special: bool,
    /// The groups of rows, where they are asked for.
    pub groups: Option<&'a Groups>,
    /// Only the encoded samples at these places, in order.
    pub only: Option<&'a [usize]>,
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self { labels: None, skip_special: true, groups: None, only: None }
    }
}

/// The prompt of each encoded sample, with its place: everything before its last answer. The groups that were asked
/// for tell its group, else a label file the kind of picture, else the reference.
pub fn of(
    encoder: &Encoder,
    read: &[Sample],
    encoded: &Samples,
    known: &Known,
) -> Result<Vec<(usize, Item)>> {
    let kinds: HashMap<&str, &str> = known.labels.map(Labels::kinds).unwrap_or_default();
    let groups = known.groups.map(Groups::by_row);
    // Rows are unique within a data set only; encoded samples keep the order of the read ones.
    let mut rest = read.iter();
    let mut items = Vec::new();
    for (place, e) in encoded.all.iter().enumerate() {
        let Some(sample) = rest.find(|s| s.row == e.row && s.id == e.id) else { continue };
        if known.only.is_some_and(|only| only.binary_search(&place).is_err()) {
            continue;
        }
        let question = match sample.messages.split_last() {
            Some((last, question)) if last.role == Role::Assistant => question,
            _ => &sample.messages,
        };
        let target = last_target(&e.encoded);
        let label = encoder.decode(target, true);
        let group = match &groups {
            Some(groups) => groups.get(&(e.row, e.id.as_str())).cloned(),
            None => kinds.get(e.id.as_str()).copied().or_else(|| modality::of(&label)).map(Into::into),
        };
        let item = Item {
            id: e.id.clone(),
            prompt_ids: encoder.prompt(sample.system.as_deref(), question, &e.encoded.grids)?,
            grids: e.encoded.grids.clone(),
            sample: e.clone(),
            question: question.last().map(|m| m.content.replace("<image>", "")).unwrap_or_default(),
            written_label: encoder.decode(target, known.skip_special),
            label,
            images: sample.images.iter().map(name).collect(),
            group,
        };
        items.push((place, item));
    }
    Ok(items)
}

/// A name by which the picture is found from any folder.
fn name(image: &ImageRef) -> String {
    match image {
        ImageRef::Path(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        _ => picture::name(image),
    }
}

/// The tokens of the last answer. LLaMA-Factory's labels are these, decoded: with the template's line end after
/// the answer, which its scores count too.
fn last_target(encoded: &Encoded) -> &[u32] {
    let source = encoded.labels.iter().rposition(|l| *l == IGNORE).map_or(0, |i| i + 1);
    &encoded.input_ids[source..]
}
