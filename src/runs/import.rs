//! Takes a run of LLaMA-Factory (or one from elsewhere) in: its records and its adapter, not its checkpoints.

use super::{EVENTS, LOCK, TRAINER_LOG, TRAINER_STATE, read};
use crate::error::{At, Error, Result};
use crate::files;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Says where an imported run came from.
pub const IMPORTED: &str = "imported.json";

/// Copies the run in `from` to a new folder below `into`, named `name` or as it was called; gives the folder.
/// Files at its top are copied, checkpoints and other folders are not.
///
/// Errors: no run in `from`; the name is taken; a file that cannot be copied. Then nothing is left behind.
pub fn import(from: &Path, into: &Path, name: Option<&str>) -> Result<PathBuf> {
    let from = &from.canonicalize().at("read", from)?;
    check(from)?;
    let own = from.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.unwrap_or(&own);
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
        return Err(Error::usage(format!("not a name for a run: {name:?}")).hint("give it one with --name"));
    }
    let to = into.join(name);
    if to.exists() {
        return Err(Error::usage(format!("{} is there already", to.display()))
            .hint("give the run another name with --name"));
    }
    std::fs::create_dir_all(into).at("create", into)?;
    let made = tempfile::Builder::new().prefix(".lorascope-import-").tempdir_in(into).at("create", into)?;
    copy_files(from, made.path())?;
    files::write_json(&made.path().join(IMPORTED), &json!({ "from": from }))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The temporary folder was made for its owner alone.
        let _ = std::fs::set_permissions(made.path(), std::fs::Permissions::from_mode(0o755));
    }
    std::fs::rename(made.path(), &to).at("create", &to)?;
    files::sync_dir(into);
    Ok(to)
}

/// A run that can be read: it has a log with something in it.
fn check(from: &Path) -> Result<()> {
    let curve = read::Curve::read(from)?;
    if curve.is_empty() {
        return Err(Error::input(format!("{} holds no logged step", from.display()))
            .hint(format!("an output folder of LLaMA-Factory has {TRAINER_LOG} or {TRAINER_STATE}")));
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).at("read", from)? {
        let entry = entry.at("read", from)?;
        let path = entry.path();
        // The copy is nobody's work: no lock, no socket. The times stay, so that its age is the run's.
        let name = entry.file_name();
        if !path.is_file() || name.to_string_lossy() == LOCK {
            continue;
        }
        let target = to.join(&name);
        std::fs::copy(&path, &target).at("copy", &path)?;
        let changed = path.metadata().and_then(|m| m.modified()).at("read", &path)?;
        let copy = std::fs::File::options().write(true).open(&target).at("write", &target)?;
        // A file system that keeps no times is no reason to fail.
        let _ = copy.set_modified(changed);
        if [EVENTS, TRAINER_LOG, TRAINER_STATE].iter().any(|n| name.to_string_lossy() == *n) {
            copy.sync_all().at("write", &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::runs::Curve;

    const LOG: &[u8] =
        b"{\"current_steps\": 1, \"total_steps\": 2, \"loss\": 2.5, \"lr\": 1e-4, \"epoch\": 0.5}\n";

    #[test]
    fn records_come_over_and_checkpoints_stay() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("saves/lf-run");
        crate::files::write(&from.join(TRAINER_LOG), LOG).unwrap();
        crate::files::write(&from.join("adapter_model.safetensors"), b"x").unwrap();
        crate::files::write(&from.join("checkpoint-2/optimizer.pt"), b"x").unwrap();
        let into = root.path().join("runs");
        let to = import(&from, &into, None).unwrap();
        assert_eq!(to, into.join("lf-run"));
        assert_eq!(Curve::read(&to).unwrap().losses(), [2.5]);
        assert!(to.join("adapter_model.safetensors").exists() && !to.join("checkpoint-2").exists());
        assert!(import(&from, &into, None).unwrap_err().message.contains("there already"));
        assert!(import(&from, &into, Some("../x")).is_err());
        assert!(import(&from, &into, Some("other")).is_ok());
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 2, "nothing half-made is left");
    }

    #[test]
    fn a_folder_without_a_run_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(import(root.path(), &root.path().join("runs"), None).is_err());
        crate::files::write(&root.path().join("a").join(TRAINER_LOG), b"").unwrap();
        let empty = import(&root.path().join("a"), &root.path().join("runs"), None).unwrap_err();
        assert!(empty.message.contains("no logged step"));
    }
}
