//! The numbers of a data set as text: percentiles, bars, lists.

use super::output::Out;
use serde_json::Value;

/// Cells of the longest bar.
const BAR: usize = 40;

/// Entries of a list that are printed.
const LISTED: usize = 10;

/// Prints `profile` and `estimate` of a report of `check` or `stats`.
pub fn print(report: &Value, out: &Out) {
    let (profile, estimate) = (&report["profile"], &report["estimate"]);
    let (answers, pictures, tokens) = (&profile["answers"], &profile["pictures"], &profile["tokens"]);
    if profile["readable"] == 0 {
        return;
    }
    numbers("turns", &profile["turns"], false, out);
    numbers("answers, words", &answers["words"], true, out);
    numbers("answers, characters", &answers["characters"], false, out);
    out.line(format!("{:22} {}", "writing of answers", counts(&answers["writing"])));
    if pictures["count"] != 0 {
        let megabytes = pictures["bytes"].as_f64().unwrap_or_default() / 1e6;
        let formats = counts(&pictures["formats"]);
        out.line(format!("{:22} {}, {megabytes:.1} MB, {formats}", "pictures", pictures["count"]));
        numbers("pictures of a row", &pictures["per_row"], false, out);
        numbers("pictures, pixels", &pictures["pixels"], true, out);
        out.line(format!("{:22} {}", "frequent sizes", sizes(&pictures["sizes"])));
    }
    numbers("tokens of a row", &tokens["per_row"], true, out);
    numbers("of these in pictures", &tokens["of_pictures"], false, out);
    print_estimate(estimate, out);
}

fn print_estimate(estimate: &Value, out: &Out) {
    if estimate.is_null() {
        return;
    }
    let percent = |key: &str| estimate[key].as_f64().unwrap_or_default() * 100.0;
    out.line(format!(
        "{:22} {} tokens, {:.0} % of pictures, {} with loss; padding to batches of {} would add {:.0} % waste",
        "an epoch",
        estimate["tokens_per_epoch"],
        percent("picture_share"),
        estimate["learned_per_epoch"],
        estimate["batch_size"],
        percent("padding_waste")
    ));
    let suggested = &estimate["suggested"];
    let pixels = match suggested["image_max_pixels"].as_u64() {
        Some(pixels) => format!(" or image_max_pixels={pixels}"),
        None => String::new(),
    };
    out.line(format!(
        "{:22} cutoff_len={}{pixels} keeps every row whole: {}",
        "suggestion",
        suggested["cutoff_len"],
        suggested["why"].as_str().unwrap_or_default()
    ));
}

/// A line of percentiles, and a line for each bar.
fn numbers(name: &str, numbers: &Value, bars: bool, out: &Out) {
    if numbers.is_null() {
        return;
    }
    let of = |key: &str| &numbers[key];
    out.line(format!(
        "{name:22} min {}  p50 {}  p90 {}  p99 {}  max {}  mean {}",
        of("min"),
        of("p50"),
        of("p90"),
        of("p99"),
        of("max"),
        of("mean")
    ));
    for bar in numbers["bars"].as_array().into_iter().flatten().filter(|_| bars) {
        out.line(format!("  {}", bar_line(bar, numbers)));
    }
}

fn bar_line(bar: &Value, numbers: &Value) -> String {
    let count = |bar: &Value| bar["count"].as_u64().unwrap_or_default() as usize;
    let most = numbers["bars"].as_array().into_iter().flatten().map(count).max().unwrap_or(1).max(1);
    let range = if bar["from"] == bar["to"] {
        bar["from"].to_string()
    } else {
        format!("{}..{}", bar["from"], bar["to"])
    };
    // A bar that is not empty shows.
    let cells = (count(bar) * BAR).div_ceil(most);
    format!("{range:>20} {}", format!("{} {}", "█".repeat(cells), count(bar)).trim_start())
}

/// "png 12, jpg 3".
fn counts(object: &Value) -> String {
    let one = |(name, n): (&String, &Value)| format!("{name} {n}");
    object.as_object().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

fn sizes(list: &Value) -> String {
    let one = |s: &Value| format!("{}x{} ({})", s["width"], s["height"], s["count"]);
    list.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// A list of texts with their counts, and shares where there are some.
pub fn print_texts(name: &str, list: &Value, out: &Out) {
    for (i, entry) in list.as_array().into_iter().flatten().take(LISTED).enumerate() {
        let name = if i == 0 { name } else { "" };
        let share = entry["share"].as_f64().map(|s| format!(" ({:.1} %)", s * 100.0)).unwrap_or_default();
        out.line(format!(
            "{name:22} {:>8} {}{share}",
            entry["count"],
            entry["text"].as_str().unwrap_or_default()
        ));
    }
}
