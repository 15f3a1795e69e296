//! Which validation sets a training set is compared with.

use crate::data::reader::Reader;
use crate::data::registry::Registry;
use crate::error::{Kind, Result};
use crate::job::{CheckJob, Emit, Event, Level};
use std::sync::atomic::AtomicBool;

/// What `train` in a name may be in the name of its validation set.
const SIBLINGS: [&str; 6] = ["val", "valid", "validation", "eval", "test", "heldout"];

/// Opens the sets that are named, else the configuration's `eval_dataset`, else registered siblings.
///
/// # Errors
/// A set that was named for this check cannot be opened; others are told and left out.
pub(super) fn open(job: &CheckJob, stop: &AtomicBool, emit: Emit) -> Result<Vec<Reader>> {
    let open = |name: &String| super::open(job, name, stop, emit);
    if !job.against.is_empty() {
        return job.against.iter().map(open).collect();
    }
    let mut names = job.config.eval_dataset.clone();
    if names.is_empty() {
        names = siblings(&job.dataset, &Registry::open(&job.dataset_dir)?.names());
    }
    names.retain(|name| *name != job.dataset);
    let mut others = Vec::new();
    for name in &names {
        match open(name) {
            Ok(reader) => others.push(reader),
            Err(error) if error.kind == Kind::Stopped => return Err(error),
            Err(error) => {
                let line = format!("not compared with {name}: {}", error.message);
                emit(Event::Log { level: Level::Warning, line });
            }
        }
    }
    Ok(others)
}

/// Registered names that are this one with another word for its last `train`.
fn siblings(name: &str, registered: &[&str]) -> Vec<String> {
    let Some((before, after)) = name.rsplit_once("train") else { return Vec::new() };
    let names = SIBLINGS.map(|word| format!("{before}{word}{after}"));
    names.into_iter().filter(|name| registered.contains(&name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::siblings;

    #[test]
    fn the_validation_set_of_a_training_set_is_found_by_name() {
        let registered = ["mllm_train_data", "mllm_val_data", "strain_val", "other"];
        assert_eq!(siblings("mllm_train_data", &registered), ["mllm_val_data"]);
        assert_eq!(siblings("strain_train", &registered), ["strain_val"]);
        assert!(siblings("mllm_val_data", &registered).is_empty());
    }
}
