//! A conversation with its pictures, as the registry hands it to template, check and browser.

use super::source::Embedded;
use crate::error::{At, Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// The picture of this name: a file, one in a parquet file (`scans.parquet#image:12`), or a `data:` URL.
    ///
    /// # Errors
    /// The parquet file cannot be read, or has no such column or row; the URL is not base64.
    pub fn named(path: PathBuf) -> Result<Self> {
        if let Some(url) = path.to_str().and_then(|text| text.strip_prefix("data:")) {
            return of_url(url);
        }
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

/// The picture in what follows `data:` (RFC 2397), such as `image/png;base64,iVBORw0…`.
fn of_url(url: &str) -> Result<ImageRef> {
    let refuse = |why: String| {
        Error::input(format!("the picture's data URL {why}"))
            .hint("write it as data:image/png;base64, and the file in base64")
    };
    let Some((kind, coded)) = url.split_once(',') else { return Err(refuse("has no comma".into())) };
    if !kind.ends_with(";base64") {
        return Err(refuse("is not in base64".into()));
    }
    let bytes = STANDARD.decode(coded.trim()).map_err(|e| refuse(format!("is not base64: {e}")))?;
    Ok(ImageRef::Bytes(bytes.into()))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_data_url_is_its_bytes() {
        let found = ImageRef::named("data:image/png;base64,AAEC".into()).unwrap();
        assert_eq!(found, ImageRef::Bytes([0u8, 1, 2][..].into()));
        for bad in ["data:image/png,AAEC", "data:image/png;base64", "data:;base64,A*"] {
            assert!(ImageRef::named(bad.into()).unwrap_err().message.contains("data URL"), "{bad}");
        }
    }
}
