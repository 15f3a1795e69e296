//! The worker thread of the workbench: settings, folders and the registry are read here.

use super::Msg;
use super::effects::{Load, Loaded};
use crate::config::{TrainConfig, layers};
use crate::data::registry::Registry;
use crate::demo::DemoPaths;
use crate::engine::watch::{self, SOCKET};
use crate::error::{Error, Kind, Result};
use crate::runs::{adapters, of_workspace};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

/// Starts the thread; requests are answered in order.
pub fn start(out: Sender<Msg>) -> Sender<Load> {
    let (requests, inbox) = channel();
    std::thread::Builder::new()
        .name("loader".into())
        .spawn(move || {
            for load in inbox {
                // A panic on a strange file must not take the thread, and with it all loading, away.
                let send = |loaded| out.send(Msg::Loaded(loaded)).is_ok();
                let workspace = matches!(load, Load::Workspace(_));
                let _ = catch_unwind(AssertUnwindSafe(|| answer(load, &send)));
                if workspace {
                    send(Loaded::Workspace);
                }
            }
        })
        .expect("the system can start a thread");
    requests
}

fn answer(load: Load, send: &dyn Fn(Loaded) -> bool) {
    match load {
        Load::Workspace(dir) => {
            let mut runs = vec![of_workspace(&dir)];
            let settings = Some(dir.join("demo.yaml")).filter(|file| file.exists());
            match settings.map(|file| layers::load(Some(&file), &[])) {
                Some(Ok(config)) => {
                    let config = at_home(config, &dir);
                    runs.extend(config.output_dir.parent().map(Path::to_path_buf));
                    send(Loaded::Config(Box::new(config)));
                }
                Some(Err(error)) => {
                    send(Loaded::Trouble(error));
                }
                None => {}
            }
            send(Loaded::Adapter(newest_adapter(&of_workspace(&dir))));
            if dir.join("data").join("dataset_info.json").exists() {
                send(Loaded::Registry(registry(&dir.join("data"))));
            }
            if let Some(run) = running(&runs) {
                send(Loaded::Running(run));
            }
        }
        Load::Registry(dir) => {
            send(Loaded::Registry(registry(&dir)));
        }
        Load::Adapter(dir) => {
            send(Loaded::Adapter(newest_adapter(&of_workspace(&dir))));
        }
        Load::Demo(dir) => {
            send(Loaded::Demo(guarded("the demo", || demo(&dir))));
        }
        Load::Files(typed) => {
            send(Loaded::Files(files(&typed)));
        }
        Load::FreeRunDir(config) => {
            send(Loaded::FreeRunDir(free_run_dir(config)));
        }
        Load::Runs(ask) => {
            send(Loaded::Runs(super::run_worker::answer(ask)));
        }
        Load::Talk(ask) => {
            send(Loaded::Talk(super::talk_worker::answer(ask)));
        }
        Load::Settings(ask) => {
            send(Loaded::Settings(super::settings_worker::answer(ask)));
        }
    }
}

/// A panic as an error, so that the screen does not wait for ever.
fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::internal(format!("bug: reading {what} stopped with a panic"))
            .hint("see lorascope.log in the workspace"))
    })
}

fn registry(dir: &Path) -> Result<Vec<String>> {
    Ok(Registry::open(dir)?.names().iter().map(ToString::to_string).collect())
}

fn demo(workspace: &Path) -> Result<(DemoPaths, Box<TrainConfig>)> {
    let paths = crate::demo::unpack(workspace)?;
    let config = layers::load(Some(&paths.config), &[])?;
    Ok((paths, Box::new(at_home(config, workspace))))
}

/// Relative paths of a workspace's own settings start at the workspace, wherever the program was started.
fn at_home(mut config: TrainConfig, workspace: &Path) -> TrainConfig {
    let home = |path: &mut PathBuf| {
        if path.is_relative() && !path.as_os_str().is_empty() && !path.starts_with(workspace) {
            *path = workspace.join(&*path);
        }
    };
    home(&mut config.model_name_or_path);
    home(&mut config.dataset_dir);
    home(&mut config.output_dir);
    config.media_dir.as_mut().map(home);
    config
}

/// The run below one of these folders that a process works on, the one begun last.
fn running(roots: &[PathBuf]) -> Option<PathBuf> {
    let sockets = roots.iter().flat_map(|root| {
        let pattern = format!("{}/**/{SOCKET}", glob::Pattern::escape(&root.to_string_lossy()));
        glob::glob(&pattern).into_iter().flatten().flatten()
    });
    let runs = sockets.filter_map(|socket| socket.parent().map(Path::to_path_buf));
    let begun = |run: &PathBuf| run.join(SOCKET).metadata().and_then(|m| m.modified()).ok();
    runs.filter(|run| watch::is_running(run)).max_by_key(begun)
}

/// The newest adapter of a workspace.
fn newest_adapter(runs: &Path) -> Option<PathBuf> {
    adapters::newest_first(runs).into_iter().next()
}

/// What a user typed, as paths: spaces or commas between, `~` and globs as in a shell.
fn files(typed: &str) -> Result<Vec<PathBuf>> {
    let home = std::env::var("HOME").unwrap_or_default();
    let mut found = Vec::new();
    for part in typed.split([' ', ',']).filter(|p| !p.is_empty()) {
        let path = part.strip_prefix("~/").map_or_else(|| part.to_string(), |rest| format!("{home}/{rest}"));
        if Path::new(&path).exists() {
            found.push(PathBuf::from(path));
            continue;
        }
        let paths = glob::glob(&path).map_err(|e| Error::usage(format!("{part}: {e}")))?;
        let before = found.len();
        found.extend(paths.flatten());
        if found.len() == before {
            return Err(
                Error::input(format!("no such file: {part}")).hint("check the path for a typing error")
            );
        }
    }
    Ok(found)
}

/// The run folder to train in: the wanted one if it is free or holds a run that was stopped (which goes on from its
/// newest checkpoint), else the first of -2, -3 and so on. The workbench never overwrites a run.
fn free_run_dir(mut config: Box<TrainConfig>) -> Result<Box<TrainConfig>> {
    config.overwrite_output_dir = false;
    if config.resume_from_checkpoint.is_some() {
        return Ok(config);
    }
    let wanted = config.output_dir.clone();
    for n in 1..10_000 {
        config.output_dir = if n == 1 { wanted.clone() } else { numbered(&wanted, n) };
        if !is_used(&config.output_dir) || was_stopped(&config.output_dir) {
            return Ok(config);
        }
    }
    Err(Error::new(Kind::Io, format!("too many runs beside {}", wanted.display()))
        .hint("set another output_dir"))
}

fn is_used(dir: &Path) -> bool {
    dir.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

/// A run that has a checkpoint but no results, and that nobody works on.
fn was_stopped(dir: &Path) -> bool {
    let Ok(entries) = dir.read_dir() else { return false };
    let checkpoint = |name: &str| name.starts_with("checkpoint-");
    let has_checkpoint = entries.flatten().any(|e| e.file_name().to_str().is_some_and(checkpoint));
    has_checkpoint && !dir.join("train_results.json").exists() && !crate::runs::lock::is_held(dir)
}

fn numbered(dir: &Path, n: usize) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{name}-{n}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_used_run_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut config =
            Box::new(TrainConfig { output_dir: dir.path().join("demo"), ..TrainConfig::default() });
        assert_eq!(free_run_dir(config.clone()).unwrap().output_dir, dir.path().join("demo"));
        crate::files::write(&dir.path().join("demo/trainer_log.jsonl"), b"{}").unwrap();
        assert_eq!(free_run_dir(config.clone()).unwrap().output_dir, dir.path().join("demo-2"));
        config.overwrite_output_dir = true;
        let free = |config: &TrainConfig| free_run_dir(Box::new(config.clone())).unwrap();
        assert_eq!(
            free(&config).output_dir,
            dir.path().join("demo-2"),
            "also when the settings say overwrite"
        );
        assert!(!free(&config).overwrite_output_dir);
        crate::files::write(&dir.path().join("demo/checkpoint-5/adapter_config.json"), b"{}").unwrap();
        assert_eq!(free(&config).output_dir, dir.path().join("demo"), "a stopped run goes on");
        crate::files::write(&dir.path().join("demo/train_results.json"), b"{}").unwrap();
        assert_eq!(free(&config).output_dir, dir.path().join("demo-2"), "a finished one is left alone");
    }

    #[test]
    fn the_newest_adapter_is_found_also_in_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest_adapter(dir.path()), None);
        let checkpoint = dir.path().join("runs/a/checkpoint-5");
        crate::files::write(&checkpoint.join("adapter_config.json"), b"{}").unwrap();
        assert_eq!(newest_adapter(&of_workspace(dir.path())), Some(checkpoint));
    }
}
