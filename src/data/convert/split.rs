//! Which kept rows are held out: by seed, with identical pictures and rows of one group always on one side.

use super::disk_map::DiskMap;
use crate::error::{At, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Groups that a bucket of ranks holds about, and buckets that are searched for groups to fill the last places.
const BUCKET: usize = 4096;
const SEARCHED: usize = 16;

/// Rows that belong together, added one after another. Memory: 5 bytes for each different picture.
pub(super) struct Groups {
    pictures: DiskMap,
    values: DiskMap,
    /// Each group's number, or that of an earlier one that it was joined to.
    parent: Vec<u32>,
    /// Each row's group, 4 bytes a row.
    rows: BufWriter<File>,
    count: usize,
    dir: PathBuf,
}

impl Groups {
    /// Nothing yet; scratch files go to `dir`. `rows`: how many will come at most.
    pub fn new(dir: &Path, rows: usize) -> Result<Self> {
        Ok(Self {
            pictures: DiskMap::new(dir)?,
            values: DiskMap::new(dir)?,
            // Pages of it that are never written cost nothing; growing by doubling would.
            parent: Vec::with_capacity(rows),
            rows: BufWriter::new(tempfile::tempfile_in(dir).at("write a list in", dir)?),
            count: 0,
            dir: dir.into(),
        })
    }

    /// Adds a row with its picture's and its group's fingerprint. Returns whether the picture is new.
    pub fn add(&mut self, picture: u64, value: Option<u64>) -> Result<bool> {
        let next = self.parent.len() as u32;
        let known = self.pictures.get_or_insert(picture, next)?;
        let group = known.unwrap_or_else(|| {
            self.parent.push(next);
            next
        });
        if let Some(value) = value
            && let Some(other) = self.values.get_or_insert(value, group)?
        {
            self.join(group, other);
        }
        self.rows.write_all(&group.to_le_bytes()).at("write a list in", &self.dir)?;
        self.count += 1;
        Ok(known.is_none())
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (root(&mut self.parent, a), root(&mut self.parent, b));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// Chooses the rows that are held out.
    ///
    /// The aim is `floor(ratio * rows)` rows (the tutorial's 12,931 of 16,163 for training), at least one if `ratio` > 0
    /// and there are two groups. A group is held out as a whole, so the count can be below the aim.
    pub fn split(mut self, ratio: f64, seed: u64) -> Result<Sides> {
        for group in 0..self.parent.len() as u32 {
            self.parent[group as usize] = root(&mut self.parent, group);
        }
        let mut sizes = Sizes { small: vec![0; self.parent.len()], large: HashMap::new() };
        let mut rows = self.rows.into_inner().map_err(|e| e.into_error()).at("write a list in", &self.dir)?;
        rows.rewind().at("read a list in", &self.dir)?;
        let mut sides =
            Sides { rows, parent: self.parent, chosen: Chosen::nothing(seed), val: 0, dir: self.dir };
        for row in sides.groups(self.count)? {
            sizes.add(row.at("read a list in", &sides.dir)?.0);
        }
        sides.val = sides.chosen.choose(&sizes, aim(self.count, ratio));
        Ok(sides)
    }
}

/// The first group that this one is joined to.
fn root(parent: &mut [u32], mut group: u32) -> u32 {
    while parent[group as usize] != group {
        let above = parent[parent[group as usize] as usize];
        parent[group as usize] = above;
        group = above;
    }
    group
}

/// Rows of each group: a byte each, more for the few groups that need it.
struct Sizes {
    small: Vec<u8>,
    large: HashMap<u32, usize>,
}

impl Sizes {
    fn add(&mut self, group: u32) {
        let small = &mut self.small[group as usize];
        match small.checked_add(1) {
            Some(more) => *small = more,
            None => *self.large.entry(group).or_insert(usize::from(u8::MAX)) += 1,
        }
    }

    /// Every group that has rows, with their number.
    fn iter(&self) -> impl Iterator<Item = (u32, usize)> {
        let size = |(group, small): (u32, &u8)| match self.large.get(&group) {
            Some(large) if *small == u8::MAX => (group, *large),
            _ => (group, usize::from(*small)),
        };
        (0..).zip(&self.small).map(size).filter(|(_, size)| *size > 0)
    }
}

/// The groups that are held out: in the order of their ranks, which the seed makes, while they fit.
struct Chosen {
    seed: u64,
    /// All buckets below this one, of `buckets`.
    below: u64,
    buckets: u64,
    others: HashSet<u32>,
}

impl Chosen {
    fn nothing(seed: u64) -> Self {
        Self { seed, below: 0, buckets: 1, others: HashSet::new() }
    }

    fn holds(&self, group: u32) -> bool {
        self.bucket(group) < self.below || self.others.contains(&group)
    }

    /// A group's place in a shuffled order (SplitMix64, written out so that no library update changes a split).
    fn rank(&self, group: u32) -> u64 {
        let mix = |seed: u64| {
            let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        mix(mix(self.seed) ^ u64::from(group))
    }

    fn bucket(&self, group: u32) -> u64 {
        ((u128::from(self.rank(group)) * u128::from(self.buckets)) >> 64) as u64
    }

    /// Chooses groups of at most `aim` rows and returns how many rows they are.
    fn choose(&mut self, sizes: &Sizes, aim: usize) -> usize {
        let groups = sizes.iter().count();
        self.buckets = (groups / BUCKET).max(1) as u64;
        let mut rows = vec![0; self.buckets as usize];
        for (group, size) in sizes.iter() {
            rows[self.bucket(group) as usize] += size;
        }
        let mut taken = 0;
        // `below` changes at the end only: until then no bucket counts as chosen.
        let mut below = 0;
        while below < rows.len() && taken + rows[below] <= aim {
            taken += rows[below];
            below += 1;
        }
        for bucket in below..rows.len().min(below + SEARCHED) {
            if taken < aim {
                taken += self.fill(sizes, bucket as u64, aim - taken);
            }
        }
        self.below = below as u64;
        if taken == 0 && aim > 0 && groups > 1 {
            // Every group is larger than the aim: the smallest one, so that there is something to validate on.
            let smallest = sizes.iter().min_by_key(|&(group, size)| (size, self.rank(group)));
            let (group, size) = smallest.expect("there are groups");
            self.others.insert(group);
            taken = size;
        }
        taken
    }

    /// Takes groups of one bucket in rank order while they fit into `room` rows.
    fn fill(&mut self, sizes: &Sizes, bucket: u64, room: usize) -> usize {
        let mut groups: Vec<(u64, u32, usize)> = sizes
            .iter()
            .filter(|(group, size)| *size <= room && self.bucket(*group) == bucket)
            .map(|(group, size)| (self.rank(group), group, size))
            .collect();
        groups.sort_unstable();
        let mut taken = 0;
        for (_, group, size) in groups {
            if taken + size <= room {
                self.others.insert(group);
                taken += size;
            }
        }
        taken
    }
}

fn aim(rows: usize, ratio: f64) -> usize {
    if ratio <= 0.0 || rows < 2 {
        return 0;
    }
    // The small addend keeps products such as 0.29 * 100 from falling under the whole number that they mean.
    ((ratio * rows as f64 + 1e-9).floor() as usize).clamp(1, rows - 1)
}

/// The side of each kept row.
pub(super) struct Sides {
    rows: File,
    parent: Vec<u32>,
    chosen: Chosen,
    /// How many rows are held out.
    pub val: usize,
    dir: PathBuf,
}

impl Sides {
    /// Each of the `count` rows' group, and whether it is held out.
    fn groups(&self, count: usize) -> Result<impl Iterator<Item = io::Result<(u32, bool)>> + use<'_>> {
        let mut file = self.rows.try_clone().at("read a list in", &self.dir)?;
        file.rewind().at("read a list in", &self.dir)?;
        let mut file = BufReader::new(file);
        Ok((0..count).map(move |_| {
            let mut number = [0; 4];
            file.read_exact(&mut number)?;
            let group = self.parent[u32::from_le_bytes(number) as usize];
            Ok((group, self.chosen.holds(group)))
        }))
    }

    /// For each of the `count` rows in order: whether it is held out.
    pub fn held_out(&self, count: usize) -> Result<impl Iterator<Item = io::Result<bool>> + use<'_>> {
        Ok(self.groups(count)?.map(|row| row.map(|(_, held_out)| held_out)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn split(rows: &[(u64, Option<u64>)], ratio: f64, seed: u64) -> Vec<bool> {
        let temp = tempfile::tempdir().unwrap();
        let mut groups = Groups::new(temp.path(), rows.len()).unwrap();
        for (picture, value) in rows {
            groups.add(*picture, *value).unwrap();
        }
        let sides = groups.split(ratio, seed).unwrap();
        let held_out: Vec<bool> = sides.held_out(rows.len()).unwrap().map(|h| h.unwrap()).collect();
        assert_eq!(count(&held_out), sides.val);
        held_out
    }

    fn different(n: u64) -> Vec<(u64, Option<u64>)> {
        (1..=n).map(|i| (i, None)).collect()
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
    fn the_seed_decides_and_no_row_is_preferred() {
        let rows = different(200);
        assert_eq!(split(&rows, 0.3, 7), split(&rows, 0.3, 7));
        assert_ne!(split(&rows, 0.3, 7), split(&rows, 0.3, 8));
        let mut hits = vec![0; 20];
        for seed in 0..1000 {
            for (hit, held_out) in hits.iter_mut().zip(split(&different(20), 0.25, seed)) {
                *hit += u32::from(held_out);
            }
        }
        assert!(hits.iter().all(|h| (180..320).contains(h)), "250 expected: {hits:?}");
    }

    #[test]
    fn one_picture_is_never_on_both_sides() {
        for seed in 0..50 {
            let rows: Vec<_> = (0..60).map(|i| (i % 13 + 1, None)).collect();
            let held_out = split(&rows, 0.25, seed);
            for i in 0..60 {
                assert_eq!(held_out[i], held_out[i % 13]);
            }
            assert!((1..=15).contains(&count(&held_out)));
        }
        let pairs = [1, 1, 2, 2].map(|p| (p, None));
        assert_eq!(count(&split(&pairs, 0.2, 1)), 2, "the smallest group, though it is above the aim");
        assert_eq!(count(&split(&[(1, None); 4], 0.5, 1)), 0, "one picture cannot be split");
        assert_eq!(count(&split(&[(1, None); 700], 0.5, 1)), 0);
    }

    #[test]
    fn groups_and_pictures_are_joined_whatever_the_order() {
        // 1-2 by the value 10, 2-3 by the picture 3, 3-4 by the value 11: one group of five rows; 9 is alone.
        let rows = [(1, Some(10)), (2, Some(10)), (4, Some(11)), (3, Some(11)), (3, Some(10)), (9, None)];
        for seed in 0..20 {
            let held_out = split(&rows, 0.4, seed);
            assert_eq!(held_out, [false, false, false, false, false, true], "{seed}");
        }
    }
}
