//! `lorascope convert`: parquet files to a registered data set.

use super::output::Out;
use super::{findings, interrupt};
use crate::data::convert;
use crate::error::Result;
use crate::job::{ConvertJob, DEFAULT_MAX_PIXELS, DEFAULT_QUESTION, RowFormat};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Turn parquet files into a registered ShareGPT data set
///
/// Writes pictures (mllm_data/<id>.jpg or .png), mllm_train_data.json, mllm_val_data.json and convert_report.json into
/// the output folder and registers both sets in its dataset_info.json.
///
/// Rows are read row group by row group, so memory does not grow with the input. Sound JPEG and PNG pictures are written
/// byte for byte; 16-bit, palette, transparent, CMYK, rotated (EXIF) and other pictures become 8-bit PNG by fixed rules.
/// Bad rows (no picture, cut off, empty caption, ...) are skipped, counted, and listed in convert_report.json
/// (NAME_convert_report.json with --name NAME).
///
/// Ctrl-C, a crash or a full disk lose nothing: until it is complete, everything is in a hidden folder of the output
/// folder, the data sets that were there stay as they are, and the same command goes on where it stopped. The result is
/// the same, byte for byte, as that of an undisturbed run.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct ConvertArgs {
    /// Parquet files, folders (searched for *.parquet) or patterns such as 'data/train-*.parquet'
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// The data folder to write to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name of the training set
    ///
    /// Sets of other names in the same folder keep their pictures: a picture whose file name is taken gets a number.
    #[arg(long, default_value = TRAIN, value_name = "NAME")]
    pub name: String,
    /// Name of the validation set [default: mllm_val_data, or NAME_val with --name NAME]
    #[arg(long, value_name = "NAME")]
    pub val_name: Option<String>,
    /// What the user asks about each picture
    #[arg(long, default_value = DEFAULT_QUESTION, value_name = "TEXT")]
    pub question: String,
    /// How the sets are written: one JSON array, or one object a line
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Take a bad row or file as an error (exit code 4) and write nothing
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub rows: RowArgs,
    #[command(flatten)]
    pub columns: ColumnArgs,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

/// Which rows are taken, and on which side of the split they go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Rows")]
pub struct RowArgs {
    /// Share of the rows that is held out for validation, from 0 to below 1
    #[arg(long, default_value_t = 0.2, value_name = "RATIO")]
    pub val_ratio: f64,
    /// Decides which rows are held out, and which are drawn by --sample
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Column whose equal values stay on one side of the split, such as a patient's number
    ///
    /// Rows with identical pictures stay together in any case, also across groups.
    #[arg(long, value_name = "NAME")]
    pub group_column: Option<String>,
    /// Take the first N rows only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Take N rows only, drawn from all by the seed
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    pub sample: Option<usize>,
}

/// What the columns are called.
#[derive(Args, Debug)]
#[command(next_help_heading = "Columns")]
pub struct ColumnArgs {
    /// Column with the pictures: binary, or a struct with `bytes` and `path`
    #[arg(long, default_value = "image", value_name = "NAME")]
    pub image_column: String,
    /// Column with the ids: text or whole numbers; made from file name and row where there is none
    #[arg(long, default_value = "id", value_name = "NAME")]
    pub id_column: String,
    /// Column with the captions: text
    #[arg(long, default_value = "caption", value_name = "NAME")]
    pub caption_column: String,
}

/// How pictures are read and written.
#[derive(Args, Debug)]
#[command(next_help_heading = "Pictures")]
pub struct PictureArgs {
    /// Folder below which rows without embedded bytes find their picture by its path
    ///
    /// Without it no file is opened that the data names. Paths and links that lead out of it are refused.
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// Refuse pictures with more pixels, by their header
    #[arg(long, default_value_t = DEFAULT_MAX_PIXELS, value_name = "N")]
    pub max_pixels: u64,
    /// Pictures to a sub-folder; 0: all in one folder [default: one folder up to 50,000 rows, else 10000]
    #[arg(long, value_name = "N")]
    pub shard_pictures: Option<usize>,
    /// Afterwards remove pictures from mllm_data/ that no registered set names
    #[arg(long)]
    pub prune: bool,
}

const TRAIN: &str = "mllm_train_data";

const EXAMPLES: &str = "\
Examples:
  lorascope convert train-*.parquet --out data
  lorascope convert shards/ --out data --sample 1000 --seed 7       a try with 1,000 rows
  lorascope convert test.parquet --out data --name test --val-ratio 0
  lorascope convert ct.parquet --out data --image-column img --caption-column report --group-column patient
  lorascope convert big/ --out data --format jsonl --json | jq .skipped

With --json the only line on standard output is the summary:
  {\"rows\", \"kept\", \"skipped\": {\"total\", REASON: n}, \"train\", \"val\", \"leakage\", \"notices\": {NOTICE: n},
   \"broken_files\", \"files\", \"seconds\"}, or {\"error\"}.

Exit codes: 0 done, 2 wrong usage, 3 no input can be used, 4 --strict met a bad row or file, 5 cannot read or write,
130 stopped.";

/// How the sets are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    Json,
    Jsonl,
}

impl ConvertArgs {
    fn job(&self) -> ConvertJob {
        let default = if self.name == TRAIN { "mllm_val_data".into() } else { format!("{}_val", self.name) };
        let (rows, columns, pictures) = (&self.rows, &self.columns, &self.pictures);
        ConvertJob {
            inputs: self.inputs.clone(),
            out: self.out.clone(),
            val_ratio: rows.val_ratio,
            seed: rows.seed,
            question: self.question.clone(),
            strict: self.strict,
            names: [self.name.clone(), self.val_name.clone().unwrap_or(default)],
            image_column: columns.image_column.clone(),
            id_column: columns.id_column.clone(),
            caption_column: columns.caption_column.clone(),
            group_column: rows.group_column.clone(),
            image_root: pictures.image_root.clone(),
            format: match self.format {
                Format::Json => RowFormat::Json,
                Format::Jsonl => RowFormat::Jsonl,
            },
            limit: rows.limit,
            sample: rows.sample,
            shard_pictures: pictures.shard_pictures,
            max_pixels: pictures.max_pixels,
            prune: pictures.prune,
        }
    }
}

pub fn run(args: &ConvertArgs, out: &Out) -> Result<()> {
    let stop = interrupt::stop_flag()?;
    let result = convert::run(&args.job(), &stop, &|event| findings::print(out, &event));
    out.clear_bar();
    let summary = result?;
    print_summary(&summary, out);
    out.object(&summary);
    Ok(())
}

fn print_summary(summary: &Value, out: &Out) {
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let skipped = count(&summary["skipped"]["total"]);
    out.line(format!(
        "kept {} of {} rows ({skipped} skipped): {} for training, {} for validation",
        count(&summary["kept"]),
        count(&summary["rows"]),
        count(&summary["train"]),
        count(&summary["val"])
    ));
    for (what, path) in summary["files"].as_object().into_iter().flatten() {
        if let Some(path) = path.as_str() {
            out.line(format!("  {:14} {path}", what.replace('_', " ")));
        }
    }
}
