//! Some rows around the one asked for, decoded and kept: reading on costs nothing, and memory stays bounded.

use crate::data::convert::parquet::guarded;
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use std::collections::VecDeque;
use std::fs::File;

/// Bytes that a window should hold (a single row may be bigger), and rows likewise.
const BYTES: u64 = 2 << 20;
const ROWS: u64 = 1024;
/// Windows kept: those that as many threads walk through.
const KEPT: usize = 4;

/// Windows over some columns of a file.
#[derive(Debug)]
pub(super) struct Windows {
    columns: ProjectionMask,
    /// First row and rows, the latest used last.
    kept: VecDeque<(usize, RecordBatch)>,
}

impl Windows {
    pub fn new(columns: ProjectionMask) -> Self {
        Self { columns, kept: VecDeque::new() }
    }

    /// The rows around `within` of row group `group`, which starts at row `start`, and the row's place among them.
    pub fn around(
        &mut self,
        file: &File,
        metadata: &ArrowReaderMetadata,
        (group, start): (usize, usize),
        row: usize,
    ) -> Result<(&RecordBatch, usize), String> {
        let holds = |(first, rows): &(usize, RecordBatch)| (*first..first + rows.num_rows()).contains(&row);
        let window = match self.kept.iter().position(holds).and_then(|at| self.kept.remove(at)) {
            Some(window) => window,
            None => self.read(file, metadata, (group, start), row)?,
        };
        while self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        let at = row - window.0;
        self.kept.push_back(window);
        self.kept.back().map(|(_, rows)| (rows, at)).ok_or_else(String::new)
    }

    fn read(
        &self,
        file: &File,
        metadata: &ArrowReaderMetadata,
        (group, start): (usize, usize),
        row: usize,
    ) -> Result<(usize, RecordBatch), String> {
        let facts = metadata.metadata().row_group(group);
        let columns = facts.columns().iter().enumerate().filter(|(i, _)| self.columns.leaf_included(*i));
        let bytes: i64 = columns.map(|(_, column)| column.uncompressed_size()).sum();
        let rows = facts.num_rows().max(1) as u64;
        let wanted = (BYTES * rows / (bytes.max(1) as u64)).clamp(1, ROWS) as usize;
        let skipped = (row - start) / wanted * wanted;
        let wanted = wanted.min(rows as usize - skipped);
        let rows = guarded(|| {
            let file = file.try_clone().map_err(|e| e.to_string())?;
            let selection = vec![RowSelector::skip(skipped), RowSelector::select(wanted)];
            let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(self.columns.clone())
                .with_row_selection(RowSelection::from(selection))
                .with_batch_size(wanted)
                .build()
                .map_err(|e| e.to_string())?;
            match reader.next() {
                Some(rows) => rows.map_err(|e| e.to_string()),
                None => Err("the row group holds fewer rows than it says".into()),
            }
        })?;
        match start + skipped + rows.num_rows() > row {
            true => Ok((start + skipped, rows)),
            false => Err("the row group holds fewer rows than it says".into()),
        }
    }
}
