//! The parallel part of a conversion: rows in bounded batches, each picture brought into its final form.

use super::super::special;
use super::disk_map::fingerprint;
use super::inputs::Inputs;
use super::parquet::{Id, Image, Item, OpenShard, Row, Shard};
use super::pick::Pick;
use super::picture_file::{self, Picture, Refusal};
use super::row_notes::Reason;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

/// Rows and picture bytes that one batch holds at most. Up to four exist at a time: one being read, one waiting, one being
/// decoded, one being written.
const BATCH_ROWS: usize = 128;
const BATCH_BYTES: usize = 2 << 20;

/// A picture file outside the parquet file that is larger is not read.
const MAX_FILE: u64 = 1 << 30;

/// An item and the file it is from.
pub(super) type Loaded = (usize, Item);

/// A row: the number of its file, and its number there.
pub(super) type Position = (usize, usize);

/// What became of an item after the parallel part.
pub(super) struct Made {
    pub file: usize,
    pub row: usize,
    pub id: Id,
    pub result: Result<Kept, Refusal>,
    /// More than 1 only for rows that are lost together.
    pub count: usize,
}

pub(super) struct Kept {
    pub picture: Picture,
    /// Fingerprints of the picture as it came, and as it is written.
    pub source: u64,
    pub written: u64,
    pub group: Option<u64>,
    pub caption: String,
}

/// Sends the rows that are picked, from the position `from` on, in batches until all are read or nobody listens.
pub(super) fn read_batches(
    inputs: &Inputs,
    mut pick: Pick,
    from: Position,
    sender: &SyncSender<Vec<Loaded>>,
) {
    let mut batches = Batches { sender, batch: Vec::new(), bytes: 0 };
    for (file, shard) in inputs.shards.iter().enumerate() {
        if pick.is_done() {
            break;
        }
        if file < from.0 {
            pick.next(shard.rows);
        } else if !read_shard(file, (shard, inputs), &mut pick, from, &mut batches) {
            return;
        }
    }
    batches.flush();
}

/// Reads one file; `false` when nobody listens any more.
fn read_shard(
    file: usize,
    (shard, inputs): (&Shard, &Inputs),
    pick: &mut Pick,
    from: Position,
    batches: &mut Batches,
) -> bool {
    let open = match OpenShard::open(&shard.path, &inputs.columns) {
        Ok(open) => open,
        Err(error) => {
            let wanted = pick.next(shard.rows);
            let lost = Item::Lost { first: 0, count: shard.rows, detail: error.message };
            return wanted_part(lost, &wanted, 0).is_none_or(|lost| batches.push((file, lost)));
        }
    };
    let mut first = 0;
    for (group, rows) in open.groups().enumerate() {
        let wanted = pick.next(rows);
        let end = first + rows;
        if wanted.contains(&true) && (file, end) > from {
            for item in open.rows(group, first).filter_map(|item| wanted_part(item, &wanted, first)) {
                if (file, item.row()) >= from && !batches.push((file, item)) {
                    return false;
                }
            }
        }
        first = end;
    }
    true
}

/// The item if it is picked; of rows that are lost together those that are.
fn wanted_part(item: Item, wanted: &[bool], first: usize) -> Option<Item> {
    let is_wanted = |row: &usize| wanted.get(row - first).copied().unwrap_or(false);
    match item {
        Item::Lost { first, count, detail } => {
            let mut rows = (first..first + count).filter(is_wanted);
            let first = rows.next()?;
            Some(Item::Lost { first, count: 1 + rows.count(), detail })
        }
        item => is_wanted(&item.row()).then_some(item),
    }
}

/// Collects items and sends them on.
struct Batches<'a> {
    sender: &'a SyncSender<Vec<Loaded>>,
    batch: Vec<Loaded>,
    bytes: usize,
}

impl Batches<'_> {
    fn push(&mut self, loaded: Loaded) -> bool {
        if let Item::Row(Row { image: Image::Bytes(bytes), .. }) = &loaded.1 {
            self.bytes += bytes.len();
        }
        self.batch.push(loaded);
        (self.batch.len() < BATCH_ROWS && self.bytes < BATCH_BYTES) || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        self.sender.send(std::mem::take(&mut self.batch)).is_ok()
    }
}

/// What the parallel part needs to know.
pub(super) struct Maker<'a> {
    pub stop: &'a AtomicBool,
    pub max_pixels: u64,
    /// Resolved: no links in it.
    pub image_root: Option<PathBuf>,
}

impl Maker<'_> {
    /// The picture is checked and brought into its final form. `None` after a stop.
    pub fn make(&self, file: usize, item: Item) -> Option<Made> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        Some(match item {
            Item::Row(row) => {
                Made { file, row: row.row, id: row.id.clone(), result: self.keep(row), count: 1 }
            }
            Item::Bad { row, id, reason, detail } => {
                Made { file, row, id, result: Err((reason, detail)), count: 1 }
            }
            Item::Lost { first, count, detail } => {
                let result = Err((Reason::UnreadableRows, detail));
                Made { file, row: first, id: Id::Missing, result, count }
            }
        })
    }

    fn keep(&self, row: Row) -> Result<Kept, Refusal> {
        if special::media_marks(&row.caption) > 0 {
            return Err((Reason::MediaMark, "the caption holds <image>, <video> or <audio>".into()));
        }
        let image = match row.image {
            Image::Bytes(bytes) => bytes,
            Image::Path(path) => self.read(&path)?,
        };
        let source = fingerprint(&image);
        let picture = picture_file::normalise_up_to(image, self.max_pixels)?;
        let written = if picture.changed { fingerprint(&picture.bytes) } else { source };
        Ok(Kept { picture, source, written, group: row.group, caption: row.caption })
    }

    /// A picture file below the folder that the user named; links that lead out of it are not followed.
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal> {
        let outside = |why: &str| (Reason::PathOutside, format!("{why}: {path}"));
        let root = self.image_root.as_deref().ok_or_else(|| outside("no folder was named"))?;
        let file = root.join(Path::new(path)).canonicalize().map_err(|e| outside(&e.to_string()))?;
        if !file.starts_with(root) {
            return Err(outside("outside of the folder"));
        }
        // Devices and pipes could block for ever.
        if !file.is_file() {
            return Err(outside("not a file"));
        }
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes));
        match read {
            Err(e) => Err(outside(&e.to_string())),
            Ok(0) => Err((Reason::NoImageBytes, format!("empty file: {path}"))),
            Ok(n) if n as u64 > MAX_FILE => {
                Err((Reason::PictureTooLarge, format!("more than {MAX_FILE} bytes: {path}")))
            }
            Ok(_) => Ok(bytes),
        }
    }
}
