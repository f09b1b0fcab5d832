//! Compaction of the embedded log's compacted topics: of several records with one key, the last is kept.
//!
//! It is done in small steps by those who commit, so that nobody else waits and a log that is let go has no thread left in its
//! folder. A pass first notes where each key of the newer records stands, as many keys as fit its memory; then it goes through all records
//! up to there and leaves out what a later one replaces. Each step rewrites a few runs in one transaction, so a crash leaves a log that is
//! only less compact. Where a pass stands is known in memory alone: after a restart the next one begins at the front.
//! Must never: remove the last record of a key, but for an old null; or the last of a partition, whose readers must come to its end.

use super::Shared;
use super::block::Place;
use super::store::{delete_batches, insert_batch};
use super::topics::Topic;
use super::writer::{RUN_BYTES, RUN_RECORDS};
use crate::LogError;
use bulkhead_core::columns::RecordBatch;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Records at least, since the last pass, before there is another: less is not worth reading the rest for.
const DIRTY_MIN: i64 = 10_000;
/// Keys that a pass notes at most: some 32 MB.
const KEYS_MAX: usize = 500_000;
/// Bytes that one step reads: some milliseconds of a commit.
const STEP_BYTES: usize = 4 << 20;
/// How long a null stays: a reader that saw the record before must see it too.
const NULL_KEPT: Duration = Duration::from_secs(3_600);

/// Where compaction stands: one partition at a time.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    pass: Option<Pass>,
    /// Of each partition, up to where it is compact, and how many records were left there.
    compact: HashMap<(i64, i32), (i64, i64)>,
    hashers: (RandomState, RandomState),
}

#[derive(Debug)]
struct Pass {
    topic: Arc<Topic>,
    partition: i32,
    /// Offset of the last record of each key noted, by two keyed hashes of the key, 128 bits that nobody outside can aim at.
    last: HashMap<u128, i64>,
    /// Where the next step reads.
    next: i64,
    /// Up to where keys are noted; records behind it are left as they are.
    until: i64,
    noting: bool,
    kept: i64,
}

/// Goes on with the pass under way, or begins one where `written` says that a topic has grown enough.
pub(super) fn step<'a>(shared: &Shared, written: impl Iterator<Item = &'a Arc<Topic>>) {
    let mut topics = written.filter(|topic| topic.compacted).peekable();
    if topics.peek().is_none() {
        return;
    }
    // Another committer is at it.
    let Some(mut compaction) = shared.compaction.try_lock() else { return };
    if compaction.pass.is_none() {
        compaction.pass = topics.find_map(|topic| compaction.due(topic));
    }
    let Some(mut pass) = compaction.pass.take() else { return };
    match pass.step(shared, &compaction.hashers) {
        Ok(false) => compaction.pass = Some(pass),
        Ok(true) => {
            let place = (pass.topic.id, pass.partition);
            compaction.compact.insert(place, (pass.until, pass.kept));
        }
        // The log is as it was. What is wrong with it, its readers will say; this partition is left alone until it has grown again.
        Err(error) => {
            tracing::warn!(topic = pass.topic.name, partition = pass.partition, %error, "compaction stopped");
            let place = (pass.topic.id, pass.partition);
            compaction.compact.insert(place, (pass.topic.end(pass.partition), 0));
        }
    }
}

impl Compaction {
    fn due(&self, topic: &Arc<Topic>) -> Option<Pass> {
        (0..topic.partitions()).find_map(|partition| {
            let (compact, kept) = self.compact.get(&(topic.id, partition)).copied().unwrap_or_default();
            let dirty = topic.end(partition) - compact;
            (dirty >= DIRTY_MIN.max(kept)).then(|| Pass {
                topic: Arc::clone(topic),
                partition,
                last: HashMap::new(),
                next: compact,
                until: compact,
                noting: true,
                kept: 0,
            })
        })
    }
}

impl Pass {
    /// One step. Returns whether the pass is over.
    fn step(&mut self, shared: &Shared, hashers: &(RandomState, RandomState)) -> Result<bool, LogError> {
        if self.topic.is_gone() {
            return Ok(true);
        }
        let end = if self.noting { self.topic.end(self.partition) } else { self.until };
        let runs = self.read(shared, end)?;
        if self.noting {
            for run in &runs {
                self.note(run, hashers);
            }
            if runs.is_empty() || self.next >= end || self.last.len() >= KEYS_MAX {
                (self.until, self.next, self.noting) = (self.next, 0, false);
            }
            return Ok(false);
        }
        if !runs.is_empty() {
            self.rewrite(shared, &runs, hashers)?;
        }
        Ok(runs.is_empty() || self.next >= self.until)
    }

    /// Whole runs from `next` on, about as many as a step may read.
    fn read(&mut self, shared: &Shared, end: i64) -> Result<Vec<RecordBatch>, LogError> {
        let (mut runs, mut bytes) = (Vec::new(), 0);
        while self.next < end && bytes < STEP_BYTES {
            let Some(run) = shared.store.fetch(&self.topic, self.partition, self.next)? else { break };
            let Some(last) = run.offsets.last().copied().filter(|last| *last < end) else { break };
            bytes += run.bytes();
            self.next = last + 1;
            runs.push(run);
        }
        Ok(runs)
    }

    fn note(&mut self, run: &RecordBatch, hashers: &(RandomState, RandomState)) {
        for (i, offset) in run.offsets.iter().enumerate() {
            if let Some(key) = run.keys.get(i) {
                self.last.insert(hash(hashers, key), *offset);
            }
        }
    }

    fn keeps(&self, run: &RecordBatch, i: usize, hashers: &(RandomState, RandomState), nulls_before: i64) -> bool {
        let Some(key) = run.keys.get(i) else { return true };
        let newer = self.last.get(&hash(hashers, key)).is_some_and(|last| *last > run.offsets[i]);
        let over = run.values.get(i).is_none() && run.timestamps[i] < nulls_before;
        !(newer || over && run.offsets[i] + 1 < self.topic.end(self.partition))
    }

    fn rewrite(
        &mut self,
        shared: &Shared,
        runs: &[RecordBatch],
        hashers: &(RandomState, RandomState),
    ) -> Result<(), LogError> {
        let nulls_before = now_ms() - NULL_KEPT.as_millis() as i64;
        let mut kept = vec![RecordBatch { partition: self.partition, ..RecordBatch::default() }];
        for run in runs {
            for i in (0..run.len()).filter(|i| self.keeps(run, *i, hashers, nulls_before)) {
                let full = |batch: &RecordBatch| batch.len() >= RUN_RECORDS || batch.bytes() >= RUN_BYTES;
                if kept.last().is_none_or(full) {
                    kept.push(RecordBatch { partition: self.partition, ..RecordBatch::default() });
                }
                kept.last_mut().expect("never empty").push_row(run, i);
            }
        }
        kept.retain(|batch| !batch.is_empty());
        let records: usize = kept.iter().map(RecordBatch::len).sum();
        self.kept += records as i64;
        if records == runs.iter().map(RecordBatch::len).sum::<usize>() && kept.len() * 2 > runs.len() {
            return Ok(());
        }
        let (topic, partition) = (self.topic.id, self.partition);
        let first = runs.first().and_then(|run| run.offsets.first()).copied().unwrap_or_default();
        let last = runs.last().and_then(|run| run.offsets.last()).copied().unwrap_or_default();
        let mut write = shared.store.writing();
        if self.topic.is_gone() {
            return Ok(());
        }
        write.transaction(|tx| {
            delete_batches(tx, topic, partition, first..=last)?;
            kept.iter().try_for_each(|batch| {
                let place = Place { topic, partition, base: batch.offsets[0] };
                insert_batch(tx, (&shared.store.blocks, &self.topic), place, batch)
            })
        })
    }
}

fn hash((one, two): &(RandomState, RandomState), key: &[u8]) -> u128 {
    let half = |state: &RandomState| {
        let mut hasher = state.build_hasher();
        key.hash(&mut hasher);
        u128::from(std::hash::Hasher::finish(&hasher))
    };
    half(one) << 64 | half(two)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
