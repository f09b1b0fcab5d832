//! Cuts the stored runs of a partition into batches.
//!
//! Must never: give a record twice, or one beyond what is durable.

use super::Shared;
use super::topics::Topic;
use crate::LogError;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use std::time::Instant;

/// A partition being read.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The offset to go on from after `batch`.
    pub(super) next: i64,
    /// What has been read and not yet given.
    pub(super) batch: RecordBatch,
    /// When the first record of `batch` came.
    pub(super) since: Option<Instant>,
    /// Nothing more fits into `batch`.
    pub(super) full: bool,
    /// The run that `next` lies in, and the row there.
    rest: Option<(RecordBatch, usize)>,
}

impl Cursor {
    pub(super) fn at(offset: i64) -> Self {
        Self { next: offset, ..Self::default() }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.batch.bytes() + self.rest.as_ref().map_or(0, |(run, _)| run.bytes())
    }

    /// Forgets what was read and not given.
    pub(super) fn rewind(&mut self) {
        let next = self.batch.offsets.first().copied().unwrap_or(self.next);
        *self = Self::at(next);
    }

    /// Takes what was read: the batch and the offset after it.
    pub(super) fn take(&mut self) -> (RecordBatch, i64) {
        self.since = None;
        self.full = false;
        (std::mem::take(&mut self.batch), self.next)
    }

    /// Reads on until the batch is full or there is no more. Where there is no room, only what is held already goes into the batch: it
    /// must, because else a reader whose partitions all hold the rest of a run would never give another batch.
    pub(super) fn fill(
        &mut self,
        shared: &Shared,
        topic: &Topic,
        partition: i32,
        limits: &BatchLimits,
        room: bool,
    ) -> Result<(), LogError> {
        while !self.full && (self.rest.is_some() || (room && self.next < topic.end(partition))) {
            let Some((run, row)) = self.run(shared, topic, partition)? else { return Ok(()) };
            self.since.get_or_insert_with(Instant::now);
            if row == 0 && self.batch.is_empty() && fits(&run, limits) {
                self.next = run.offsets.last().copied().unwrap_or(self.next) + 1;
                self.batch = run;
                self.full = is_full(&self.batch, limits);
            } else {
                self.copy(run, row, limits);
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        shared: &Shared,
        topic: &Topic,
        partition: i32,
    ) -> Result<Option<(RecordBatch, usize)>, LogError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let Some(run) = shared.store.fetch(topic, partition, self.next)? else { return Ok(None) };
        let row = run.offsets.partition_point(|offset| *offset < self.next);
        Ok(Some((run, row)))
    }

    fn copy(&mut self, run: RecordBatch, mut row: usize, limits: &BatchLimits) {
        while row < run.len() {
            let bytes = data_bytes(&self.batch) + row_bytes(&run, row);
            if !self.batch.is_empty() && (bytes as u64 > limits.bytes || is_full(&self.batch, limits)) {
                self.full = true;
                self.rest = Some((run, row));
                return;
            }
            self.batch.push_row(&run, row);
            self.next = run.offsets[row] + 1;
            row += 1;
        }
        self.full = is_full(&self.batch, limits);
    }
}

fn fits(batch: &RecordBatch, limits: &BatchLimits) -> bool {
    batch.len() <= limits.records as usize && (data_bytes(batch) as u64 <= limits.bytes || batch.len() == 1)
}

fn is_full(batch: &RecordBatch, limits: &BatchLimits) -> bool {
    batch.len() >= limits.records as usize || data_bytes(batch) as u64 >= limits.bytes
}

fn data_bytes(batch: &RecordBatch) -> usize {
    let headers = &batch.headers;
    batch.keys.data.len() + batch.values.data.len() + headers.names.data.len() + headers.values.data.len()
}

fn row_bytes(batch: &RecordBatch, i: usize) -> usize {
    let cell = |cell: Option<&[u8]>| cell.map_or(0, <[u8]>::len);
    let headers: usize = batch.headers.row(i).map(|(name, value)| name.len() + cell(value)).sum();
    cell(batch.keys.get(i)) + cell(batch.values.get(i)) + headers
}
