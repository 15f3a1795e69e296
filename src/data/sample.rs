//! A conversation with its pictures, as the registry hands it to template, check and browser.

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
