//! Mapping a file into memory.

use crate::error::{At, Result};
use memmap2::Mmap;
use std::fs::File;
use std::path::Path;

/// Maps `file`, opened from `path`, read-only. Pages are read when they are first touched.
#[allow(unsafe_code)]
pub fn map(file: &File, path: &Path) -> Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process's reads. What the type system cannot rule out is
    // another program that shortens or rewrites the file meanwhile: shortened, a read beyond the new end ends the
    // process (SIGBUS); rewritten, other weights are read. Every reader of weights by mmap accepts that.
    unsafe { Mmap::map(file) }.at("map", path)
}
