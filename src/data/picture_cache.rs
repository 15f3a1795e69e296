//! What is known of the pictures of a data folder, kept beside the data so that nothing is read or decoded twice.

use super::picture_look::{self, ContentHash, Depth, Flaw, Look};
use super::sample::ImageRef;
use crate::error::{Error, Result};
use image::ImageFormat;
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The file's name in the data folder.
pub const FILE_NAME: &str = ".lorascope-pictures";

/// The first bytes of the file, with its version.
const MAGIC: &[u8; 8] = b"LSPICS01";

/// key, size of the file, time of change, length of the picture, hash, width, height, format, depth.
const RECORD: usize = 16 + 8 + 8 + 8 + 16 + 4 + 4 + 1 + 1;

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::WebP,
];

/// A file that changed this short a time ago may change again without its time telling: it is not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// Sound pictures by path. A file is the same while its size and its time of change are.
pub struct PictureCache {
    /// Where it is kept; in memory alone if there is no folder.
    dir: Option<PathBuf>,
    known: RwLock<HashMap<[u8; 16], Known>>,
    changed: AtomicBool,
}

#[derive(Clone, Copy)]
struct Known {
    stamp: Stamp,
    look: Look,
}

/// Size in bytes, and time of change in nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    changed: u64,
}

impl PictureCache {
    /// What is known of the pictures of the data folder `dir`. A missing or damaged file is an empty cache.
    pub fn open(dir: Option<&Path>) -> Self {
        let known = dir.map(|d| read(&d.join(FILE_NAME))).unwrap_or_default();
        Self { dir: dir.map(Path::to_path_buf), known: RwLock::new(known), changed: AtomicBool::new(false) }
    }

    /// Looks at a picture, or knows already what would be seen. Flawed pictures are looked at each time.
    pub fn look(&self, image: &ImageRef, depth: Depth) -> Result<Look, (Flaw, Error)> {
        let (file, inside) = match image {
            ImageRef::Path(path) => (path.as_path(), String::new()),
            ImageRef::Embedded(picture) => (picture.file(), picture.name()),
            ImageRef::Bytes(_) => return picture_look::look(image, depth),
        };
        let (key, stamp) = (self.key(file, &inside), stamp(file));
        let known = self.known.read().expect("no panic while it is held").get(&key).copied();
        if let (Some(known), Some(stamp)) = (known, stamp)
            && known.stamp == stamp
            && known.look.depth >= depth
        {
            return Ok(known.look);
        }
        let look = picture_look::look(image, depth)?;
        if let Some(stamp) = stamp.filter(|s| is_settled(*s)) {
            self.known.write().expect("no panic while it is held").insert(key, Known { stamp, look });
            self.changed.store(true, Ordering::Relaxed);
        }
        Ok(look)
    }

    /// Keeps what was learned. What another process has kept meanwhile stays.
    ///
    /// # Errors
    /// The folder cannot be written to: the next pass has to look again, nothing else is lost.
    pub fn save(&self) -> Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let path = dir.join(FILE_NAME);
        let mut all = read(&path);
        all.extend(self.known.read().expect("no panic while it is held").iter());
        let mut bytes = MAGIC.to_vec();
        bytes.reserve(all.len() * RECORD + 32);
        all.iter().for_each(|(key, known)| write(key, known, &mut bytes));
        let sum = blake3::hash(&bytes);
        bytes.extend(sum.as_bytes());
        crate::files::write_with(&path, |w| w.write_all(&bytes))
    }

    /// The path below the data folder, so that the folder can be moved, and the place `inside` the file, as a hash.
    fn key(&self, path: &Path, inside: &str) -> [u8; 16] {
        let below = self.dir.as_ref().and_then(|dir| path.strip_prefix(dir).ok()).unwrap_or(path);
        let mut hasher = blake3::Hasher::new();
        let inside = inside.rsplit_once('#').map_or(inside, |(_, place)| place);
        let whole =
            hasher.update(below.as_os_str().as_encoded_bytes()).update(b"#").update(inside.as_bytes());
        let whole = whole.finalize();
        *whole.as_bytes().first_chunk().expect("32 bytes hold 16")
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Stamp { bytes: meta.len(), changed: changed.as_nanos() as u64 })
}

fn is_settled(stamp: Stamp) -> bool {
    let changed = UNIX_EPOCH + Duration::from_nanos(stamp.changed);
    SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
}

fn read(path: &Path) -> HashMap<[u8; 16], Known> {
    let whole = |bytes: Vec<u8>| -> Option<HashMap<_, _>> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        let records = body.strip_prefix(MAGIC)?;
        (blake3::hash(body).as_bytes() == sum)
            .then(|| records.chunks_exact(RECORD).filter_map(parse).collect())
    };
    std::fs::read(path).ok().and_then(whole).unwrap_or_default()
}

fn write(key: &[u8; 16], known: &Known, to: &mut Vec<u8>) {
    let Known { stamp, look } = known;
    let format = FORMATS.iter().position(|f| *f == look.format).unwrap_or(FORMATS.len());
    to.extend(key);
    to.extend(stamp.bytes.to_le_bytes());
    to.extend(stamp.changed.to_le_bytes());
    to.extend(look.bytes.to_le_bytes());
    to.extend(look.hash);
    to.extend(look.width.to_le_bytes());
    to.extend(look.height.to_le_bytes());
    to.extend([format as u8, u8::from(look.depth == Depth::Pixels)]);
}

fn parse(record: &[u8]) -> Option<([u8; 16], Known)> {
    let (key, rest) = record.split_first_chunk::<16>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (changed, rest) = rest.split_first_chunk::<8>()?;
    let (bytes, rest) = rest.split_first_chunk::<8>()?;
    let (hash, rest) = rest.split_first_chunk::<16>()?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, rest) = rest.split_first_chunk::<4>()?;
    let [format, depth] = rest else { return None };
    let stamp = Stamp { bytes: u64::from_le_bytes(*size), changed: u64::from_le_bytes(*changed) };
    let look = Look {
        width: u32::from_le_bytes(*width),
        height: u32::from_le_bytes(*height),
        format: *FORMATS.get(usize::from(*format))?,
        bytes: u64::from_le_bytes(*bytes),
        hash: ContentHash::from(*hash),
        depth: if *depth == 1 { Depth::Pixels } else { Depth::Header },
    };
    Some((*key, Known { stamp, look }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;

    fn picture(dir: &Path, grey: u8, changed: Duration) -> ImageRef {
        let path = dir.join("a.png");
        image::GrayImage::from_pixel(40, 30, image::Luma([grey])).save(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + changed).unwrap();
        ImageRef::Path(path)
    }

    #[test]
    fn what_was_seen_is_known_until_the_file_changes() {
        let temp = tempfile::tempdir().unwrap();
        let (old, new) = (Duration::from_secs(1_000), Duration::from_secs(2_000));
        let image = picture(temp.path(), 1, old);
        let cache = PictureCache::open(Some(temp.path()));
        let first = cache.look(&image, Depth::Header).unwrap();
        cache.save().unwrap();

        // Spoilt behind its back: a cache that knows the file does not open it.
        let path = temp.path().join("a.png");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, vec![0; bytes.len()]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + old).unwrap();
        let cache = PictureCache::open(Some(temp.path()));
        assert_eq!(cache.look(&image, Depth::Header).unwrap(), first);
        assert!(cache.look(&image, Depth::Pixels).is_err(), "the pixels were never seen");

        picture(temp.path(), 2, new);
        let second = cache.look(&image, Depth::Header).unwrap();
        assert_ne!(second.hash, first.hash);
    }

    #[test]
    fn a_damaged_cache_and_a_fresh_file_are_not_trusted() {
        let temp = tempfile::tempdir().unwrap();
        let image = picture(temp.path(), 1, Duration::from_secs(1_000));
        let cache = PictureCache::open(Some(temp.path()));
        cache.look(&image, Depth::Pixels).unwrap();
        cache.save().unwrap();
        let path = temp.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(read(&path).len(), 1);
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(read(&path).is_empty());

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let image = picture(temp.path(), 1, now);
        let cache = PictureCache::open(None);
        cache.look(&image, Depth::Header).unwrap();
        assert!(cache.known.read().unwrap().is_empty());
    }
}
