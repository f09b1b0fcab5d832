//! What control needs of the engine, of the log and of the writer of tables, as small ports, so that it links none of them.
//!
//! The binary implements them with the real ones. Control gives them a [`TenantScope`], never a physical
//! name. Must never: grow a method that a handler does not call.

use async_trait::async_trait;
use bulkhead_core::bucket::{Column, ObjectInfo};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{ModuleDigest, PipelineName, ProjectId, TenantId, TopicName};
use bulkhead_core::scope::{PipelinePath, TenantScope};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

/// Writes lines as Parquet: a file of these columns, in which each line is a JSON object that has them and nothing else.
///
/// # Errors
/// [`Code::Internal`] where a line is not of the columns.
pub type WriteParquet = fn(columns: &[Column], lines: &[Value]) -> Result<Bytes, Refusal>;

/// Looks at uploaded bytes and says whether they are a stage.
#[async_trait]
pub trait Modules: Send + Sync + 'static {
    /// Validates a component and its imports, and compiles it as far as is needed to know that it compiles. May take long; control
    /// bounds how many run at once ([`crate::ControlConfig::inspections_max`]) and for how long; where workers compile in the same process,
    /// tenants take turns with these too. Adds to `cpu_ms` what it took of a core, whatever comes of it.
    ///
    /// # Errors
    /// [`Code::NotWasm`], [`Code::CoreModule`], [`Code::WrongWorld`], [`Code::ImportNotGranted`], [`Code::CompileLimit`] or
    /// [`Code::ModuleInvalid`] where the bytes are at fault; any other code where the host is.
    async fn inspect(&self, whose: &TenantId, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Inspected, Refusal>;

    /// Removes what was kept of inspected modules but these.
    ///
    /// # Errors
    /// Where the disk refuses.
    async fn keep_only(&self, digests: &BTreeSet<ModuleDigest>) -> Result<(), Refusal>;
}

/// What was found in a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspected {
    /// What it imports, for instance `bulkhead:stage/host@0.1.0`; shown to the tenant.
    pub imports: Vec<String>,
    /// Whether it exports what is called on time.
    pub ticks: bool,
}

/// A tenant's topics. Every method takes the scope whose topics it may touch; `name` is the tenant's own name.
#[async_trait]
pub trait Topics: Send + Sync + 'static {
    /// Makes a topic.
    ///
    /// # Errors
    /// [`Code::Conflict`] where it exists; [`Code::LogUnavailable`] and its like.
    async fn create(&self, scope: &TenantScope, name: &TopicName, topic: NewTopic) -> Result<(), Refusal>;

    /// What a topic is like now; `None` where there is none.
    async fn describe(&self, scope: &TenantScope, name: &TopicName) -> Result<Option<TopicDescription>, Refusal>;

    /// The names of all the tenant's topics, sorted.
    async fn list(&self, scope: &TenantScope) -> Result<Vec<TopicName>, Refusal>;

    /// Deletes a topic with everything in it. No error where there is none.
    async fn delete(&self, scope: &TenantScope, name: &TopicName) -> Result<(), Refusal>;

    /// Appends records, durably when it returns. Keys choose the partition; records without one go to `records.partition`
    /// modulo the topic's. The batch's offsets mean nothing.
    ///
    /// # Errors
    /// [`Code::NotFound`] where there is no such topic; [`Code::RequestTooLarge`] where a record is above the topic's limit,
    /// with nothing written.
    async fn produce(&self, scope: &TenantScope, name: &TopicName, records: RecordBatch) -> Result<(), Refusal>;

    /// For each partition, the offset after the last readable record, -1 where nobody leads it; none where there is no such topic.
    async fn ends(&self, scope: &TenantScope, name: &TopicName) -> Result<Vec<i64>, Refusal>;

    /// Committed records of one partition that are there now, at most `limits`; and the offset to go on from.
    ///
    /// # Errors
    /// [`Code::NotFound`] where there is no such topic or partition.
    async fn read(
        &self,
        scope: &TenantScope,
        name: &TopicName,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
    ) -> Result<(RecordBatch, i64), Refusal>;

    /// Bytes of all records in the tenant's topics, hidden ones too; `None` where the log cannot say.
    async fn stored(&self, scope: &TenantScope) -> Result<Option<u64>, Refusal>;

    /// Makes the place where the state of a pipeline's stages is kept, good for inputs of this many partitions. One that is there stays
    /// as it is.
    async fn keep_state(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
        partitions: i32,
    ) -> Result<(), Refusal>;

    /// Forgets the positions of a pipeline that was deleted, and the state of its stages. No error where there are none.
    ///
    /// # Errors
    /// [`Code::Conflict`] while workers are still leaving: control tries again.
    async fn forget_group(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
    ) -> Result<(), Refusal>;

    /// Deletes the topics in which rows and manifests of a deleted pipeline's bucket outputs wait, whichever revision declared these, with
    /// the positions in them. No error where there are none.
    ///
    /// # Errors
    /// As [`Topics::forget_group`].
    async fn forget_outputs(&self, scope: &TenantScope, pipeline: PipelinePath<'_>) -> Result<(), Refusal>;

    /// Removes the objects that a deleted pipeline staged and never published. `false` where there are more than one call removes.
    async fn discard_staged(&self, scope: &TenantScope, pipeline: PipelinePath<'_>) -> Result<bool, Refusal>;

    /// Deletes what a deleted tenant has that it did not declare, as much as one call may: hidden topics, with the groups that read them,
    /// and the objects of its buckets, staged or published. Says how much that was; nothing where there is no more.
    async fn delete_hidden(&self, scope: &TenantScope) -> Result<Left, Refusal>;

    /// How much there is under any name of a deleted tenant.
    async fn left_of(&self, scope: &TenantScope) -> Result<Left, Refusal>;

    /// Makes what was deleted unreadable in the files of the log, as far as that is in its hands. May take long.
    async fn scrub(&self) -> Result<Scrubbed, Refusal>;

    /// For each tenant, the offset after the last readable record of usage; `None` where it has no such records, or nobody knows now.
    async fn usage_ends(&self, scopes: &[TenantScope]) -> Result<Vec<Option<i64>>, Refusal>;

    /// Committed records of a tenant's usage from this offset on, at most `limits`; and the offset to go on from.
    async fn usage(&self, scope: &TenantScope, from: i64, limits: &BatchLimits) -> Result<(RecordBatch, i64), Refusal>;

    /// Deletes the records of a tenant's usage that lie before this offset.
    async fn forget_usage(&self, scope: &TenantScope, before: i64) -> Result<(), Refusal>;

    /// Published objects of the tenant, each as `bucket/key`, after the one named, in order, at most `limit`.
    async fn objects(&self, scope: &TenantScope, after: Option<&str>, limit: usize)
    -> Result<Vec<ObjectInfo>, Refusal>;
}

/// How much of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Topics.
    pub topics: u64,
    /// Groups with positions.
    pub groups: u64,
    /// Objects; a thousand stand for more.
    pub objects: u64,
}

/// What was done to the log's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// In words, for a report.
    pub how: String,
    /// Where something may stay that is not in Bulkhead's hands, and until when.
    pub elsewhere: Vec<String>,
}

/// A topic to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTopic {
    /// How many partitions, at least 1.
    pub partitions: i32,
    /// Bytes of one record at most; `None` for the log's default.
    pub max_record_bytes: Option<u32>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// How many partitions it has.
    pub partitions: i32,
    /// Bytes of one record at most.
    pub max_record_bytes: u64,
    /// For each partition, the offset after the last readable record.
    pub ends: Vec<i64>,
}

/// Why a port did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The page that explains it. A code whose status is 200 (one of the record path) becomes a 503 over HTTP.
    pub code: Code,
    /// For the tenant: what to do, with nothing physical and nothing of another tenant in it.
    pub detail: String,
    /// For the operator's log; never shown over HTTP.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal with nothing more to log.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), cause: None }
    }

    /// The same with its cause for the operator.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}
