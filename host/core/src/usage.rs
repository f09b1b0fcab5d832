//! The usage record: what one batch of one pipeline has used, written in the transaction that commits the batch.
//!
//! What is billed is the fuel of calls whose outcome committed, and it is billed by the record that committed with it: work that did not
//! commit has no record. Fuel that went elsewhere is *wasted* and counted apart, by reason, with the next commit of the pipeline on the
//! same worker. Fuel of a worker that was killed, and of a call that was cut off, is in no record at all.
//! Must never: hold a key, a value, or anything else of a record.

use crate::bucket::{Column, ColumnType};
use crate::name::{PipelineName, ProjectId, StageName};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// The version of [`UsageRecord`] that is written now. Readers pass over records of a version that they do not know.
pub const USAGE_VERSION: u32 = 1;

/// The figures of a line of usage, as the API names them and every table writes them.
pub const FIGURES: [&str; 12] = [
    "batches",
    "recordsIn",
    "recordsOut",
    "bytesIn",
    "bytesOut",
    "fuel",
    "wastedFuel",
    "wastedStart",
    "wastedFailed",
    "wastedConfirm",
    "wastedDiscarded",
    "wastedAborted",
];

/// The columns of lines of usage in a file: these keys, then [`FIGURES`].
pub fn columns<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<Column> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: false };
    let key = |name: &str| column(name, if name == "revision" { ColumnType::Int64 } else { ColumnType::String });
    keys.into_iter().map(key).chain(FIGURES.map(|name| column(name, ColumnType::Int64))).collect()
}

/// Fuel that did not go into what committed, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wasted {
    /// Starting instances.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Calls that failed: a trap, too much fuel, too late.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Runs of one record alone that confirm a verdict.
    #[serde(skip_serializing_if = "is_zero")]
    pub confirm: u64,
    /// Calls that ended well and were given up all the same: for a retry, a host fault, or to run again without records that spoil state.
    #[serde(skip_serializing_if = "is_zero")]
    pub discarded: u64,
    /// Calls whose batch was ready and could not commit: its partition went to another worker, or the pipeline was started again.
    #[serde(skip_serializing_if = "is_zero")]
    pub aborted: u64,
}

impl Wasted {
    /// Why, by the names that records, reports and metrics have for it.
    pub const REASONS: [&'static str; 5] = ["start", "failed", "confirm", "discarded", "aborted"];

    /// The fuel of each reason, in the order of [`Wasted::REASONS`].
    pub fn by_reason(&self) -> [u64; 5] {
        [self.start, self.failed, self.confirm, self.discarded, self.aborted]
    }

    /// All of it.
    pub fn fuel(&self) -> u64 {
        self.by_reason().into_iter().fold(0, u64::saturating_add)
    }
}

impl AddAssign for Wasted {
    fn add_assign(&mut self, more: Self) {
        self.start = self.start.saturating_add(more.start);
        self.failed = self.failed.saturating_add(more.failed);
        self.confirm = self.confirm.saturating_add(more.confirm);
        self.discarded = self.discarded.saturating_add(more.discarded);
        self.aborted = self.aborted.saturating_add(more.aborted);
    }
}

/// What a stage has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Used {
    /// Records that it was given.
    pub records_in: u64,
    /// Records that it made, for topics and for other stages.
    pub records_out: u64,
    /// Bytes of keys, values and headers that it was given.
    pub bytes_in: u64,
    /// The same that it wrote to topics. What it gives to another stage is the other's `bytes_in` alone.
    pub bytes_out: u64,
    /// Fuel of calls whose outcome committed: what is billed. A call counts whole where some of its records committed.
    pub fuel: u64,
    /// Fuel that went elsewhere.
    pub wasted: Wasted,
}

impl AddAssign for Used {
    fn add_assign(&mut self, more: Self) {
        self.records_in = self.records_in.saturating_add(more.records_in);
        self.records_out = self.records_out.saturating_add(more.records_out);
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
        self.fuel = self.fuel.saturating_add(more.fuel);
        self.wasted += more.wasted;
    }
}

impl Used {
    /// Whether there is nothing to tell.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What of it is wasted where it does not commit.
    pub fn given_up(&self) -> Wasted {
        Wasted { aborted: self.wasted.aborted.saturating_add(self.fuel), ..self.wasted }
    }
}

/// What one stage has used in one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageUsage {
    /// Which stage.
    pub stage: StageName,
    /// How much.
    #[serde(flatten)]
    pub used: Used,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecord {
    /// [`USAGE_VERSION`].
    pub version: u32,
    /// When the batch was done, by the worker's clock, in milliseconds since the epoch.
    pub at_ms: i64,
    /// In which project.
    pub project: ProjectId,
    /// Which pipeline.
    pub pipeline: PipelineName,
    /// [`PipelineAssignment::incarnation`](crate::assignment::PipelineAssignment::incarnation).
    pub incarnation: String,
    /// Which revision ran. Waste of an earlier one is told by the next.
    pub revision: u64,
    /// Stages that have used something.
    pub stages: Vec<StageUsage>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_what_is_new_in_it_is_no_obstacle() {
        let used =
            Used { records_in: 2, fuel: 70, wasted: Wasted { confirm: 3, ..Wasted::default() }, ..Used::default() };
        let record = UsageRecord {
            version: USAGE_VERSION,
            at_ms: 5,
            project: "default".parse().unwrap(),
            pipeline: "p".parse().unwrap(),
            incarnation: "i".to_owned(),
            revision: 3,
            stages: vec![StageUsage { stage: "s".parse().unwrap(), used }],
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<UsageRecord>(&text).unwrap(), record);
        let newer = text.replace("\"confirm\":3", "\"confirm\":3,\"other\":1");
        assert_eq!(serde_json::from_str::<UsageRecord>(&newer).unwrap(), record);
    }

    #[test]
    fn what_does_not_commit_is_wasted_whole() {
        let used = Used { fuel: 70, wasted: Wasted { failed: 3, aborted: 4, ..Wasted::default() }, ..Used::default() };
        let wasted = used.given_up();
        assert_eq!((wasted.failed, wasted.aborted, wasted.fuel()), (3, 74, 77));
    }
}
