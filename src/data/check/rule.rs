//! What a check looks for: the code of each rule, how grave it is, what it says, and what to do.

use crate::data::layout::Fault;
use crate::job::Level;

/// A rule. The order is that of the report within a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    Unreadable,
    Fault(Fault),
    BrokenPicture,
    TruncatedPicture,
    OversizedPicture,
    VisionToken,
    NotEncodable,
    PictureCut,
    NothingToLearn,
    LeakedPicture,
    LeakedRow,
    LeakedId,
    OverCutoff,
    SpecialToken,
    MarkInAnswer,
    EmptyAnswer,
    BlankAnswer,
    ControlCharacter,
    BidiCharacter,
    ReplacementCharacter,
    Mojibake,
    OddShape,
    DuplicateRow,
    StaleChange,
    RepeatedPicture,
    DuplicateCaption,
    DuplicateId,
    MinorityLanguage,
    OuterBlanks,
    EmptyQuestion,
    Edited,
    Excluded,
}

/// Level, code, what, and what to do.
type Description = (Level, &'static str, &'static str, &'static str);

const LEAK: &str = "keep such rows on one side: `--fix NAME` writes a training set without them";
const GET_AGAIN: &str = "get the file again, or take the row out (`--fix NAME` writes a set without it)";
const STRIP: &str = "take it out of the text (`--fix NAME` writes a set without it)";

impl Rule {
    pub fn level(self) -> Level {
        self.describe().0
    }

    pub fn code(self) -> &'static str {
        self.describe().1
    }

    /// Whether `--fix` mends the text instead of leaving the row out.
    pub fn is_stripped(self) -> bool {
        matches!(self, Rule::VisionToken | Rule::SpecialToken | Rule::ControlCharacter | Rule::BidiCharacter)
    }

    pub fn describe(self) -> Description {
        let (level, code) = self.level_and_code();
        let (what, fix) = self.words();
        (level, code, what, fix)
    }

    fn level_and_code(self) -> (Level, &'static str) {
        use Level::{Error, Info, Warning};
        match self {
            Rule::Unreadable => (Error, "unreadable_row"),
            Rule::Fault(fault) => (Error, fault.describe().0),
            Rule::BrokenPicture => (Error, "broken_picture"),
            Rule::TruncatedPicture => (Error, "truncated_picture"),
            Rule::OversizedPicture => (Error, "oversized_picture"),
            Rule::VisionToken => (Error, "vision_token"),
            Rule::NotEncodable => (Error, "not_encodable"),
            Rule::PictureCut => (Error, "picture_cut"),
            Rule::NothingToLearn => (Error, "nothing_to_learn"),
            Rule::LeakedPicture => (Error, "leaked_picture"),
            Rule::LeakedRow => (Error, "leaked_row"),
            Rule::LeakedId => (Warning, "leaked_id"),
            Rule::OverCutoff => (Warning, "over_cutoff"),
            Rule::SpecialToken => (Warning, "special_token"),
            Rule::MarkInAnswer => (Warning, "mark_in_answer"),
            Rule::EmptyAnswer => (Warning, "empty_answer"),
            Rule::BlankAnswer => (Warning, "blank_answer"),
            Rule::ControlCharacter => (Warning, "control_character"),
            Rule::BidiCharacter => (Warning, "bidi_character"),
            Rule::ReplacementCharacter => (Warning, "replacement_character"),
            Rule::Mojibake => (Warning, "mojibake"),
            Rule::OddShape => (Warning, "odd_shape"),
            Rule::DuplicateRow => (Warning, "duplicate_row"),
            Rule::DuplicateId => (Info, "duplicate_id"),
            Rule::StaleChange => (Warning, "stale_change"),
            Rule::RepeatedPicture => (Info, "repeated_picture"),
            Rule::DuplicateCaption => (Info, "duplicate_caption"),
            Rule::MinorityLanguage => (Info, "minority_language"),
            Rule::OuterBlanks => (Info, "outer_blanks"),
            Rule::EmptyQuestion => (Info, "empty_question"),
            Rule::Edited => (Info, "edited"),
            Rule::Excluded => (Info, "excluded"),
        }
    }

    /// What it says, and what to do.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Rule::Unreadable => ("the row cannot be read", "mend the file there"),
            Rule::Fault(fault) => {
                let (_, what, fix) = fault.describe();
                (what, fix)
            }
            Rule::BrokenPicture => ("a picture does not open", GET_AGAIN),
            Rule::TruncatedPicture => ("the end of a picture is missing", GET_AGAIN),
            Rule::OversizedPicture => {
                ("a picture is too large to decode safely", "scale it down, or take the row out")
            }
            Rule::VisionToken => ("the text holds a picture token of the model", STRIP),
            Rule::NotEncodable => ("the row cannot be turned into tokens", "see the detail"),
            Rule::PictureCut => (
                "cutoff_len would cut into a picture: the row cannot be trained on",
                "raise cutoff_len, or lower image_max_pixels",
            ),
            Rule::NothingToLearn => ("no token of the answer is left within cutoff_len", "raise cutoff_len"),
            Rule::LeakedPicture => ("a picture is in the validation set too, so that its score lies", LEAK),
            Rule::LeakedRow => ("the same text is in the validation set too, so that its score lies", LEAK),
            Rule::LeakedId => ("the id is in the validation set too, with another picture", LEAK),
            Rule::OverCutoff => {
                ("more tokens than cutoff_len: the end is cut", "raise cutoff_len, or lower image_max_pixels")
            }
            Rule::SpecialToken => ("the text holds a control token, which the model reads as such", STRIP),
            Rule::MarkInAnswer => (
                "an answer or the system text holds <image>",
                "write the mark in the question: what a model answers holds no picture",
            ),
            Rule::EmptyAnswer => ("an answer is empty", "write the answer, or take the row out"),
            Rule::BlankAnswer => ("an answer is nothing but blanks", "write the answer, or take the row out"),
            Rule::ControlCharacter => ("the text holds control or invisible characters", STRIP),
            Rule::BidiCharacter => ("the text holds characters that turn the direction of writing", STRIP),
            Rule::ReplacementCharacter => (
                "the text holds U+FFFD: something was lost when it was decoded",
                "export the text again with the right encoding",
            ),
            Rule::Mojibake => (
                "the text looks like UTF-8 that was read as Latin-1",
                "export the text again with the right encoding",
            ),
            Rule::OddShape => (
                "a picture is extremely narrow: a side below 28 pixels or below a 200th of the other",
                "crop or leave it out: it is stretched before the model sees it",
            ),
            Rule::DuplicateRow => {
                ("the same pictures and text as an earlier row", "take the copies out (`--fix NAME` does)")
            }
            Rule::DuplicateId => ("the id of an earlier row", "give each row its own id, or none"),
            Rule::RepeatedPicture => ("a picture of an earlier row with another text", ""),
            Rule::DuplicateCaption => ("the answer of an earlier row, with another picture or question", ""),
            Rule::MinorityLanguage => ("the answer is in another writing than most", ""),
            Rule::OuterBlanks => ("an answer begins or ends with blanks, which are learned too", ""),
            Rule::EmptyQuestion => ("a question is nothing but a picture", ""),
            Rule::StaleChange => (
                "changed by you before the source changed: your changes are not applied",
                "look at the row and make the change again, or take its line out of the overlay file",
            ),
            Rule::Edited => ("checked as you edited it", ""),
            Rule::Excluded => ("left out as you marked, and not looked at", ""),
        }
    }
}
