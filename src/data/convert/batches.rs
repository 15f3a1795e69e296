//! The parallel part of a conversion: rows in bounded batches, each picture brought into its final form.

use super::super::special;
use super::parquet::{Id, Item, Row, Shard};
use super::picture_file::{self, Picture, Refusal};
use super::row_notes::Reason;
use super::split::PictureHash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

/// Rows and picture bytes that one parallel batch holds at most; the reader is at most two batches ahead.
const BATCH_ROWS: usize = 256;
const BATCH_BYTES: usize = 64 << 20;

/// An item and the file it is from.
pub(super) type Loaded = (usize, Item);

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
    pub hash: PictureHash,
    pub caption: String,
}

/// Sends the rows of all files in batches until all are read or nobody listens.
pub(super) fn read_batches(shards: &[Shard], sender: &SyncSender<Vec<Loaded>>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (file, shard) in shards.iter().enumerate() {
        for item in shard.rows() {
            if let Item::Row(row) = &item {
                bytes += row.image.len();
            }
            batch.push((file, item));
            if batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                bytes = 0;
                if sender.send(std::mem::take(&mut batch)).is_err() {
                    return;
                }
            }
        }
    }
    // Nobody listening means the conversion has ended; that is not this thread's error.
    let _ = sender.send(batch);
}

/// The parallel part: the picture is checked and brought into its final form.
pub(super) fn make(file: usize, item: Item, stop: &AtomicBool) -> Option<Made> {
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    Some(match item {
        Item::Row(Row { row, id, image, caption }) => {
            Made { file, row, id, result: keep(image, caption), count: 1 }
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

fn keep(image: Vec<u8>, caption: String) -> Result<Kept, Refusal> {
    if special::media_marks(&caption) > 0 {
        return Err((Reason::MediaMark, "the caption holds <image>, <video> or <audio>".into()));
    }
    let mut hash = PictureHash::default();
    hash.copy_from_slice(&blake3::hash(&image).as_bytes()[..16]);
    Ok(Kept { picture: picture_file::normalise(image)?, hash, caption })
}
