//! What control tells a worker to run, and what the worker tells back. Both are JSON over HTTP; the assignment is also a file on
//! the worker's disk, so that the worker goes on when control is away.
//!
//! Must never: carry a credential, or a physical name.

use crate::code::Code;
use crate::manifest::PipelineSpec;
use crate::name::{EntryName, PipelineName, ProjectId, StageName, TenantId, TopicName};
use crate::scope::PipelinePath;
use crate::tenant_limits::{Held, WorkerLimits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that a worker is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Rises with every change.
    pub generation: u64,
    /// The pipelines; one that is missing is to be stopped.
    pub pipelines: Vec<PipelineAssignment>,
    /// Tenants that were erased so far. Where it has risen, compiled code that no pipeline here uses goes: it may have been theirs.
    #[serde(default)]
    pub erasures: u64,
    /// What a worker keeps of the limits of each tenant that has pipelines here.
    #[serde(default)]
    pub tenants: BTreeMap<TenantId, WorkerLimits>,
    /// Names the workers that are told the same pipelines as this one, of all hosts that use the same log: they share out among them who
    /// watches which.
    #[serde(default)]
    pub fleet: String,
}

/// Names one pipeline among all tenants'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PipelineKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// In which project.
    pub project: ProjectId,
    /// Its name.
    pub pipeline: PipelineName,
}

/// One pipeline to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineAssignment {
    /// Which.
    #[serde(flatten)]
    pub key: PipelineKey,
    /// New with every pipeline that is made, so that one which was deleted and made again under its name is told apart.
    #[serde(default)]
    pub incarnation: String,
    /// How often it was told to begin anew: with each, the positions that were committed before are void.
    #[serde(default)]
    pub starts: u64,
    /// Rises with every applied manifest.
    pub revision: u64,
    /// What to run.
    pub spec: PipelineSpec,
    /// Paused pipelines keep their positions and run nothing.
    pub paused: bool,
    /// That its tenant is over a limit at which pipelines pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// Partitions of each input that have had a committed position: for these, a missing position is an error, never a reset.
    pub initialised: BTreeMap<TopicName, BTreeSet<i32>>,
    /// Which values the secrets have that its stages are granted, by the project's name for them: another stamp is another value. The
    /// values themselves come another way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<EntryName, String>,
    /// The version of its tenant's key under which its dead letters and its stages' state are sealed where the log does not seal what it
    /// keeps. The keys themselves come with the secrets. 0 where there is nothing to seal.
    #[serde(default)]
    pub key_version: u32,
    /// Whether a stage acts on time, so that there is something to do without a record. Where it is not said, one may.
    #[serde(default = "may_tick")]
    pub ticks: bool,
}

fn may_tick() -> bool {
    true
}

impl PipelineAssignment {
    /// Which making of the pipeline it is, for the names of what it keeps.
    pub fn path(&self) -> PipelinePath<'_> {
        let PipelineKey { project, pipeline, .. } = &self.key;
        PipelinePath { project, pipeline, incarnation: &self.incarnation }
    }
}

/// What a worker says about all its pipelines, about once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The worker's slot.
    pub worker: String,
    /// New at each start of the process: counters begin at zero with it.
    pub boot: String,
    /// The generation of the assignment it runs.
    pub generation: u64,
    /// The newest generation of which nothing is left to do: what it no longer names has stopped, and the memory of it is rewritten.
    #[serde(default)]
    pub settled: u64,
    /// Its pipelines.
    pub pipelines: Vec<PipelineReport>,
    /// Pipelines at rest of which the report before this one spoke, and of which nothing is new, are left out.
    #[serde(default)]
    pub partial: bool,
    /// What each tenant with pipelines here uses of its limits.
    #[serde(default)]
    pub tenants: BTreeMap<TenantId, TenantUse>,
}

/// What one worker does for a tenant, over the last few seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantUse {
    /// Fuel a second.
    pub fuel_per_second: u64,
    /// Bytes of records read a second.
    pub bytes_in_per_second: u64,
    /// Bytes of records written a second.
    pub bytes_out_per_second: u64,
    /// Instances of its stages that there are.
    pub instances: u64,
    /// Bytes of memory that these may use.
    pub guest_memory_bytes: u64,
    /// Bytes that are held for it.
    #[serde(default)]
    pub memory_bytes: u64,
}

/// What control answers to a report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The part of its rates that this worker may use of each tenant that runs on several, in thousandths; all of it of the others.
    #[serde(default)]
    pub shares: BTreeMap<TenantId, u32>,
    /// What was left out of the report is not known: the next one is to leave out nothing.
    #[serde(default)]
    pub complete: bool,
}

/// That a tenant's rate holds a pipeline up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowedBy {
    /// The limit.
    pub limit: String,
    /// How much it allows on all workers.
    pub allowed: u64,
    /// Of what.
    pub unit: String,
    /// Part of the time that the pipeline's partitions waited for it of late, in thousandths.
    pub waiting: u32,
}

/// How a pipeline fares on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineReport {
    /// Which.
    #[serde(flatten)]
    pub key: PipelineKey,
    /// [`PipelineAssignment::incarnation`] of what it speaks of.
    #[serde(default)]
    pub incarnation: String,
    /// [`PipelineAssignment::starts`] of the same: `initialised` speaks of positions since then.
    #[serde(default)]
    pub starts: u64,
    /// Which revision runs.
    pub revision: u64,
    /// What it is doing.
    pub phase: Phase,
    /// It runs and has nothing to do, so that it has neither consumer nor instances: both are there again with the next record.
    #[serde(default)]
    pub parked: bool,
    /// It is parked here because another worker looks after it, who may be at work: this one joins where that is not enough.
    #[serde(default)]
    pub standby: bool,
    /// Why it is not running, where it is not.
    pub code: Option<Code>,
    /// The same in words for the tenant.
    pub message: Option<String>,
    /// Records between the committed positions and the ends of the partitions that this worker owns.
    /// `None` until it is known of all of them.
    pub lag: Option<i64>,
    /// Partitions that this worker owns.
    pub partitions: u32,
    /// Committed since the worker's start.
    pub totals: Totals,
    /// Bytes of its stages' state in the partitions that this worker owns, counted as
    /// [`STATE_ENTRY_BYTES`](crate::limits::STATE_ENTRY_BYTES) says.
    #[serde(default)]
    pub state_bytes: u64,
    /// Bytes of batches, outputs and idle guests that it has in this worker's memory.
    #[serde(default)]
    pub memory_bytes: u64,
    /// What each stage has done since then.
    #[serde(default)]
    pub stages: BTreeMap<StageName, StageTotals>,
    /// Which rate of its tenant holds it up, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowed: Option<SlowedBy>,
    /// Partitions of each input that have a committed position.
    pub initialised: BTreeMap<TopicName, BTreeSet<i32>>,
    /// What its stages have used of what they were granted since the worker's start, brought up to date every few seconds.
    #[serde(default)]
    pub uses: Vec<GrantUse>,
}

/// How often a stage has used a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantUse {
    /// In which revision of the pipeline.
    pub revision: u64,
    /// Which stage.
    pub stage: StageName,
    /// What it was granted: how, and what, for instance `read topic/orders`.
    pub grant: String,
    /// Records of a topic, rows or calls of a bucket, entries of the state.
    pub count: u64,
    /// When first, in milliseconds since the epoch.
    pub first_ms: i64,
    /// When last.
    pub last_ms: i64,
}

/// What a pipeline has done; only committed work counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Source records.
    pub records_in: u64,
    /// Records written to topics, dead letters left out.
    pub records_out: u64,
    /// Bytes of keys, values and headers read.
    pub bytes_in: u64,
    /// The same, written.
    pub bytes_out: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Fuel, faulty runs included.
    pub fuel: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, more: Self) {
        self.records_in += more.records_in;
        self.records_out += more.records_out;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.dead_letters += more.dead_letters;
        self.fuel += more.fuel;
    }
}

/// What a stage has done for batches that have committed. Fuel of runs that were given up counts with the commit after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTotals {
    /// Records that it was given.
    pub records_in: u64,
    /// Records that it made, for topics and for other stages.
    pub records_out: u64,
    /// Records that it could not handle.
    pub faults: u64,
    /// Fuel, faulty runs included.
    pub fuel: u64,
}

impl std::ops::AddAssign for StageTotals {
    fn add_assign(&mut self, more: Self) {
        self.records_in += more.records_in;
        self.records_out += more.records_out;
        self.faults += more.faults;
        self.fuel += more.fuel;
    }
}

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Fetching its modules, joining its group.
    Starting,
    /// Running, with or without records.
    Running,
    /// Paused by its tenant.
    Paused,
    /// Waiting to try again after a failure.
    Backoff,
    /// Stopped until its tenant or operator acts.
    Failed,
}
