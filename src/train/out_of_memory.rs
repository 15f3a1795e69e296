//! A device that runs out of memory panics deep inside a backend; this makes an error of it that says what to do.

use super::clock::Part;
use crate::config::TrainConfig;
use crate::error::{Error, Kind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `work`. A panic about memory becomes its text; other panics go on.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|panic| match text(panic.as_ref()) {
        Some(text) if is_about_memory(text) => Err(text.to_string()),
        _ => resume_unwind(panic),
    })
}

fn text(panic: &(dyn std::any::Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Whether a panic's text is one of CUDA's, cubecl's or the allocator's about memory.
fn is_about_memory(text: &str) -> bool {
    let letters: String =
        text.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    // The last is what is read back from a GPU after an allocation failed: whatever was to lie there is missing.
    const WORDS: [&str; 5] = [
        "outofmemory",
        "buffertoobig",
        "memoryallocation",
        "cannotallocatememory",
        "memorylocationwasneverinitialized",
    ];
    WORDS.iter().any(|w| letters.contains(w))
}

/// Characters of a panic's text that are shown.
const SHOWN: usize = 120;

/// Where memory ran out: the part of the step, its micro-batch, and whether layers were computed again.
pub struct At {
    pub part: Option<Part>,
    pub samples: usize,
    pub tokens: usize,
    pub recomputed: bool,
}

/// The error: what was computed, how much memory is in use, and settings to change.
pub fn error(panic: &str, config: &TrainConfig, at: At, in_use: u64) -> Error {
    let At { part, samples, tokens, recomputed } = at;
    let doing = part.map_or("training", Part::name);
    let gib = in_use as f64 / f64::from(1 << 30);
    let first: String = panic.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
    let message = format!(
        "out of memory while {doing}: a micro-batch of {samples} samples and {tokens} tokens, {gib:.1} GiB in use ({first})"
    );
    let hint = match config.per_device_train_batch_size {
        1 => format!(
            "lower cutoff_len ({}) or image_max_pixels ({}); checkpoints are intact",
            config.cutoff_len, config.image_max_pixels
        ),
        batch => format!(
            "lower per_device_train_batch_size ({batch}) and raise gradient_accumulation_steps ({}) by as much, or \
             lower image_max_pixels ({}); checkpoints are intact",
            config.gradient_accumulation_steps, config.image_max_pixels
        ),
    };
    let first = if recomputed { "" } else { "set disable_gradient_checkpointing: false, or " };
    Error::new(Kind::Training, message).hint(format!("{first}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_about_memory_become_errors_and_others_go_on() {
        let texts = [
            "called `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "IoError::BufferTooBig { size: 9, backtrace: [..] }",
            "OutOfMemory { reason: .. }",
            "the loss is f32: StorageAccess(Read(\"The server is in an invalid state\\nCaused by:\\n  couldn't find \
             resource for that handle: Memory location was never initialized\"))",
        ];
        for text in texts {
            assert_eq!(catch(|| -> usize { panic!("{text}") }), Err(text.to_string()));
        }
        assert_eq!(catch(|| 3), Ok(3));
        let other = AssertUnwindSafe(|| catch(|| -> usize { panic!("index out of bounds") }));
        assert!(catch_unwind(other).is_err());
    }

    #[test]
    fn the_error_names_what_was_computed_and_two_settings() {
        let config = TrainConfig { per_device_train_batch_size: 16, ..TrainConfig::default() };
        let at = |part, samples, tokens, recomputed| At { part, samples, tokens, recomputed };
        let e =
            error("OutOfMemory { .. }\n at x", &config, at(Some(Part::Backward), 16, 9000, false), 3 << 30);
        assert_eq!(
            e.message,
            "out of memory while computing the backward pass: a micro-batch of 16 samples and 9000 tokens, 3.0 GiB \
             in use (OutOfMemory { .. })"
        );
        let hint = e.hint.unwrap_or_default();
        assert!(
            hint.contains("per_device_train_batch_size (16)") && hint.contains("image_max_pixels (589824)")
        );
        assert!(hint.starts_with("set disable_gradient_checkpointing: false"));
        let small = TrainConfig { per_device_train_batch_size: 1, ..config };
        let hint = error("x", &small, at(None, 1, 9, true), 0).hint.unwrap_or_default();
        assert!(hint.starts_with("lower cutoff_len (2048)"));
    }
}
