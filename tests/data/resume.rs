//! Conversions that are stopped, killed, out of disk, or left by others: they go on, and end as undisturbed ones do.

use super::fixture::{Row, convert_with, fixture, good_rows, job, png, tree, visible, write_parquet};
use lorascope::data::convert as data_convert;
use lorascope::data::registry::Registry;
use lorascope::error::Kind;
use lorascope::job::Event;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A stop before the first row leaves the folder as it was, also where an earlier conversion is.
#[test]
fn a_stop_leaves_the_folder_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    convert_with(&job(&fixture("many_row_groups.parquet"), temp.path())).result.unwrap();
    let before = tree(temp.path());
    let stop = AtomicBool::new(false);
    let emit = |event: Event| {
        if matches!(event, Event::Progress { .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error =
        data_convert::run(&job(&fixture("thousand_rows.parquet"), temp.path()), &stop, &emit).unwrap_err();
    assert_eq!(error.kind, Kind::Stopped);
    assert_eq!(tree(temp.path()), before);
}

#[test]
fn leftovers_without_a_journal_go_and_a_running_conversion_is_respected() {
    let temp = tempfile::tempdir().unwrap();
    let left = temp.path().join(".lorascope-convert-abc");
    fs::create_dir_all(left.join("mllm_data")).unwrap();
    fs::write(left.join("mllm_data/half.png"), b"half").unwrap();
    let running = File::open(&left).unwrap();
    running.try_lock().unwrap();
    let job = job(&fixture("many_row_groups.parquet"), temp.path());
    let error = convert_with(&job).result.unwrap_err();
    assert!(error.message.contains("another conversion"), "{error}");
    drop(running);
    convert_with(&job).result.unwrap();
    assert_eq!(tree(temp.path()), visible(temp.path()));
}

/// Three files with 2,600 rows: different, repeated and missing ids, repeated, broken and 16-bit pictures.
fn input(dir: &Path) -> PathBuf {
    let input = dir.join("in");
    fs::create_dir(&input).unwrap();
    for (file, count) in [900u32, 1000, 700].into_iter().enumerate() {
        let ids: Vec<String> = (0..count).map(|i| format!("id{}", i % 850)).collect();
        let picture = |i: u32| match i % 50 {
            7 => b"no picture".to_vec(),
            9 => deep(i),
            _ => png(i % 240 + i),
        };
        let rows: Vec<Row> = (0..count)
            .map(|i| {
                let id = (i % 90 != 3).then_some(ids[i as usize].as_str());
                (id, Some(picture(i)), Some("A scan of something."))
            })
            .collect();
        write_parquet(&input.join(format!("{file}.parquet")), &rows, 300);
    }
    input
}

fn deep(n: u32) -> Vec<u8> {
    let picture = image::ImageBuffer::from_fn(16, 12, |x, y| image::Luma([(x * 900 + y * 50 + n) as u16]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::ImageLuma16(picture).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn command(input: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lorascope"));
    command.arg("convert").arg(input).arg("--out").arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn staging(out: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(out).ok()?;
    entries.flatten().map(|e| e.path()).find(|p| p.to_string_lossy().contains(".lorascope-convert-"))
}

/// Files in the staged pictures folder.
fn staged(out: &Path) -> usize {
    staging(out).and_then(|dir| fs::read_dir(dir.join("mllm_data")).ok()).map_or(0, Iterator::count)
}

fn moved(out: &Path) -> usize {
    fs::read_dir(out.join("mllm_data")).map_or(0, Iterator::count)
}

/// Kills the program as soon as something is true; says whether it was still running.
fn kill_when(mut child: Child, moment: impl Fn() -> bool) -> bool {
    while !moment() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let alive = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    alive
}

/// The results, without what differs from run to run.
fn results(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let tree = tree(out);
    assert!(tree == visible(out), "something hidden is left");
    tree
}

#[test]
fn killed_at_ten_moments_it_goes_on_to_the_same_result() {
    let temp = tempfile::tempdir().unwrap();
    let input = input(temp.path());
    let whole = temp.path().join("whole");
    run(command(&input, &whole));
    let expected = results(&whole);
    assert!(expected.len() > 2500);
    let mut killed = 0;
    for moment in 0..10 {
        let out = temp.path().join(format!("out{moment}"));
        let child = command(&input, &out).spawn().unwrap();
        let reached = || match moment {
            0 => out.exists(),
            1..8 => staged(&out) >= [1, 200, 600, 1000, 1500, 2000, 2300][moment - 1],
            // While pictures are moved into place.
            _ => moved(&out) >= [1, 1200][moment - 8],
        };
        let alive = kill_when(child, reached);
        killed += usize::from(alive);
        let again = run(command(&input, &out));
        if alive && (4..8).contains(&moment) {
            assert!(said(&again).contains("going on after"), "{moment}: {}", said(&again));
        }
        assert!(results(&out) == expected, "killed at moment {moment}, the results differ");
    }
    assert!(killed >= 5, "only {killed} of 10 were killed before they ended");
}

/// Both sets are registered in one write: killed as soon as there is a registry, it has both.
#[test]
fn both_sets_are_registered_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let input = temp.path().join("in.parquet");
    good_rows(&input, 40, 10);
    let whole = temp.path().join("whole");
    run(command(&input, &whole));
    for round in 0..5 {
        let out = temp.path().join(format!("out{round}"));
        let registry = out.join("dataset_info.json");
        kill_when(command(&input, &out).spawn().unwrap(), || registry.exists());
        let names = Registry::open(&out).unwrap();
        assert_eq!(names.names(), ["mllm_train_data", "mllm_val_data"], "round {round}");
        run(command(&input, &out));
        assert!(results(&out) == results(&whole), "round {round}");
    }
}

/// Killed again and again in one folder, with other things going wrong in between.
#[test]
fn damaged_leftovers_are_redone() {
    let temp = tempfile::tempdir().unwrap();
    let input = input(temp.path());
    let whole = temp.path().join("whole");
    run(command(&input, &whole));
    let out = temp.path().join("out");
    kill_when(command(&input, &out).spawn().unwrap(), || staged(&out) >= 700);
    if let Some(dir) = staging(&out) {
        let mut pictures: Vec<_> =
            fs::read_dir(dir.join("mllm_data")).unwrap().map(|e| e.unwrap().path()).collect();
        pictures.sort();
        fs::remove_file(&pictures[pictures.len() / 2]).unwrap();
        fs::write(&pictures[pictures.len() / 3], b"").unwrap();
        let same_size = fs::read(&pictures[5]).unwrap().len();
        fs::write(&pictures[5], vec![0; same_size]).unwrap();
        let journal = dir.join("journal.jsonl");
        let mut text = fs::read(&journal).unwrap();
        text.extend(b"{\"kept\": {\"file\":");
        fs::write(&journal, text).unwrap();
    }
    kill_when(command(&input, &out).spawn().unwrap(), || staged(&out) >= 1200);
    run(command(&input, &out));
    assert!(results(&out) == results(&whole));
}

#[test]
fn other_options_or_inputs_start_anew() {
    let temp = tempfile::tempdir().unwrap();
    let input = input(temp.path());
    let out = temp.path().join("out");
    kill_when(command(&input, &out).spawn().unwrap(), || staged(&out) >= 700);
    let with = |out: &Path| {
        let mut command = command(&input, out);
        command.args(["--question", "What is it?", "--max-pixels", "1000"]);
        command
    };
    let said = said(&run(with(&out)));
    assert!(!said.contains("going on after"), "{said}");
    run(with(&temp.path().join("other")));
    assert!(results(&out) == results(&temp.path().join("other")));

    // The same name and the same number of rows, other pictures.
    let out = temp.path().join("changed");
    kill_when(command(&input, &out).spawn().unwrap(), || staged(&out) >= 700);
    let rows: Vec<Row> = (0..700).map(|i| (None, Some(png(i * 3)), Some("changed"))).collect();
    write_parquet(&input.join("2.parquet"), &rows, 300);
    run(command(&input, &out));
    run(command(&input, &temp.path().join("fresh")));
    assert!(results(&out) == results(&temp.path().join("fresh")));
}

/// An interrupted conversion to other names is left alone, and can be gone on with afterwards.
#[test]
fn an_interrupted_conversion_to_other_names_stays() {
    let temp = tempfile::tempdir().unwrap();
    let input = input(temp.path());
    let out = temp.path().join("out");
    kill_when(command(&input, &out).spawn().unwrap(), || staged(&out) >= 700);
    let left = staging(&out);
    let small = temp.path().join("small.parquet");
    good_rows(&small, 3, 10);
    let mut other = command(&small, &out);
    other.args(["--name", "small"]);
    let said = said(&run(other));
    if let Some(left) = left {
        assert!(said.contains("interrupted") && left.exists(), "{said}");
    }
    run(command(&input, &out));
    assert!(tree(&out) == visible(&out));
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("convert_report.json")).unwrap()).unwrap();
    assert_eq!(report["rows"], 2600);
}

/// In a file system of its own where that may be made, else under a limit for the size of files.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_it_goes_on_when_there_is_room() {
    let temp = tempfile::tempdir().unwrap();
    let input = input(temp.path());
    let whole = temp.path().join("whole");
    run(command(&input, &whole));
    let shell = |unshare: bool, script: &str| {
        let mut command = Command::new(if unshare { "unshare" } else { "sh" });
        if unshare {
            command.args(["-rm", "sh"]);
        }
        let program = env!("CARGO_BIN_EXE_lorascope");
        command.args(["-c", script, "sh", program]).arg(&input).current_dir(temp.path()).output().unwrap()
    };
    fs::create_dir(temp.path().join("disk")).unwrap();
    let mounts = shell(true, "mount -t tmpfs -o size=1m tmpfs disk").status.success();
    let script = if mounts {
        "mount -t tmpfs -o size=6m tmpfs disk || exit 1
         \"$1\" convert \"$2\" --out disk/out; code=$?
         ls disk/out >seen
         mount -o remount,size=90m disk || exit 1
         \"$1\" convert \"$2\" --out disk/out --quiet || exit 1
         cp -r disk/out out; exit $code"
    } else {
        "trap '' XFSZ
         (ulimit -f 400; \"$1\" convert \"$2\" --out out); code=$?
         ls out >seen
         \"$1\" convert \"$2\" --out out --quiet || exit 1
         exit $code"
    };
    let output = shell(mounts, script);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("same command again"), "{said}");
    assert!(!mounts || said.contains("the disk is full"), "{said}");
    assert_eq!(
        fs::read_to_string(temp.path().join("seen")).unwrap(),
        "",
        "something half-written is visible"
    );
    assert!(results(&temp.path().join("out")) == results(&whole));
}
