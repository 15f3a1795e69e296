//! Finds what was left in English on a screen in Chinese.

use lorascope::config::fields;

/// What a reader of Chinese knows by these letters: keys, units, programs, formats, methods.
const KNOWN: &[&str] = &[
    "Enter",
    "Esc",
    "Tab",
    "Space",
    "Shift-Tab",
    "PgUp",
    "PgDn",
    "Home",
    "End",
    "Del",
    "GiB",
    "MiB",
    "KiB",
    "token",
    "id",
    "LoRA",
    "GPU",
    "CPU",
    "PNG",
    "SVG",
    "CSV",
    "YAML",
    "JSON",
    "ASCII",
    "OSC",
    "NaN",
    "parquet",
    "tmux",
    "GB",
    "Lorascope",
    "lorascope",
    "LLaMA-Factory",
    "AdamW",
    "lungs",
];

/// What of a word that is cut off, at the end of its cell or of the screen or by a box that lies over it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It may be the beginning of any name: there are many.
    Passes,
    /// It has to be the beginning of a word that is known or allowed.
    Counts,
}

/// Words of English on a screen that are neither known nor `allowed`. Names of keys, metrics and files have a digit, `_`,
/// `/`, `.` or `:` in them.
pub fn left_over(text: &str, allowed: &[&str], cut_off: Cut) -> Vec<String> {
    let part = |c: char| c.is_ascii_alphanumeric() || "_./:-".contains(c);
    let of_a_key = |name: &str| fields::all().iter().any(|f| f.key.starts_with(name));
    let edge = |c: char| "│╭╮╰╯─".contains(c);
    let mut found = Vec::new();
    for line in text.lines() {
        let (mut word, mut before) = (String::new(), ' ');
        for c in line.trim_end_matches([' ', '│', '─', '╮', '╯']).chars().chain(['\n']) {
            if part(c) {
                word.push(c);
                continue;
            }
            let (whole, left) = (std::mem::take(&mut word), std::mem::replace(&mut before, c));
            let name = whole.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let letters = name.chars().filter(char::is_ascii_alphabetic).count();
            let plain = name.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
            let cut = c == '…' || edge(c) || edge(left) || (c == '\n' && of_a_key(name));
            // The fields of a search, `tokens:>800`, and the endings of files.
            let syntax = (whole.ends_with(':') && "<>".contains(c)) || whole.starts_with('.');
            let begins = || of_a_key(name) || KNOWN.iter().chain(allowed).any(|w| w.starts_with(name));
            let cut = cut && (cut_off == Cut::Passes || begins());
            let known = KNOWN.contains(&name) || allowed.contains(&name);
            let known = known || name.starts_with("Ctrl-") || name.starts_with("Alt-");
            let known = known || syntax || fields::field(name).is_some();
            if letters > 1 && plain && !cut && !known {
                found.push(name.to_string());
            }
        }
    }
    found
}

#[test]
fn a_screen_with_english_words_is_found_out() {
    let of_names = |text| left_over(text, &[], Cut::Passes);
    assert_eq!(of_names("│ 损失 loss 0.5 · nothing…  │\n/x/file lora_rank eval_lo… Esc"), ["loss"]);
    assert_eq!(of_names("│ 设置 learning │\n learning here"), ["learning", "here"]);
    let all = |text| left_over(text, &["checkpoint"], Cut::Counts);
    assert_eq!(all("按 Enter 提问 · least sure 左 top_p rep… worst…"), ["least", "sure", "worst"]);
    assert_eq!(all("Alt-Enter 换行 checkp… │worst│ checkpoint-5 Ent…"), ["worst"]);
}
