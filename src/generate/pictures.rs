//! Features of the pictures that are talked about, kept until newer ones need the room.

use super::ask::Who;
use super::batch::Identity;
use crate::data::{ImageRef, windowed};
use crate::error::Result;
use crate::job::Brightness;
use crate::model::vision::VisionOutput;
use std::sync::Arc;

/// Bytes of features that are kept.
const LIMIT: usize = 512 << 20;

/// The features, the least recently used first.
#[derive(Default)]
pub struct Pictures {
    kept: Vec<Kept>,
}

struct Kept {
    identity: Identity,
    /// Seen through an adapter of the tower.
    tuned: bool,
    features: Arc<VisionOutput>,
}

impl Pictures {
    /// What tells a picture from others: its file, and the window it is seen through.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn identity(image: &ImageRef, seen: Option<Brightness>) -> Result<Identity> {
        let mut hash = blake3::Hasher::new();
        hash.update(&image.bytes()?);
        if let Some(seen) = seen {
            hash.update(format!("{seen:?}").as_bytes());
        }
        Ok(*hash.finalize().as_bytes())
    }

    /// The features of a picture, as the base model or the tuned one sees it.
    ///
    /// # Errors
    /// The picture cannot be read or decoded.
    pub fn see(
        &mut self,
        who: &Who,
        (image, seen): (&ImageRef, Option<Brightness>),
        identity: Identity,
        tuned: bool,
    ) -> Result<Arc<VisionOutput>> {
        // A tower without an adapter sees the same with and without one elsewhere.
        let tuned = tuned && who.model.vision_adapted();
        if let Some(at) = self.kept.iter().position(|k| k.identity == identity && k.tuned == tuned) {
            let found = self.kept.remove(at);
            let features = found.features.clone();
            self.kept.push(found);
            return Ok(features);
        }
        let through = seen.map(|window| windowed::png(image, window)).transpose()?;
        let through = through.map(|png| ImageRef::Bytes(png.into()));
        let patches = who.encoder.patches_of(std::slice::from_ref(through.as_ref().unwrap_or(image)))?;
        let features = Arc::new(who.model.see(&patches[0], who.adapter.filter(|_| tuned)));
        self.kept.push(Kept { identity, tuned, features: features.clone() });
        self.make_room();
        Ok(features)
    }

    /// Forgets what was seen through an adapter that is no longer there.
    pub fn forget_tuned(&mut self) {
        self.kept.retain(|k| !k.tuned);
    }

    fn make_room(&mut self) {
        let mut bytes: usize = self.kept.iter().map(|k| k.features.bytes()).sum();
        while bytes > LIMIT && self.kept.len() > 1 {
            bytes -= self.kept.remove(0).features.bytes();
        }
    }
}
