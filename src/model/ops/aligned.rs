//! Memory that begins where a cache line does: a vector read across two lines costs two reads.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;
const NUMBERS: usize = LINE / size_of::<f32>();

/// Numbers from the first cache line of a `Vec` on.
#[derive(Default)]
pub struct Aligned {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub fn zeros(len: usize) -> Self {
        let mut new = Self::default();
        new.resize(len);
        new
    }

    /// Becomes `len` numbers: what is there stays where the memory is enough, or zeros.
    pub fn resize(&mut self, len: usize) {
        if self.data.len() < len + NUMBERS {
            // Not grown in place: nobody wants what is in it.
            self.data = vec![0.0; len + NUMBERS];
            // By its contract the offset may be unknown; then it is only slower.
            self.start = Some(self.data.as_ptr().align_offset(LINE)).filter(|at| *at < NUMBERS).unwrap_or(0);
        }
        self.len = len;
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..][..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_a_line_whatever_its_size() {
        let mut memory = Aligned::zeros(3);
        for len in [3, 0, 1000, 17, 100_000] {
            memory.resize(len);
            assert_eq!(memory.len(), len);
            assert_eq!(memory.as_ptr() as usize % LINE, 0, "{len}");
            memory.fill(1.0);
        }
    }
}
