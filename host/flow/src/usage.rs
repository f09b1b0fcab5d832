//! What a pipeline has used, as a record in the transaction that commits the work; and what it owes: waste that is yet to be told.
//!
//! Waste of batches that could not commit has no transaction of its own, so it goes with the pipeline's next batch on this worker. Where
//! nobody knows whether a batch committed its waste is told by nobody, so that none is told twice.
//! Must never: put a record outside of the transaction that commits what it counts.

use crate::work::Work;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::name::StageName;
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_core::usage::{StageUsage, USAGE_VERSION, UsageRecord, Used, Wasted};
use bulkhead_log::{Block, Held, Keep, TopicSpec};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The one partition of a tenant's usage topic.
pub(crate) const PARTITION: i32 = 0;

/// What a tenant's usage topic is to be like: nothing goes from it by age, since control deletes what it has counted.
pub(crate) const TOPIC: TopicSpec =
    TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::UntilDeleted };

/// Waste that is yet to be told, by stage.
#[derive(Default)]
pub(crate) struct Owed(Mutex<BTreeMap<StageName, Wasted>>);

impl Owed {
    /// A stage wasted this, and no transaction says so.
    pub(crate) fn add(&self, stage: &StageName, wasted: Wasted) {
        if wasted != Wasted::default() {
            *self.0.lock().entry(stage.clone()).or_default() += wasted;
        }
    }

    /// What these stages have used does not commit.
    pub(crate) fn give_up(&self, usage: &[StageUsage]) {
        usage.iter().for_each(|StageUsage { stage, used }| self.add(stage, used.given_up()));
    }

    /// What a batch that is to commit tells: its own work, and all that is owed.
    pub(crate) fn tell<'a>(&self, work: &Work, stage: impl Fn(usize) -> &'a StageName) -> Vec<StageUsage> {
        let mut all: BTreeMap<StageName, Used> = BTreeMap::new();
        for (stage, wasted) in std::mem::take(&mut *self.0.lock()) {
            all.entry(stage).or_default().wasted += wasted;
        }
        for (at, done) in work.stages().filter(|(_, done)| !done.used.is_nothing()) {
            *all.entry(stage(at).clone()).or_default() += done.used;
        }
        all.into_iter().map(|(stage, used)| StageUsage { stage, used }).collect()
    }
}

/// What goes into the transaction.
///
/// # Panics
/// Never: the record is of plain names and numbers.
pub(crate) fn held(
    assignment: &PipelineAssignment,
    topic: &Arc<[Option<PhysicalTopic>]>,
    stages: Vec<StageUsage>,
) -> Held {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let record = UsageRecord {
        version: USAGE_VERSION,
        at_ms,
        project: assignment.key.project.clone(),
        pipeline: assignment.key.pipeline.clone(),
        incarnation: assignment.incarnation.clone(),
        revision: assignment.revision,
        stages,
    };
    let value = serde_json::to_vec(&record).expect("names and numbers become JSON");
    let mut outputs = Outputs::default();
    outputs.push(0, 0, at_ms, None, Some(&value));
    let batch = Arc::new(RecordBatch { partition: PARTITION, ..RecordBatch::default() });
    Held { batch, blocks: vec![Block { outputs, targets: topic.clone(), partition: Some(PARTITION) }] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Spent;

    #[test]
    fn what_did_not_commit_is_told_once_with_what_does() {
        let (stage, owed) = ("s".parse::<StageName>().unwrap(), Owed::default());
        let mut work = Work::default();
        work.burn(0, &Spent { used: 10, wasted: Wasted { start: 2, ..Wasted::default() } });
        let first = owed.tell(&work, |_| &stage);
        assert_eq!((first.len(), first[0].used.fuel, first[0].used.wasted.fuel()), (1, 10, 2));
        owed.give_up(&first);
        let again = owed.tell(&work, |_| &stage);
        let wasted = Wasted { start: 4, aborted: 10, ..Wasted::default() };
        assert_eq!((again[0].used.fuel, again[0].used.wasted), (10, wasted));
        assert_eq!(owed.tell(&Work::default(), |_| &stage), []);
    }
}
