//! Rows of a matrix that are read from its file when they are wanted.

use super::convert::{self, Source};
use super::{Entry, Shard, Weights};
use crate::error::{At, Error, Result};
use rayon::prelude::*;
use safetensors::Dtype;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

/// A matrix in an open file.
pub struct StoredRows {
    file: File,
    path: PathBuf,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: [usize; 2],
}

impl StoredRows {
    fn new(shard: &Shard, entry: &Entry, shape: [usize; 2]) -> Result<Self> {
        let file = shard.file.try_clone().at("open", &shard.path)?;
        let (bytes, path) = (entry.bytes.clone(), shard.path.clone());
        Ok(Self { file, path, bytes, dtype: entry.dtype, shape })
    }

    /// Numbers in a row.
    pub fn columns(&self) -> usize {
        self.shape[1]
    }

    /// Rows in f32, one after another.
    ///
    /// # Errors
    /// The file was cut, or the disk is gone.
    pub fn read(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let all = Source::new(&self.file, self.bytes.clone(), self.dtype)
            .ok_or_else(|| Error::internal("only floats are opened"))?;
        let row = |row: &usize| {
            assert!(*row < self.shape[0], "token {row} of {}", self.shape[0]);
            convert::floats(all.part(*row, self.shape[0])).at("read", &self.path)
        };
        let rows: Vec<Vec<f32>> = rows.par_iter().map(row).collect::<Result<_>>()?;
        Ok(rows.concat())
    }
}

impl Weights {
    /// A matrix whose rows stay in the file.
    ///
    /// Errors: those of [`Weights::tensor`].
    pub fn stored_rows(&self, name: &str, shape: [usize; 2]) -> Result<StoredRows> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(self.wrong_shape(name, entry, &format!("{shape:?}")));
        }
        self.source(name, entry)?;
        StoredRows::new(&self.shards[entry.shard], entry, shape)
    }
}
