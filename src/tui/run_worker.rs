//! The runs on disk: listed, opened, compared, exported, imported and deleted on the worker's thread.

use super::state::run::Run;
use crate::config::{TrainConfig, layers};
use crate::data::clean;
use crate::error::{Error, Result};
use crate::job::Event;
use crate::runs::delete::{self, Doomed};
use crate::runs::export::{self, View};
use crate::runs::read::EvalPoint;
use crate::runs::{
    Columns, Comparison, Curve, Detail, EVALUATED, EVALUATED_SO_FAR, EVENTS, Status, TRAINING_ARGS, detail,
    events, import,
};
use std::path::{Path, PathBuf};

/// Something to do with runs.
#[derive(Clone, Debug)]
pub enum Ask {
    List(PathBuf),
    Open {
        dir: PathBuf,
        status: Status,
    },
    Compare {
        root: PathBuf,
        dirs: Vec<PathBuf>,
    },
    /// What deleting them would take away.
    Doom(Vec<PathBuf>),
    Delete(Vec<PathBuf>),
    Import {
        from: PathBuf,
        into: PathBuf,
    },
    Export {
        path: PathBuf,
        dirs: Vec<PathBuf>,
        view: View,
    },
    /// The settings to go on with from this checkpoint.
    Resume {
        dir: PathBuf,
        checkpoint: PathBuf,
    },
}

/// What came of it.
pub enum Told {
    Listed(Result<Vec<Detail>>),
    Opened(Result<Box<Run>>),
    Compared(Result<Box<Comparison>>),
    Doomed(Result<Vec<Doomed>>),
    Deleted(Result<usize>),
    Imported(Result<PathBuf>),
    Exported(Result<PathBuf>),
    Resumed(Result<Box<TrainConfig>>),
}

pub fn answer(ask: Ask) -> Told {
    match ask {
        // A workspace has no runs before its first.
        Ask::List(root) if !root.exists() => Told::Listed(Ok(Vec::new())),
        Ask::List(root) => Told::Listed(detail::all(&root)),
        Ask::Open { dir, status } => Told::Opened(open(&dir, status).map(Box::new)),
        Ask::Compare { root, dirs } => Told::Compared(Comparison::read(&root, &dirs).map(Box::new)),
        Ask::Doom(dirs) => Told::Doomed(dirs.iter().map(|dir| delete::look(dir)).collect()),
        Ask::Delete(dirs) => {
            let deleted: Result<Vec<_>> = dirs.iter().map(|dir| delete::delete(dir)).collect();
            Told::Deleted(deleted.map(|all| all.len()))
        }
        Ask::Import { from, into } => Told::Imported(import::import(&from, &into, None)),
        Ask::Export { path, dirs, view } => Told::Exported(export(&path, &dirs, view).map(|()| path)),
        Ask::Resume { dir, checkpoint } => Told::Resumed(resume(dir, checkpoint)),
    }
}

/// The run as its folder tells it: every event of ours, the curve of another program's.
fn open(dir: &Path, status: Status) -> Result<Run> {
    let mut run = Run::of_folder(dir.to_path_buf(), status);
    run.config = layers::load(Some(&dir.join(TRAINING_ARGS)), &[]).ok().map(Box::new);
    if dir.join(EVENTS).exists() {
        events::each(dir).for_each(|event| run.on_event(event));
    } else {
        let curve = Curve::read(dir)?;
        let mut evals = curve.evals.into_iter().peekable();
        let mut scored = |run: &mut Run, up_to: usize| {
            while let Some(EvalPoint { step, name, value }) = evals.next_if(|e| e.step <= up_to) {
                run.on_event(Event::Score { name, value, step: Some(step) });
            }
        };
        for row in curve.steps {
            let step = row.step;
            run.on_event(Event::Step(row));
            scored(&mut run, step);
        }
        scored(&mut run, usize::MAX);
    }
    run.run_dir = dir.to_path_buf();
    run.evaluation =
        run.last.is_none() && [EVALUATED, EVALUATED_SO_FAR].iter().any(|name| dir.join(name).exists());
    run.curves.smooth();
    Ok(run)
}

fn export(path: &Path, dirs: &[PathBuf], view: View) -> Result<()> {
    let mut runs = Vec::new();
    for dir in dirs {
        let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
        runs.push((clean::for_terminal(&name), Columns::of(&Curve::read(dir)?)));
    }
    let named: Vec<(String, &Columns)> = runs.iter().map(|(name, columns)| (name.clone(), columns)).collect();
    export::write(path, &named, view)
}

fn resume(dir: PathBuf, checkpoint: PathBuf) -> Result<Box<TrainConfig>> {
    let args = dir.join(TRAINING_ARGS);
    if !args.exists() {
        return Err(Error::input(format!("{} does not tell its settings", dir.display()))
            .hint("set them in the parameters, with resume_from_checkpoint"));
    }
    let mut config = layers::load(Some(&args), &[])?;
    (config.output_dir, config.resume_from_checkpoint) = (dir, Some(checkpoint));
    config.overwrite_output_dir = false;
    Ok(Box::new(config))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::runs::Axis;

    #[test]
    fn a_run_of_llama_factory_opens_with_its_curves() {
        let dir = tempfile::tempdir().unwrap();
        let log = "{\"current_steps\": 1, \"total_steps\": 2, \"loss\": 2.5, \"lr\": 1e-4, \"epoch\": 0.5}\n\
                   {\"current_steps\": 1, \"total_steps\": 2, \"eval_loss\": 2.0, \"epoch\": 0.5}\n\
                   {\"current_steps\": 2, \"total_steps\": 2, \"loss\": 1.5, \"lr\": 5e-5, \"epoch\": 1.0}\n";
        crate::files::write(&dir.path().join("trainer_log.jsonl"), log.as_bytes()).unwrap();
        let run = open(dir.path(), Status::Unknown).unwrap();
        assert_eq!(run.curves.axis(Axis::Step).values(), [1.0, 2.0]);
        assert_eq!((run.curves.evals.values(), run.curves.smooth.len()), ([2.0].as_slice(), 2));
        assert!(!run.alive() && run.word() == "unknown");
    }

    #[test]
    fn going_on_takes_the_runs_own_settings() {
        let dir = tempfile::tempdir().unwrap();
        let resume = || resume(dir.path().into(), dir.path().join("checkpoint-4"));
        assert!(resume().unwrap_err().message.contains("settings"));
        crate::files::write(&dir.path().join(TRAINING_ARGS), b"lora_rank: 24\noutput_dir: /elsewhere\n")
            .unwrap();
        let config = resume().unwrap();
        assert_eq!((config.lora_rank, config.output_dir.as_path()), (24, dir.path()));
        assert_eq!(config.resume_from_checkpoint, Some(dir.path().join("checkpoint-4")));
    }
}
