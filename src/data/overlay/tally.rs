//! What an overlay did to the rows of a data set, as findings.

use super::Overlay;
use crate::data::groups::{Group, Place, count_rows};
use crate::data::sample::Sample;
use crate::job::{Finding, Level};

/// What an overlay did to the rows of a data set, for its findings.
#[derive(Default)]
pub struct Tally {
    edited: Group,
    excluded: Group,
    stale: Group,
}

impl Tally {
    /// Applies the changes to a sample; `false`: it is left out.
    pub fn keeps(&mut self, overlay: &Overlay, sample: &mut Sample) -> bool {
        let applied = overlay.apply(sample);
        let place = Place { file: "", row: sample.row, id: Some(&sample.id) };
        for (happened, group) in [
            (applied.edited && !applied.excluded, &mut self.edited),
            (applied.excluded, &mut self.excluded),
            (applied.stale, &mut self.stale),
        ] {
            if happened {
                group.add(&place, 1, None);
            }
        }
        !applied.excluded
    }

    pub fn findings(&self) -> Vec<Finding> {
        let all = [
            (
                &self.edited,
                Level::Info,
                "edited",
                "changed by your edits",
                "`lorascope show NAME --changes` lists them",
            ),
            (
                &self.excluded,
                Level::Info,
                "excluded",
                "left out as you marked",
                "`lorascope show NAME ROW --include` takes a row in again",
            ),
            (
                &self.stale,
                Level::Warning,
                "stale_change",
                "changed by you before the source changed: your changes are not applied",
                "look at the row and make the change again, or take its line out of the overlay file",
            ),
        ];
        let some = all.into_iter().filter(|(group, ..)| group.count > 0);
        some.map(|(group, level, code, what, fix)| {
            group.finding(level, code, &format!("{} {what}", count_rows(group.count)), fix)
        })
        .collect()
    }
}
