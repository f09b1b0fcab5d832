//! Rows of one partition on their way to objects: gathered, then written under staging names.
//!
//! Rows wait in memory until their objects are staged, so a store that is away costs retries, not a second reading.
//! Must never: give up rows because the store is away, or hold objects for their commit so long that a sweep might take them.

use super::manifest::{Manifest, ManifestObject, final_key};
use crate::config::{FlowConfig, backoff};
use bulkhead_bucket::format::encode;
use bulkhead_bucket::rows::{Row, Schema, bytes_held};
use bulkhead_bucket::{BucketError, OutputBucket};
use bulkhead_core::bucket::BucketOutput;
use bulkhead_core::code::Code;
use bulkhead_core::limits::BY_VALUES_MAX;
use bulkhead_log::LogError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows gathered for the next objects.
#[derive(Default)]
pub(super) struct Roll {
    /// By the part of the key that keeps them apart; in order, with their offsets.
    rows: BTreeMap<Option<String>, Vec<(i64, Row)>>,
    count: u64,
    /// Bytes as the stage returned them.
    bytes: u64,
    /// Bytes in memory.
    pub(super) held: u64,
    since: Option<Instant>,
}

impl Roll {
    /// Adds a row.
    ///
    /// # Errors
    /// A row that does not fit, which the record path should have refused.
    pub(super) fn push(&mut self, schema: &Schema, offset: i64, value: Option<&[u8]>) -> Result<(), LogError> {
        let row = schema.row(value).map_err(|fault| {
            LogError::new(Code::LogCorrupt, format!("a committed row at offset {offset} does not fit: {fault}"))
        })?;
        self.count += 1;
        self.bytes += value.map_or(0, <[u8]>::len) as u64;
        self.held += bytes_held(&row);
        self.since.get_or_insert_with(Instant::now);
        self.rows.entry(schema.segment(&row)).or_default().push((offset, row));
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is time for objects.
    pub(super) fn is_due(&self, output: &BucketOutput) -> bool {
        let limits = &output.roll;
        let old = self.since.is_some_and(|since| since.elapsed() >= Duration::from_millis(limits.every_ms));
        !self.is_empty()
            && (old
                || self.count >= u64::from(limits.records)
                || self.bytes >= limits.bytes
                || self.rows.len() >= BY_VALUES_MAX)
    }

    /// How long until it is old enough, where it is not empty.
    pub(super) fn due_in(&self, output: &BucketOutput) -> Option<Duration> {
        let every = Duration::from_millis(output.roll.every_ms);
        self.since.map(|since| every.saturating_sub(since.elapsed()))
    }
}

/// Whether the store answers, as the tasks of a sink find it.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// Why the store is away, where it is.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, trouble: Option<String>) {
        *self.0.lock() = trouble;
    }
}

/// Tries again with growing pauses, and says so.
pub(super) struct Patience<'a> {
    pub(super) health: &'a Health,
    pub(super) config: &'a FlowConfig,
    pub(super) failures: u32,
}

impl Patience<'_> {
    /// It worked.
    pub(super) fn succeeded(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            self.health.set(None);
        }
    }

    /// It did not; waits before the next try.
    pub(super) async fn failed(&mut self, what: &str, error: &BucketError) {
        tracing::warn!(%error, what, failures = self.failures, "a bucket does not take it; it is being tried again");
        self.health.set(Some(error.to_string()));
        tokio::time::sleep(backoff(self.config.backoff_min, self.config.backoff_max, self.failures)).await;
        self.failures += 1;
    }
}

/// What staging works with.
#[derive(Clone)]
pub(super) struct Stager {
    pub(super) bucket: OutputBucket,
    /// The topic that the rows were read from.
    pub(super) rows: String,
    pub(super) output: Arc<BucketOutput>,
    pub(super) schema: Arc<Schema>,
    pub(super) config: Arc<FlowConfig>,
    pub(super) health: Health,
}

impl Stager {
    /// Writes a roll's objects under staging names; `next` is the position after its rows.
    ///
    /// # Errors
    /// Where rows cannot be written in the format, which is a fault of ours.
    pub(super) async fn stage(self, partition: i32, roll: Roll, next: i64) -> Result<Manifest, LogError> {
        let mut objects = Vec::new();
        let mut patience = Patience { health: &self.health, config: &self.config, failures: 0 };
        let roll = Arc::new(roll.rows);
        for segment in roll.keys().cloned().collect::<Vec<_>>() {
            let (schema, format) = (self.schema.clone(), self.output.format);
            let (rows, key) = (roll.clone(), segment.clone());
            let encoded =
                tokio::task::spawn_blocking(move || encode(format, &schema, rows[&key].iter().map(|(_, row)| row)));
            let internal = |error: String| LogError::new(Code::Internal, format!("rows cannot be written: {error}"));
            let bytes = encoded
                .await
                .map_err(|panic| internal(panic.to_string()))?
                .map_err(|error| internal(error.to_string()))?;
            let staged = loop {
                match self.bucket.stage(partition, bytes.clone()).await {
                    Ok(staged) => break staged,
                    Err(error) => patience.failed("staging", &error).await,
                }
            };
            patience.succeeded();
            let rows = &roll[&segment];
            let (first, last) = (rows[0].0, rows[rows.len() - 1].0);
            let place = (self.rows.as_str(), partition, first);
            let key = final_key(&self.output.prefix, segment.as_deref(), place, format.extension());
            objects.push(ManifestObject {
                staged: staged.name,
                key: key.map_err(|error| internal(error.to_string()))?,
                rows: rows.len() as u64,
                bytes: staged.bytes,
                etag: staged.etag,
                first,
                last,
            });
        }
        Ok(Manifest { partition, rows: self.rows, next, bucket: self.output.bucket.clone(), objects })
    }
}
