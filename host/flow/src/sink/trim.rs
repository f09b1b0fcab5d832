//! What of the hidden topics is needed no more: rows that are in published objects, and the manifests that named these.
//!
//! The last manifest of a partition stays: it says up to where rows are in objects, should the log forget the group's positions. It is done
//! now and then, on a thread of its own, since a broker that is away can keep the answer back for seconds. What a restart forgets
//! goes with the next that is published.
//! Must never: delete a row that is not in a published object.

use super::manifest::Manifest;
use bulkhead_core::code::Code;
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Log, LogError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Of partitions, the offset before which nothing is needed.
type Offsets = BTreeMap<i32, i64>;

/// Something that may go from the hidden topics, once its publication is committed.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// The topic of the rows, by name: an earlier one, where the columns were others.
    rows: String,
    rows_partition: i32,
    /// After the last row.
    rows_next: i64,
    /// Of the manifest.
    offset: i64,
}

impl Published {
    /// What the publication of `manifest`, which lies at `offset`, makes superfluous.
    pub(super) fn of(manifest: &Manifest, offset: i64) -> Self {
        Self { rows: manifest.rows.clone(), rows_partition: manifest.partition, rows_next: manifest.next, offset }
    }
}

/// What waits to be deleted.
pub(super) struct Trim {
    rows: PhysicalTopic,
    manifests: PhysicalTopic,
    every: Duration,
    last: Instant,
    due: [Offsets; 2],
    under_way: Option<Deletion>,
}

struct Deletion {
    task: JoinHandle<Result<(), LogError>>,
    offsets: [Offsets; 2],
}

impl Trim {
    /// For these topics, once in `every`.
    pub(super) fn new(rows: PhysicalTopic, manifests: PhysicalTopic, every: Duration) -> Self {
        Self { rows, manifests, every, last: Instant::now(), due: Default::default(), under_way: None }
    }

    /// Notes what was published, with its position committed, from a partition of the topic of manifests.
    pub(super) fn note(&mut self, partition: i32, published: &Published) {
        let [rows, manifests] = &mut self.due;
        // Rows of other columns wait in another topic, which stays as it is until the pipeline goes.
        if published.rows == self.rows.as_str() {
            raise(rows, published.rows_partition, published.rows_next);
        }
        raise(manifests, partition, published.offset);
    }

    /// Begins a deletion where it is time, and looks at the end of the last.
    pub(super) fn step(&mut self, log: &Arc<dyn Log>, runtime: &Handle) {
        if let Some(Deletion { task, offsets }) = self.under_way.take_if(|deletion| deletion.task.is_finished()) {
            let done = runtime.block_on(task);
            let done = done.unwrap_or_else(|panic| Err(LogError::new(Code::Internal, panic.to_string())));
            if let Err(error) = done {
                tracing::warn!(%error, "rows that are published could not be deleted; the next deletion takes them along");
                for (due, offsets) in self.due.iter_mut().zip(offsets) {
                    offsets.into_iter().for_each(|(partition, offset)| raise(due, partition, offset));
                }
            }
        }
        let idle = self.under_way.is_none() && self.due.iter().any(|due| !due.is_empty());
        if !idle || self.last.elapsed() < self.every {
            return;
        }
        self.last = Instant::now();
        let offsets = std::mem::take(&mut self.due);
        let topics = [self.rows.clone(), self.manifests.clone()];
        let (log, before) = (log.clone(), offsets.clone());
        let task = runtime.spawn_blocking(move || {
            topics.iter().zip(&before).filter(|(_, before)| !before.is_empty()).try_for_each(|(topic, before)| {
                log.delete_records(
                    topic,
                    &before.iter().map(|(partition, offset)| (*partition, *offset)).collect::<Vec<_>>(),
                )
            })
        });
        self.under_way = Some(Deletion { task, offsets });
    }
}

fn raise(offsets: &mut Offsets, partition: i32, offset: i64) {
    let at = offsets.entry(partition).or_insert(offset);
    *at = (*at).max(offset);
}
