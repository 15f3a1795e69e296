//! `lorascope show`: one sample, as it was converted, as changed, or as the model will see it.

mod changes;
mod find;
mod pictures;

use super::output::Out;
use crate::config::{TrainConfig, layers};
use crate::data::encode::{Encoded, Encoder, IGNORE};
use crate::data::overlay::Applied;
use crate::data::reader::Reader;
use crate::data::{Sample, picture};
use crate::error::{Error, Result};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Show one sample, find samples, or change one without touching the data file
///
/// Changes are kept beside the data in NAME.overlay.jsonl; training, check and workbench honour them.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Data set and row, counted from 0: mllm_train_data:0, or the two apart
    #[arg(value_name = "NAME:ROW")]
    pub sample: String,
    /// The row if it is not named above, and settings that matter for tokens: template=qwen3_vl cutoff_len=512
    #[arg(value_name = "ROW | key=value")]
    pub overrides: Vec<String>,
    /// Data folder, where dataset_info.json is
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Show tokens: prompt and target apart, picture grids
    #[arg(long)]
    pub tokens: bool,
    /// Model folder, whose tokenizer and picture settings are used
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Print the rows that match, such as: liver id:12 finding:dup tokens:>800 excluded:yes -"left lung"
    #[arg(long, value_name = "QUERY")]
    pub find: Option<String>,
    #[command(flatten)]
    pub pictures: pictures::PictureArgs,
    #[command(flatten)]
    pub changes: changes::ChangeArgs,
}

pub fn run(args: &ShowArgs, out: &Out) -> Result<()> {
    let (name, row, overrides) = named(args)?;
    let mut config = layers::load(None, overrides)?;
    if let Some(dir) = &args.data {
        config.dataset_dir.clone_from(dir);
    }
    if let Some(dir) = &args.model {
        config.model_name_or_path.clone_from(dir);
    }
    if args.changes.of_the_set(row) {
        return changes::of_the_set(&args.changes, &config.dataset_dir, name, out);
    }
    let reader = Reader::open(&config.dataset_dir, name, config.media_dir.as_deref())?;
    if let Some(query) = &args.find {
        return find::run(query, &reader, &config, out);
    }
    let row = row.ok_or_else(|| no_row(&args.sample))?;
    if row >= reader.len() {
        let rows = reader.len();
        return Err(Error::input(format!("data set `{name}` has no row {row}: it has {rows}"))
            .hint("rows are counted from 0"));
    }
    if args.changes.any() {
        return changes::run(&args.changes, &reader, &config.dataset_dir, row, out);
    }
    let mut sample = reader.original(row)?;
    let applied = reader.overlay.apply(&mut sample);
    tell(row, applied, out);
    if args.tokens { tokens(&sample, &config, out) } else { turns(&sample, applied, &args.pictures, out) }
}

/// The data set and the row that the arguments name, and the settings among them.
fn named(args: &ShowArgs) -> Result<(&str, Option<usize>, &[String])> {
    if let Some((name, row)) = args.sample.rsplit_once(':') {
        let row = row.parse::<usize>().map_err(|_| no_row(&args.sample))?;
        return Ok((name, Some(row), &args.overrides));
    }
    match args.overrides.split_first() {
        Some((first, rest)) if !first.contains('=') => {
            let row = first.parse::<usize>().map_err(|_| no_row(first))?;
            Ok((&args.sample, Some(row), rest))
        }
        _ => Ok((&args.sample, None, &args.overrides)),
    }
}

fn no_row(given: &str) -> Error {
    Error::usage(format!("`{given}` does not name a sample"))
        .hint("write the data set, a colon, and the row from 0: mllm_train_data:0")
}

/// Says what was changed about a row.
fn tell(row: usize, applied: Applied, out: &Out) {
    if applied.excluded {
        out.note(format!("row {row} is excluded from training"));
    }
    if applied.edited {
        out.note(format!("row {row} is shown with your edits; --changes lists them"));
    }
    if applied.stale {
        out.note(format!("row {row} has changed since you edited it: the edit is not applied"));
    }
}

/// Prints the sample as it is in the data.
fn turns(sample: &Sample, applied: Applied, pictures: &pictures::PictureArgs, out: &Out) -> Result<()> {
    out.line(format!("{}  (row {})", sample.id, sample.row));
    let mut images = Vec::new();
    let terminal = pictures.terminal(out)?;
    for image in &sample.images {
        let header = picture::header(image)?;
        let format = header.format.extensions_str().first().copied().unwrap_or("?");
        let name = picture::name(image);
        out.line(format!("picture    {name}  {} x {}  {format}", header.width, header.height));
        if let Some(terminal) = &terminal {
            terminal.draw(image, out);
        }
        images.push(json!({
            "path": name, "width": header.width, "height": header.height, "format": format
        }));
    }
    if let Some(system) = &sample.system {
        out.line(format!("system     {system}"));
    }
    let mut messages = Vec::new();
    for message in &sample.messages {
        let role = format!("{:?}", message.role).to_lowercase();
        out.line(format!("{role:<10} {}", message.content));
        messages.push(json!({ "role": role, "content": message.content }));
    }
    out.object(&json!({
        "row": sample.row, "id": sample.id, "system": sample.system, "messages": messages, "images": images,
        "excluded": applied.excluded, "edited": applied.edited, "stale_change": applied.stale
    }));
    Ok(())
}

/// Prints the sample as the model is trained on it.
fn tokens(sample: &Sample, config: &TrainConfig, out: &Out) -> Result<()> {
    if config.model_name_or_path.as_os_str().is_empty() {
        return Err(Error::usage("--tokens needs a model folder").hint("add --model DIR"));
    }
    let encoder = Encoder::load(Path::new(&config.model_name_or_path), config)?;
    let grids = encoder.grids(sample)?;
    let encoded = encoder.encode(sample, &grids)?;
    let segments = encoder.segments(sample, &grids)?;
    let cut: usize = segments.iter().map(|s| s.ids.len() - s.kept).sum();
    let target = encoded.labels.iter().filter(|l| **l != IGNORE).count();
    out.line(format!("{}  (row {})", sample.id, sample.row));
    out.line(format!(
        "{} tokens: {} with loss, {} of pictures; template {}, cutoff_len {}",
        encoded.input_ids.len(),
        target,
        encoded.picture_tokens,
        config.template,
        config.cutoff_len
    ));
    for (image, [t, h, w]) in sample.images.iter().zip(&encoded.grids) {
        let merged = encoder.processor().tokens([*t, *h, *w]);
        out.line(format!("picture {}: grid {t} x {h} x {w}, {merged} tokens", picture::name(image)));
    }
    if encoded.picture_cut() {
        out.note("cutoff_len cuts a picture: this sample cannot be trained on; raise cutoff_len");
    }
    out.highlighted(&pieces(&encoder, &encoded));
    if cut > 0 {
        out.line(format!("{cut} tokens are cut off by cutoff_len:"));
        for segment in segments.iter().filter(|s| s.kept < s.ids.len()) {
            out.line(encoder.decode(&segment.ids[segment.kept..], false));
        }
    }
    out.object(&object(&encoded, cut));
    Ok(())
}

fn object(encoded: &Encoded, cut: usize) -> Value {
    json!({
        "input_ids": encoded.input_ids, "labels": encoded.labels, "image_grid_thw": encoded.grids, "cut": cut
    })
}

/// The text of the tokens in runs with and without loss (`true`: with). Picture tokens are counted, not repeated.
fn pieces(encoder: &Encoder, encoded: &Encoded) -> Vec<(bool, String)> {
    let tokens: Vec<(u32, bool)> =
        encoded.input_ids.iter().zip(&encoded.labels).map(|(id, label)| (*id, *label != IGNORE)).collect();
    let mut pieces: Vec<(bool, String)> = Vec::new();
    let same = |a: &(u32, bool), b: &(u32, bool)| {
        a.1 == b.1 && (a.0 == encoder.image_token()) == (b.0 == encoder.image_token())
    };
    for run in tokens.chunk_by(same) {
        let (first, learned) = run[0];
        let ids: Vec<u32> = run.iter().map(|(id, _)| *id).collect();
        let text = if first == encoder.image_token() {
            format!("{}×{}", encoder.decode(&ids[..1], false), ids.len())
        } else {
            encoder.decode(&ids, false)
        };
        match pieces.last_mut() {
            Some((same, piece)) if *same == learned => piece.push_str(&text),
            _ => pieces.push((learned, text)),
        }
    }
    pieces
}
