//! Outputs to write, made by hand.

use crate::{Block, Held};
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::scope::PhysicalTopic;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The timestamp of each call's first record; the others follow by a millisecond. Not long ago: a log may delete what looks old.
pub(super) static START_MS: LazyLock<i64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292,000,000")
});

/// Source records and an output for each.
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    pub(super) outputs: Outputs,
}

impl Rows {
    /// None yet, of a source with this partition, which is where records without keys go.
    pub(super) fn of(partition: i32) -> Self {
        Self { batch: RecordBatch { partition, ..RecordBatch::default() }, outputs: Outputs::default() }
    }

    pub(super) fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let row = self.batch.len();
        let timestamp = START_MS.saturating_add(row as i64);
        self.batch.push(row as i64, timestamp, None, None, []);
        self.outputs.push(row as u32, 0, timestamp, key, value);
    }

    pub(super) fn held(self, topic: &PhysicalTopic) -> Arc<Held> {
        let targets = Arc::from([Some(topic.clone())]);
        Arc::new(Held {
            batch: Arc::new(self.batch),
            blocks: vec![Block { outputs: self.outputs, targets, partition: None }],
        })
    }
}

/// Values without keys for one partition of a topic.
pub(super) fn held(topic: &PhysicalTopic, partition: i32, values: impl IntoIterator<Item = String>) -> Arc<Held> {
    let mut rows = Rows::of(partition);
    values.into_iter().for_each(|value| rows.push(None, Some(value.as_bytes())));
    rows.held(topic)
}
