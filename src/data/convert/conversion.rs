//! A conversion under way: rows are read, decoded on all cores, named, written, and noted in the journal.

use super::super::groups::Place;
use super::super::special;
use super::JOURNAL;
use super::batches::{Kept, Loaded, Made, Maker, Position, read_batches};
use super::file_names::FileNames;
use super::inputs::Inputs;
use super::journal::{Journal, KeptRow, Line, SkippedRow};
use super::neighbours::Neighbours;
use super::parquet::Id;
use super::pick::Pick;
use super::results::{file_name, made_id};
use super::row_notes::Notice;
use super::split::Groups;
use super::staging::{PICTURES, Staging};
use super::tally::Tally;
use crate::error::{At, Error, Kind, Result};
use crate::job::{ConvertJob, Emit, Event, Level, Phase};
use rayon::prelude::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Work that a power failure may cost. A crash of the program alone costs a batch.
const SYNC_EVERY: Duration = Duration::from_secs(20);

/// All that is known of the rows so far. Memory for a row: 5 bytes, in `groups`; the rest is on disk.
pub(super) struct Conversion<'a> {
    pub(super) job: &'a ConvertJob,
    pub(super) inputs: &'a Inputs,
    pub(super) staging: Staging,
    pub(super) journal: Journal,
    names: FileNames,
    neighbours: Neighbours,
    /// `None` once the sides are known.
    pub(super) groups: Option<Groups>,
    pub(super) tally: Tally,
    /// Where reading goes on.
    position: Position,
    /// Rows that are wanted in all.
    total: usize,
    per_folder: Option<usize>,
    last_progress: Option<Instant>,
    last_sync: Instant,
}

impl<'a> Conversion<'a> {
    /// Starts, or goes on with what an earlier process left of the same conversion.
    pub fn open(job: &'a ConvertJob, mut staging: Staging, inputs: &'a Inputs, emit: Emit) -> Result<Self> {
        let mut names = FileNames::new(staging.dir())?;
        let neighbours = Neighbours::look(&job.out, &job.names, staging.dir(), &mut names)?;
        let header = header(job, inputs, &neighbours);
        let earlier = Journal::reopen(staging.path(JOURNAL), &header)?;
        let goes_on = earlier.is_some();
        let journal = match earlier {
            Some(journal) => journal,
            None => {
                if staging.path(JOURNAL).exists() {
                    let line = "an interrupted conversion was left by other inputs or options: starting anew";
                    emit(Event::Log { level: Level::Info, line: line.into() });
                }
                staging.clear()?;
                staging.keep = false;
                Journal::create(staging.path(JOURNAL), &header)?
            }
        };
        let total = Pick::new(job, inputs.rows).total();
        let mut conversion = Self {
            job,
            inputs,
            journal,
            names,
            neighbours,
            groups: Some(Groups::new(staging.dir(), total)?),
            staging,
            tally: Tally::default(),
            position: (0, 0),
            total,
            per_folder: super::pictures_in_a_folder(job, total),
            last_progress: None,
            last_sync: Instant::now(),
        };
        if goes_on {
            conversion.replay(emit)?;
        }
        Ok(conversion)
    }

    /// Takes over what the journal says, as far as the pictures are there.
    fn replay(&mut self, emit: Emit) -> Result<()> {
        let mut end = None;
        for line in self.journal.earlier()? {
            let (mut line, synced, line_end) = line.at("read", self.staging.path(JOURNAL))?;
            if let Line::Kept(row) = &line {
                if !self.staging.has_picture(row, synced) {
                    break;
                }
                let name = self.name(row.id.as_deref(), (row.file, row.row));
                self.names.replay(&name, stem(&row.image), row.notices.contains(&Notice::TakenName))?;
            }
            self.count(&mut line)?;
            self.progress(emit, false);
            end = Some(line_end);
        }
        self.journal.cut(end)?;
        if self.tally.rows > 0 {
            let line = format!("going on after {} rows of an interrupted conversion", self.tally.rows);
            emit(Event::Log { level: Level::Info, line });
        }
        Ok(())
    }

    /// Reads on one thread, decodes on all, writes in order.
    pub fn convert_rows(&mut self, stop: &AtomicBool, emit: Emit) -> Result<()> {
        let root = self.job.image_root.as_ref().map(|root| root.canonicalize().at("read", root));
        let maker = Maker { stop, max_pixels: self.job.max_pixels, image_root: root.transpose()? };
        let (inputs, from) = (self.inputs, self.position);
        let pick = Pick::new(self.job, inputs.rows);
        std::thread::scope(|scope| {
            let (sender, batches) = sync_channel(1);
            scope.spawn(move || read_batches(inputs, pick, from, &sender));
            let (written, calls) = channel();
            let writeback = self.staging.writeback();
            scope.spawn(move || writeback.run(&calls));
            self.convert_batches(batches, &maker, written, emit)
        })
    }

    /// Decodes a batch while the one before is written.
    fn convert_batches(
        &mut self,
        batches: Receiver<Vec<Loaded>>,
        maker: &Maker,
        on_written: Sender<()>,
        emit: Emit,
    ) -> Result<()> {
        let decode = |batch: Vec<Loaded>| -> Vec<Made> {
            // Small shares: whoever is done with writing finds something left to take.
            let shares = batch.into_par_iter().with_max_len(4);
            shares.filter_map(|(file, item)| maker.make(file, item)).collect()
        };
        let mut decoded = Vec::new();
        loop {
            self.progress(emit, false);
            let batch = batches.recv().ok();
            let last = batch.is_none();
            let (next, written) = rayon::join(
                || batch.map(decode).unwrap_or_default(),
                || self.write(std::mem::take(&mut decoded)),
            );
            written?;
            let _ = on_written.send(());
            // After a stop the batch may have holes.
            if maker.stop.load(Ordering::Relaxed) {
                return Err(self.stopped());
            }
            if last {
                break;
            }
            decoded = next;
        }
        self.progress(emit, true);
        Ok(())
    }

    fn stopped(&self) -> Error {
        let rows = self.tally.rows;
        let error =
            Error::new(Kind::Stopped, format!("conversion stopped after {rows} of {} rows", self.total));
        error.hint("the same command goes on from there; the data sets in the output folder are as they were")
    }

    fn write(&mut self, made: Vec<Made>) -> Result<()> {
        let mut lines = Vec::with_capacity(made.len());
        let mut files = Vec::new();
        for one in made {
            let (line, bytes) = self.line(one)?;
            if let (Line::Kept(row), Some(bytes)) = (&line, bytes) {
                files.push((row.image.clone(), bytes));
            }
            lines.push(line);
        }
        // One after another: the system lets one thread at a time into a folder, and the others would spin.
        files.iter().try_for_each(|(image, bytes)| self.staging.write_picture(image, bytes))?;
        // The journal names pictures that are there.
        for line in &lines {
            self.journal.push(line)?;
        }
        self.journal.flush()?;
        self.staging.keep |= !lines.is_empty();
        if self.last_sync.elapsed() >= SYNC_EVERY {
            self.staging.sync()?;
            self.journal.mark_synced()?;
            self.last_sync = Instant::now();
        }
        Ok(())
    }

    /// Counts a row and, if it is kept, names its picture's file.
    fn line(&mut self, made: Made) -> Result<(Line, Option<Vec<u8>>)> {
        let Made { file, row, id, result, count } = made;
        let mut bytes = None;
        let mut line = match result {
            Err((reason, detail)) => {
                let id = id.text().map(String::from);
                Line::Skipped(SkippedRow { file, row, count, id, reason, detail })
            }
            Ok(kept) => {
                let (row, picture) = self.kept_row((file, row), &id, kept)?;
                bytes = Some(picture);
                Line::Kept(row)
            }
        };
        self.count(&mut line)?;
        Ok((line, bytes))
    }

    fn kept_row(&mut self, (file, row): Position, id: &Id, kept: Kept) -> Result<(KeptRow, Vec<u8>)> {
        let mut notices = kept.picture.notices;
        let name = self.name(id.text(), (file, row));
        match id {
            Id::Text(_) => {}
            Id::NotText => notices.push(Notice::IdNotText),
            Id::Missing => notices.push(Notice::MadeId),
        }
        let folder = self.folder()?;
        let path = |stem: &str| format!("{folder}/{stem}.{}", kept.picture.extension);
        let neighbours = &mut self.neighbours;
        let foreign = |stem: &str| neighbours.is_foreign(&path(stem), &kept.picture.bytes);
        let stem = self.names.stem_for(&name, foreign)?;
        notices.extend(stem.cleaned.then_some(Notice::RenamedId));
        notices.extend(stem.numbered.then_some(if stem.taken {
            Notice::TakenName
        } else {
            Notice::DuplicateId
        }));
        notices.extend(special::has_control_token(&kept.caption).then_some(Notice::SpecialToken));
        let row = KeptRow {
            file,
            row,
            id: id.text().map(String::from),
            caption: kept.caption,
            image: path(&stem.stem),
            bytes: kept.picture.bytes.len() as u64,
            written: kept.written,
            source: kept.source,
            group: kept.group,
            notices,
        };
        Ok((row, kept.picture.bytes))
    }

    fn name(&self, id: Option<&str>, (file, row): Position) -> String {
        id.map_or_else(|| made_id(&self.inputs.shards[file].path, row), String::from)
    }

    /// The folder for the next picture, by how many were kept before it.
    fn folder(&self) -> Result<String> {
        let Some(size) = self.per_folder else { return Ok(PICTURES.into()) };
        let folder = format!("{PICTURES}/{}-{:05}", self.job.names[0], self.tally.kept / size);
        if self.tally.kept.is_multiple_of(size) {
            self.staging.make_folder(&folder)?;
        }
        Ok(folder)
    }

    /// Takes a row into account, new or from the journal.
    fn count(&mut self, line: &mut Line) -> Result<()> {
        let name = |file: usize| file_name(&self.inputs.shards[file].path);
        match line {
            Line::Kept(row) => {
                let groups = self.groups.as_mut().expect("rows come before the split");
                let new = groups.add(row.source, row.group)?;
                if !new && !row.notices.contains(&Notice::DuplicatePicture) {
                    row.notices.push(Notice::DuplicatePicture);
                }
                let place = Place { file: &name(row.file), row: row.row, id: row.id.as_deref() };
                self.tally.keep(&place, &row.notices);
            }
            Line::Skipped(row) => {
                let place = Place { file: &name(row.file), row: row.row, id: row.id.as_deref() };
                self.tally.skip(&place, row.count, row.reason, &row.detail);
            }
            Line::Synced => {}
        }
        self.position = line.next().unwrap_or(self.position);
        Ok(())
    }

    fn progress(&mut self, emit: Emit, always: bool) {
        if always || self.last_progress.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY) {
            self.last_progress = Some(Instant::now());
            emit(Event::Progress { phase: Phase::Converting, done: self.tally.rows, total: self.total });
            emit(Event::Rows { kept: self.tally.kept, skipped: self.tally.skipped() });
        }
    }
}

/// What a conversion is of: with the same header it ends the same.
fn header(job: &ConvertJob, inputs: &Inputs, neighbours: &Neighbours) -> String {
    let job = ConvertJob { inputs: Vec::new(), out: PathBuf::new(), prune: false, ..job.clone() };
    let files: Vec<_> = inputs.shards.iter().map(|s| (&s.path, &s.identity)).collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "lorascope": version,
        "job": job,
        "files": files,
        "broken": inputs.broken_json(),
        "neighbours": neighbours.identity,
    })
    .to_string()
}

fn stem(image: &str) -> &str {
    Path::new(image).file_stem().and_then(|stem| stem.to_str()).unwrap_or(image)
}
