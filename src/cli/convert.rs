//! `lorascope convert`: parquet files to a registered data set.

use super::output::Out;
use super::{findings, interrupt};
use crate::data::convert;
use crate::error::Result;
use crate::job::{ConvertJob, DEFAULT_QUESTION};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Turn parquet files into a registered ShareGPT data set
///
/// Writes mllm_data/<id>.<ext>, mllm_train_data.json, mllm_val_data.json and convert_report.json into the output
/// folder and registers both sets in its dataset_info.json. Bad rows are skipped and counted. When it fails or is
/// stopped, the output folder is as it was. With --json the last line on standard output is the summary.
#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Parquet files, folders or patterns
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// The data folder to write to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of the rows that is held out for validation, from 0 to below 1
    #[arg(long, default_value_t = 0.2, value_name = "RATIO")]
    pub val_ratio: f64,
    /// Decides which rows are held out
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// What the user asks about each picture
    #[arg(long, default_value = DEFAULT_QUESTION)]
    pub question: String,
    /// Take a bad row or file as an error
    #[arg(long)]
    pub strict: bool,
    /// Name of the column with the pictures
    #[arg(long, default_value = "image", value_name = "NAME")]
    pub image_column: String,
    /// Name of the column with the ids
    #[arg(long, default_value = "id", value_name = "NAME")]
    pub id_column: String,
    /// Name of the column with the captions
    #[arg(long, default_value = "caption", value_name = "NAME")]
    pub caption_column: String,
}

impl ConvertArgs {
    fn job(&self) -> ConvertJob {
        ConvertJob {
            val_ratio: self.val_ratio,
            seed: self.seed,
            question: self.question.clone(),
            strict: self.strict,
            image_column: self.image_column.clone(),
            id_column: self.id_column.clone(),
            caption_column: self.caption_column.clone(),
            ..ConvertJob::new(self.inputs.clone(), self.out.clone())
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
