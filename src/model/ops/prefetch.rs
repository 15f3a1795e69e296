//! Asking for memory before it is needed.
//!
//! Why `unsafe` here: the processor's instruction is to be had with a pointer only. Measured where every row of a matrix is read once
//! (126 MB, two cores, AVX2): 4.7 ms instead of 5.6 for one row of the small operand, 6.0 instead of 7.9 for eight.

/// Bytes ahead of what is being read.
const AHEAD: usize = 4096;

/// Asks for the line of the cache that lies [`AHEAD`] bytes behind the first of `data`. Past the end of a slice it is in vain and harmless.
#[inline(always)]
#[allow(unsafe_code)]
pub fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = data.as_ptr().cast::<i8>().wrapping_add(AHEAD);
        // SAFETY: a prefetch neither reads nor writes what a program can see and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}
