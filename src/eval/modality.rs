//! What kind of picture a caption speaks of.

/// Kinds with the words that tell them. Latin words count as whole words in any case; of several kinds the one that
/// is named first wins.
const KINDS: &[(&str, &[&str])] = &[
    ("CT", &["ct", "cta", "tomography", "计算机断层", "断层扫描"]),
    ("MR", &["mr", "mri", "fmri", "magnetic", "t1-weighted", "t2-weighted", "磁共振", "核磁"]),
    ("X-ray", &["x-ray", "xray", "radiograph", "radiography", "胸片", "平片", "x线", "x光"]),
    (
        "ultrasound",
        &["ultrasound", "ultrasonography", "sonogram", "echocardiogram", "doppler", "超声", "b超"],
    ),
    ("PET", &["pet", "scintigraphy", "正电子", "核素"]),
    ("mammography", &["mammogram", "mammography", "钼靶"]),
    ("angiography", &["angiogram", "angiography", "dsa", "造影"]),
    ("endoscopy", &["endoscopy", "endoscopic", "colonoscopy", "bronchoscopy", "内镜", "胃镜", "肠镜"]),
    ("pathology", &["histology", "histopathology", "hematoxylin", "stain", "staining", "病理", "染色"]),
    ("fundus", &["fundus", "oct", "retinal", "眼底"]),
];

/// The kind of picture that `caption` names.
pub fn of(caption: &str) -> Option<&'static str> {
    let text = caption.to_lowercase();
    let first = |(kind, words): &(&'static str, &[&str])| {
        let at = words.iter().filter_map(|word| find(&text, word)).min()?;
        Some((at, *kind))
    };
    KINDS.iter().filter_map(first).min().map(|(_, kind)| kind)
}

/// Where `word` stands in `text`; with Latin ends as a whole word.
fn find(text: &str, word: &str) -> Option<usize> {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let ends = (latin(word.chars().next()), latin(word.chars().next_back()));
    let whole = |&(at, _): &(usize, &str)| {
        let before = ends.0 && latin(text[..at].chars().next_back());
        let after = ends.1 && latin(text[at + word.len()..].chars().next());
        !before && !after
    };
    text.match_indices(word).find(whole).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_first_word_that_tells_wins() {
        assert_eq!(of("Axial CT scan of the abdomen"), Some("CT"));
        assert_eq!(of("胸部CT示右肺结节"), Some("CT"));
        assert_eq!(of("An MRI, compared with the CT"), Some("MR"));
        assert_eq!(of("Chest X-ray"), Some("X-ray"));
        assert_eq!(of("腹部超声"), Some("ultrasound"));
        assert_eq!(of("the factory's octopus was stained"), None);
    }
}
