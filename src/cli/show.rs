//! `lorascope show`: one sample, as it was converted or as the model will see it.

use super::output::Out;
use crate::config::{TrainConfig, layers};
use crate::data::encode::{Encoded, Encoder, IGNORE};
use crate::data::{ImageRef, Sample, dataset, picture};
use crate::error::{Error, Result};
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Show one sample: its turns and pictures, or with --tokens what the model is trained on
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Data set and row, counted from 0: mllm_train_data:0
    #[arg(value_name = "NAME:ROW")]
    pub sample: String,
    /// Settings that matter for tokens, such as template=qwen3_vl, cutoff_len=512, image_max_pixels=262144
    #[arg(value_name = "key=value")]
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
    /// Do not draw the pictures
    #[arg(long)]
    pub no_pictures: bool,
}

pub fn run(args: &ShowArgs, out: &Out) -> Result<()> {
    let mut config = layers::load(None, &args.overrides)?;
    if let Some(dir) = &args.data {
        config.dataset_dir.clone_from(dir);
    }
    if let Some(dir) = &args.model {
        config.model_name_or_path.clone_from(dir);
    }
    let sample = find(&args.sample, &config, out)?;
    if args.tokens { tokens(&sample, &config, out) } else { turns(&sample, args.no_pictures, out) }
}

/// Loads the sample that `NAME:ROW` names.
fn find(name_and_row: &str, config: &TrainConfig, out: &Out) -> Result<Sample> {
    let parsed =
        name_and_row.rsplit_once(':').and_then(|(name, row)| Some((name, row.parse::<usize>().ok()?)));
    let Some((name, row)) = parsed else {
        return Err(Error::usage(format!("`{name_and_row}` does not name a sample"))
            .hint("write the data set, a colon, and the row from 0: mllm_train_data:0"));
    };
    let data = dataset::load(&config.dataset_dir, name, config.media_dir.as_deref())?;
    let about_row: Vec<_> = data.findings.iter().filter(|f| f.rows.contains(&row)).collect();
    for finding in &about_row {
        out.note(format!("row {row}: {}", finding.message));
    }
    let samples = data.samples.len();
    data.samples.into_iter().find(|s| s.row == row).ok_or_else(|| {
        if about_row.is_empty() {
            Error::input(format!("data set `{name}` has no row {row}: {samples} rows can be used"))
                .hint("rows are counted from 0")
        } else {
            let reasons: Vec<_> = about_row.iter().map(|f| f.message.as_str()).collect();
            Error::input(format!("row {row} of `{name}` cannot be used: {}", reasons.join("; ")))
                .hint(about_row[0].fix.clone())
        }
    })
}

/// Prints the sample as it is in the data.
fn turns(sample: &Sample, no_pictures: bool, out: &Out) -> Result<()> {
    out.line(format!("{}  (row {})", sample.id, sample.row));
    let mut images = Vec::new();
    for image in &sample.images {
        let header = picture::header(image)?;
        let format = header.format.extensions_str().first().copied().unwrap_or("?");
        let name = picture::name(image);
        out.line(format!("picture    {name}  {} x {}  {format}", header.width, header.height));
        if !no_pictures && !out.json && std::io::stdout().is_terminal() {
            draw(image, out);
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
        "row": sample.row, "id": sample.id, "system": sample.system, "messages": messages, "images": images
    }));
    Ok(())
}

/// Rows of the terminal a drawn picture takes at most, and columns.
const DRAWN_ROWS: u32 = 24;
const DRAWN_COLUMNS: u32 = 60;

/// Draws a picture into the terminal; one that cannot be drawn is told and is no error.
fn draw(image: &ImageRef, out: &Out) {
    let drawn = picture::open(image).map_err(|e| e.message).and_then(|picture| {
        // A cell is about twice as high as wide.
        let wide = picture.width() * DRAWN_ROWS * 2 > picture.height() * DRAWN_COLUMNS;
        let config = viuer::Config {
            absolute_offset: false,
            width: wide.then_some(DRAWN_COLUMNS),
            height: (!wide).then_some(DRAWN_ROWS),
            use_kitty: may_speak_kitty(),
            ..viuer::Config::default()
        };
        viuer::print(&picture, &config).map_err(|e| e.to_string())
    });
    if let Err(why) = drawn {
        out.note(format!("the picture is not drawn: {why}"));
    }
}

/// Whether the terminal may know kitty's picture protocol. viuer asks it and waits for the answer without an
/// end, so it may ask only where one will come.
fn may_speak_kitty() -> bool {
    let named = ["TERM", "TERM_PROGRAM"].iter().filter_map(|key| std::env::var(key).ok()).any(|value| {
        let value = value.to_lowercase();
        ["kitty", "ghostty", "wezterm"].iter().any(|name| value.contains(name))
    });
    named && std::io::stdin().is_terminal()
}

/// Prints the sample as the model is trained on it.
fn tokens(sample: &Sample, config: &TrainConfig, out: &Out) -> Result<()> {
    if config.model_name_or_path.as_os_str().is_empty() {
        return Err(Error::usage("--tokens needs a model folder").hint("add --model DIR"));
    }
    let encoder = Encoder::load(Path::new(&config.model_name_or_path), config)?;
    let encoded = encoder.encode(sample, &encoder.grids(sample)?)?;
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
    out.object(&object(&encoded));
    Ok(())
}

fn object(encoded: &Encoded) -> Value {
    json!({
        "input_ids": encoded.input_ids, "labels": encoded.labels, "image_grid_thw": encoded.grids
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
