//! Text that the trainer or the model takes for something else than text.

/// The mark that stands for a picture.
pub const IMAGE: &str = "<image>";

/// Other marks that LLaMA-Factory counts against the media of a row.
const OTHER_MEDIA: [&str; 2] = ["<video>", "<audio>"];

/// How many picture, video and audio marks a text holds.
pub fn media_marks(text: &str) -> usize {
    text.matches(IMAGE).count() + other_media_marks(text)
}

/// How many video and audio marks a text holds.
pub fn other_media_marks(text: &str) -> usize {
    OTHER_MEDIA.iter().map(|mark| text.matches(mark).count()).sum()
}

/// The first `<|name|>` in a text: Qwen's tokenizer makes one control token of it wherever it stands.
pub fn control_token(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find("<|") {
        let inner = &rest[start + 2..];
        let name = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        if name > 0 && inner[name..].starts_with("|>") {
            return Some(&rest[start..start + name + 4]);
        }
        rest = inner;
    }
    None
}

pub fn has_control_token(text: &str) -> bool {
    control_token(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_tokens_are_found_and_look_alikes_are_not() {
        assert_eq!(control_token("a <|im_end|> b"), Some("<|im_end|>"));
        assert_eq!(control_token("<|<|image_pad|>"), Some("<|image_pad|>"));
        assert_eq!(control_token("肺 <| x |> <||> <|im_end>"), None);
    }
}
