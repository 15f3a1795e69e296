//! A hash table in memory that moves to a file without a name when it grows: what is known of every row costs disk.

use crate::error::{At, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A slot: 8 bytes of key (0: free) and 4 of value.
const SLOT: usize = 12;
/// Slots that are read at once.
const BLOCK: u64 = 16;
const FIRST_SLOTS: u64 = 1024;
/// A larger table is on disk. This one takes 768 KiB.
const SLOTS_IN_MEMORY: u64 = 64 * 1024;

/// 8-byte fingerprints to numbers: 17 to 34 bytes of disk an entry, less than 1 MiB of memory in all.
///
/// Two different things share a fingerprint with a probability of 2^-64 a pair: about 1 in 60,000 that it happens once
/// among 25 million.
pub(super) struct DiskMap {
    dir: PathBuf,
    store: Store,
    slots: u64,
    len: u64,
}

/// The fingerprint of some bytes, for a [`DiskMap`] and for telling contents apart.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"))
}

impl DiskMap {
    /// An empty table in `dir`, which disappears with the process.
    pub fn new(dir: &Path) -> Result<Self> {
        let store = Store::of(dir, FIRST_SLOTS).at("write a table in", dir)?;
        Ok(Self { dir: dir.into(), store, slots: FIRST_SLOTS, len: 0 })
    }

    pub fn get(&mut self, key: u64) -> Result<Option<u32>> {
        Ok(self.find(key).at("read a table in", &self.dir)?.1)
    }

    /// The value that is there already, or `None` after `value` was put there.
    pub fn get_or_insert(&mut self, key: u64, value: u32) -> Result<Option<u32>> {
        let (slot, found) = self.find(key).at("read a table in", &self.dir)?;
        if found.is_none() {
            self.put(slot, key, value).at("write a table in", &self.dir)?;
            self.len += 1;
            if self.len * 10 > self.slots * 7 {
                self.grow().at("write a table in", &self.dir)?;
            }
        }
        Ok(found)
    }

    /// Puts a value there, whatever was there.
    pub fn set(&mut self, key: u64, value: u32) -> Result<()> {
        if self.get_or_insert(key, value)?.is_some() {
            let (slot, _) = self.find(key).at("read a table in", &self.dir)?;
            self.put(slot, key, value).at("write a table in", &self.dir)?;
        }
        Ok(())
    }

    /// The slot of a key, or the free one where it belongs.
    fn find(&mut self, key: u64) -> io::Result<(u64, Option<u32>)> {
        let key = key.max(1);
        let mut at = key % self.slots;
        loop {
            let count = BLOCK.min(self.slots - at);
            let mut block = [0; SLOT * BLOCK as usize];
            let block = &mut block[..SLOT * count as usize];
            self.store.read(at, block)?;
            for (i, slot) in (at..).zip(block.chunks_exact(SLOT)) {
                match split(slot) {
                    (0, _) => return Ok((i, None)),
                    (k, value) if k == key => return Ok((i, Some(value))),
                    _ => {}
                }
            }
            at = (at + count) % self.slots;
        }
    }

    fn put(&mut self, slot: u64, key: u64, value: u32) -> io::Result<()> {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&key.max(1).to_le_bytes());
        bytes[8..].copy_from_slice(&value.to_le_bytes());
        self.store.write(slot, &bytes)
    }

    fn grow(&mut self) -> io::Result<()> {
        let slots = self.slots * 2;
        let old = std::mem::replace(&mut self.store, Store::of(&self.dir, slots)?);
        self.slots = slots;
        let mut old: Box<dyn Read> = match old {
            Store::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
            Store::File(mut file) => {
                file.rewind()?;
                Box::new(BufReader::new(file))
            }
        };
        for _ in 0..slots / 2 {
            let mut slot = [0; SLOT];
            old.read_exact(&mut slot)?;
            let (key, value) = split(&slot);
            if key != 0 {
                let (at, _) = self.find(key)?;
                self.put(at, key, value)?;
            }
        }
        Ok(())
    }
}

/// Where the slots are.
enum Store {
    Memory(Vec<u8>),
    File(File),
}

impl Store {
    /// Free slots, as a file in `dir` if they are many.
    fn of(dir: &Path, slots: u64) -> io::Result<Self> {
        let bytes = slots * SLOT as u64;
        if slots <= SLOTS_IN_MEMORY {
            return Ok(Self::Memory(vec![0; bytes as usize]));
        }
        let file = tempfile::tempfile_in(dir)?;
        file.set_len(bytes)?;
        Ok(Self::File(file))
    }

    /// Reads whole slots from the slot `at` on.
    fn read(&mut self, at: u64, slots: &mut [u8]) -> io::Result<()> {
        let at = at * SLOT as u64;
        match self {
            Self::Memory(bytes) => slots.copy_from_slice(&bytes[at as usize..][..slots.len()]),
            Self::File(file) => {
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(slots)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, slot: &[u8; SLOT]) -> io::Result<()> {
        let at = at * SLOT as u64;
        match self {
            Self::Memory(bytes) => bytes[at as usize..][..SLOT].copy_from_slice(slot),
            Self::File(file) => {
                file.seek(SeekFrom::Start(at))?;
                file.write_all(slot)?;
            }
        }
        Ok(())
    }
}

fn split(slot: &[u8]) -> (u64, u32) {
    let key = slot.first_chunk().expect("a slot is 12 bytes");
    let value = slot.last_chunk().expect("a slot is 12 bytes");
    (u64::from_le_bytes(*key), u32::from_le_bytes(*value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_is_a_map_also_after_growing() {
        let temp = tempfile::tempdir().unwrap();
        let mut map = DiskMap::new(temp.path()).unwrap();
        let mut model = HashMap::new();
        for i in 0..150_000u64 {
            let key = fingerprint(&(i % 70_000).to_le_bytes());
            let before = model.get(&key).copied();
            assert_eq!(map.get_or_insert(key, i as u32).unwrap(), before);
            model.entry(key).or_insert(i as u32);
        }
        map.set(0, 5).unwrap();
        map.set(u64::MAX, 6).unwrap();
        map.set(0, 7).unwrap();
        assert_eq!(
            (map.get(0).unwrap(), map.get(u64::MAX).unwrap(), map.get(2).unwrap()),
            (Some(7), Some(6), None)
        );
        assert!(model.iter().all(|(key, value)| map.get(*key).unwrap() == Some(*value)));
    }
}
