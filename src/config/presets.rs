//! Settings that come with the program: the commented defaults, the tutorial's two sets, the demo's.

/// Every key with its default and a comment.
pub const DEFAULT: &str = include_str!("../../configs/default.yaml");
/// The MedTrinity tutorial's first set of parameters.
pub const TUTORIAL_ONE: &str = include_str!("../../configs/tutorial-one.yaml");
/// The MedTrinity tutorial's second, better set.
pub const TUTORIAL_TWO: &str = include_str!("../../configs/tutorial-two.yaml");
/// For the embedded demo model and data.
pub const DEMO: &str = include_str!("../../configs/demo.yaml");

/// Name and YAML text of each preset.
pub const ALL: [(&str, &str); 4] =
    [("default", DEFAULT), ("tutorial-one", TUTORIAL_ONE), ("tutorial-two", TUTORIAL_TWO), ("demo", DEMO)];

/// The YAML text of a preset.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
}
