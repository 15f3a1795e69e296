//! Parts of several sequences as the decoder takes them: tokens, positions and picture features one after another.

use super::batch::Slot;
use crate::model::vision::VisionOutput;
use std::ops::Range;

/// Tokens of several pieces one after another, as the decoder takes them.
#[derive(Default)]
pub struct Input {
    pub ids: Vec<u32>,
    pub places: [Vec<i64>; 3],
    /// Rows that hold picture tokens, and what goes there.
    pub rows: Vec<usize>,
    pub features: Vec<VisionOutput>,
}

impl Input {
    pub(super) fn push(&mut self, slot: &Slot, range: Range<usize>) {
        let first = self.ids.len();
        self.ids.extend_from_slice(&slot.ids[range.clone()]);
        for (axis, all) in self.places.iter_mut().enumerate() {
            let known = slot.running.as_ref().map_or(&[][..], |r| &r.positions[axis]);
            let at = |i: usize| known.get(i).copied().unwrap_or(i as i64 + slot.delta);
            all.extend(range.clone().map(at));
        }
        for (run, features) in slot.running.iter().flat_map(|r| &r.features) {
            let both = run.start.max(range.start)..run.end.min(range.end);
            if both.is_empty() {
                continue;
            }
            self.rows.extend(both.clone().map(|i| first + i - range.start));
            self.features.push(match both == *run {
                true => features.as_ref().clone(),
                false => features.part(&both.map(|i| i - run.start).collect::<Vec<_>>()),
            });
        }
    }
}

/// Where the tokens of each picture are.
pub fn picture_runs(ids: &[u32], image_token: u32) -> Vec<Range<usize>> {
    let mut at = 0;
    let runs = ids.chunk_by(|a, b| (*a == image_token) == (*b == image_token));
    let place = |run: &[u32]| {
        at += run.len();
        (run[0] == image_token).then(|| at - run.len()..at)
    };
    runs.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::picture_runs;

    #[test]
    fn runs_of_picture_tokens() {
        assert_eq!(picture_runs(&[1, 9, 9, 2, 9, 3], 9), [1..3, 4..5]);
        assert!(picture_runs(&[1, 2], 9).is_empty());
    }
}
