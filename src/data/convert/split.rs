//! Which kept rows are held out: by seed, and identical pictures always on one side.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// A picture's content: the first half of the BLAKE3 hash of its bytes.
pub type PictureHash = [u8; 16];

/// Marks the held-out rows with `true`.
///
/// The aim is `floor(ratio * rows)` rows (the tutorial's 12,931 of 16,163 for training), at least one if `ratio` > 0
/// and there are two different pictures. Rows with one picture go together, so the count can be below the aim.
pub fn split(pictures: &[PictureHash], ratio: f64, seed: u64) -> Vec<bool> {
    let rows = pictures.len();
    let mut group_of_picture = HashMap::new();
    let mut sizes: Vec<usize> = Vec::new();
    let mut groups = Vec::with_capacity(rows);
    for picture in pictures {
        let group = *group_of_picture.entry(picture).or_insert_with(|| {
            sizes.push(0);
            sizes.len() - 1
        });
        sizes[group] += 1;
        groups.push(group);
    }
    let held_out = choose(&sizes, aim(rows, ratio), seed);
    groups.into_iter().map(|g| held_out[g]).collect()
}

fn aim(rows: usize, ratio: f64) -> usize {
    if ratio <= 0.0 || rows < 2 {
        return 0;
    }
    // The small addend keeps products such as 0.29 * 100 from falling under the whole number that they mean.
    ((ratio * rows as f64 + 1e-9).floor() as usize).clamp(1, rows - 1)
}

/// Takes groups in shuffled order while they fit into `aim` rows.
fn choose(sizes: &[usize], aim: usize, seed: u64) -> Vec<bool> {
    let order = shuffled(sizes.len(), seed);
    let mut chosen = vec![false; sizes.len()];
    let mut taken = 0;
    for &g in &order {
        if taken + sizes[g] <= aim {
            chosen[g] = true;
            taken += sizes[g];
        }
    }
    // Every group is larger than the aim: the smallest one, so that there is something to validate on.
    if taken == 0 && aim > 0 && sizes.len() > 1 {
        let smallest = order.iter().copied().min_by_key(|&g| sizes[g]);
        chosen[smallest.expect("there are groups")] = true;
    }
    chosen
}

/// A permutation of `0..n`. Written out (Fisher-Yates on ChaCha8) so that no library update changes a split.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn different(n: usize) -> Vec<PictureHash> {
        (0..n as u128).map(u128::to_le_bytes).collect()
    }

    fn count(held_out: &[bool]) -> usize {
        held_out.iter().filter(|v| **v).count()
    }

    #[test]
    fn counts_are_the_floor_and_at_least_one() {
        for (rows, ratio, expected) in [
            (16_163, 0.2, 3232),
            (100, 0.29, 29),
            (5, 0.2, 1),
            (2, 0.01, 1),
            (1, 0.5, 0),
            (0, 0.5, 0),
            (9, 0.0, 0),
            (3, 0.99, 2),
        ] {
            assert_eq!(count(&split(&different(rows), ratio, 42)), expected, "{rows} rows, ratio {ratio}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let pictures = different(200);
        assert_eq!(split(&pictures, 0.3, 7), split(&pictures, 0.3, 7));
        assert_ne!(split(&pictures, 0.3, 7), split(&pictures, 0.3, 8));
    }

    #[test]
    fn one_picture_is_never_on_both_sides() {
        for seed in 0..50 {
            let pictures: Vec<PictureHash> = (0..60u128).map(|i| (i % 13).to_le_bytes()).collect();
            let held_out = split(&pictures, 0.25, seed);
            for i in 0..60 {
                assert_eq!(held_out[i], held_out[i % 13]);
            }
            assert!((1..=15).contains(&count(&held_out)));
        }
        let pairs = [[1; 16], [1; 16], [2; 16], [2; 16]];
        assert_eq!(count(&split(&pairs, 0.2, 1)), 2, "the smallest group, though it is above the aim");
        assert_eq!(count(&split(&[[1; 16]; 4], 0.5, 1)), 0, "one picture cannot be split");
    }
}
