//! A conversation with its pictures, as the registry hands it to template, check and browser.

use super::source::Embedded;
use crate::error::{At, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Who speaks. LLaMA-Factory's roles after its tags were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    Observation,
    Function,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// Where a picture's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRef {
    Path(PathBuf),
    Bytes(Arc<[u8]>),
    /// In a parquet file, read when it is needed.
    Embedded(Embedded),
}

impl ImageRef {
    /// The picture of this name: a file, or one in a parquet file (`scans.parquet#image:12`).
    ///
    /// # Errors
    /// The parquet file cannot be read, or has no such column or row.
    pub fn named(path: PathBuf) -> Result<Self> {
        match path.to_str().map(Embedded::find).transpose()?.flatten() {
            Some(picture) if !path.exists() => Ok(ImageRef::Embedded(picture)),
            _ => Ok(ImageRef::Path(path)),
        }
    }

    /// The picture's file as it is stored.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bytes(&self) -> Result<Arc<[u8]>> {
        match self {
            ImageRef::Path(path) => Ok(std::fs::read(path).at("read the picture", path)?.into()),
            ImageRef::Bytes(bytes) => Ok(bytes.clone()),
            ImageRef::Embedded(picture) => picture.bytes(),
        }
    }
}

/// One row of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Row in its file, from 0.
    pub row: usize,
    /// The row's own id if it has one, else the picture's file stem, else `row N`.
    pub id: String,
    pub system: Option<String>,
    pub messages: Vec<Message>,
    pub images: Vec<ImageRef>,
}
