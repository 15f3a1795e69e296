//! The table of settings as Markdown, for the README.

use super::fields::{self, Field, Group};

/// The lines between which the README keeps the table.
pub const BEGIN: &str = "<!-- parameters: made by `lorascope params --markdown` -->";
pub const END: &str = "<!-- parameters end -->";

/// One Markdown table per group, without the markers.
pub fn markdown() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text +=
            &format!("\n**{}**\n\n| key | default | range | meaning |\n|---|---|---|---|\n", group.title());
        for field in fields::all().iter().filter(|f| f.group == group) {
            text += &line(field);
        }
    }
    text + "\n"
}

fn line(field: &Field) -> String {
    let default = match field.default_text() {
        none if none.is_empty() => String::new(),
        some => format!("`{some}`"),
    };
    let unit = if field.unit.is_empty() { String::new() } else { format!(" ({})", field.unit) };
    format!("| `{}` | {default} | {}{unit} | {} |\n", field.key, field.range(), field.help)
}
