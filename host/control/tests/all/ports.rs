//! The two ports in memory: enough of an engine and a log for control's own promises.

use async_trait::async_trait;
use bulkhead_control::port::{Inspected, Left, Modules, NewTopic, Refusal, Scrubbed, TopicDescription, Topics};
use bulkhead_core::bucket::{Column, ObjectInfo};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{ModuleDigest, PipelineName, ProjectId, TenantId, TopicName};
use bulkhead_core::scope::{PipelinePath, TenantScope};
use bulkhead_core::usage::UsageRecord;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Accepts what begins like a component, after a permit of `gate`; counts how often it was asked.
pub(crate) struct MemoryModules {
    pub(crate) gate: Semaphore,
    pub(crate) asked: AtomicUsize,
    pub(crate) panics: std::sync::atomic::AtomicBool,
}

impl Default for MemoryModules {
    fn default() -> Self {
        Self { gate: Semaphore::new(1_000), asked: AtomicUsize::new(0), panics: false.into() }
    }
}

pub(crate) const SECRET_CAUSE: &str = "physical-name-of-another-tenant";

/// What looking at any module takes of a core.
pub(crate) const COMPILE_MS: u64 = 400;

#[async_trait]
impl Modules for MemoryModules {
    async fn inspect(&self, _: &TenantId, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Inspected, Refusal> {
        cpu_ms.fetch_add(COMPILE_MS, Ordering::SeqCst);
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "{SECRET_CAUSE}");
        self.gate.acquire().await.unwrap().forget();
        if !wasm.starts_with(b"\0asm") {
            return Err(Refusal::new(Code::NotWasm, "these bytes are not WebAssembly").because(SECRET_CAUSE));
        }
        if wasm.ends_with(b"socket") {
            let detail = "imports `wasi:sockets/tcp`, for which there is no grant";
            return Err(Refusal::new(Code::ImportNotGranted, detail));
        }
        let mut imports = vec!["bulkhead:stage/host@0.1.0".to_owned()];
        if wasm.ends_with(b"secrets") {
            imports.push("bulkhead:stage/secrets@0.1.0".to_owned());
        }
        if wasm.ends_with(b"state") {
            imports.push("bulkhead:stage/state@0.1.0".to_owned());
        }
        Ok(Inspected { imports, ticks: wasm.ends_with(b"ticks") })
    }

    async fn keep_only(&self, _: &BTreeSet<ModuleDigest>) -> Result<(), Refusal> {
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct MemoryTopics {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<(TenantId, TopicName), (NewTopic, Vec<RecordBatch>)>,
    /// Records of usage, by tenant.
    usage: BTreeMap<TenantId, RecordBatch>,
    members: BTreeSet<String>,
    forgotten: Vec<String>,
    /// Pipelines whose state has a place, with its partitions.
    kept: Vec<(String, i32)>,
    away: bool,
    bucket_away: bool,
    /// Tenants have more objects than one call removes.
    many: bool,
    /// Objects that no call removes.
    stuck: u64,
    /// What deletions had cleared away, in order.
    cleared: Vec<String>,
}

impl MemoryTopics {
    /// While a group has members, its positions cannot be forgotten.
    pub(crate) fn set_members(&self, group: &str, there: bool) {
        let mut state = self.state.lock();
        if there {
            state.members.insert(group.to_owned());
        } else {
            state.members.remove(group);
        }
    }

    /// A worker says what a tenant's pipeline has used.
    pub(crate) fn used(&self, tenant: &str, record: &UsageRecord) {
        let mut state = self.state.lock();
        let batch = state.usage.entry(tenant.parse().unwrap()).or_default();
        let value = serde_json::to_vec(record).unwrap();
        batch.push(batch.len() as i64, record.at_ms, None, Some(&value), []);
    }

    pub(crate) fn forgotten(&self) -> Vec<String> {
        self.state.lock().forgotten.clone()
    }

    pub(crate) fn kept_state(&self) -> Vec<(String, i32)> {
        self.state.lock().kept.clone()
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.state.lock().away = away;
    }

    pub(crate) fn set_bucket_away(&self, away: bool) {
        self.state.lock().bucket_away = away;
    }

    pub(crate) fn set_many(&self) {
        self.state.lock().many = true;
    }

    pub(crate) fn set_stuck(&self, objects: u64) {
        self.state.lock().stuck = objects;
    }

    pub(crate) fn cleared(&self) -> Vec<String> {
        self.state.lock().cleared.clone()
    }

    pub(crate) fn names_of(&self, tenant: &str) -> Vec<String> {
        let state = self.state.lock();
        state.topics.keys().filter(|(owner, _)| owner.as_str() == tenant).map(|(_, name)| name.to_string()).collect()
    }

    fn state(&self) -> Result<parking_lot::MutexGuard<'_, State>, Refusal> {
        let state = self.state.lock();
        if state.away {
            return Err(Refusal::new(Code::LogUnavailable, "the log is away; try again").because(SECRET_CAUSE));
        }
        Ok(state)
    }
}

fn key(scope: &TenantScope, name: &TopicName) -> (TenantId, TopicName) {
    (scope.tenant().clone(), name.clone())
}

#[async_trait]
impl Topics for MemoryTopics {
    async fn create(&self, scope: &TenantScope, name: &TopicName, topic: NewTopic) -> Result<(), Refusal> {
        let mut state = self.state()?;
        if state.topics.contains_key(&key(scope, name)) {
            return Err(Refusal::new(Code::Conflict, "there is such a topic; choose another name"));
        }
        let partitions = vec![RecordBatch::default(); usize::try_from(topic.partitions).unwrap()];
        state.topics.insert(key(scope, name), (topic, partitions));
        Ok(())
    }

    async fn describe(&self, scope: &TenantScope, name: &TopicName) -> Result<Option<TopicDescription>, Refusal> {
        let state = self.state()?;
        Ok(state.topics.get(&key(scope, name)).map(|(topic, partitions)| TopicDescription {
            partitions: topic.partitions,
            max_record_bytes: u64::from(topic.max_record_bytes.unwrap_or(1 << 20)),
            ends: partitions.iter().map(|batch| i64::try_from(batch.len()).unwrap()).collect(),
        }))
    }

    async fn list(&self, scope: &TenantScope) -> Result<Vec<TopicName>, Refusal> {
        let state = self.state()?;
        Ok(state.topics.keys().filter(|(owner, _)| owner == scope.tenant()).map(|(_, name)| name.clone()).collect())
    }

    async fn delete(&self, scope: &TenantScope, name: &TopicName) -> Result<(), Refusal> {
        self.state()?.topics.remove(&key(scope, name));
        Ok(())
    }

    async fn produce(&self, scope: &TenantScope, name: &TopicName, records: RecordBatch) -> Result<(), Refusal> {
        let mut state = self.state()?;
        let missing = || Refusal::new(Code::NotFound, "there is no such topic or partition").because(SECRET_CAUSE);
        let (topic, partitions) = state.topics.get_mut(&key(scope, name)).ok_or_else(missing)?;
        let partition = usize::try_from(records.partition % topic.partitions).unwrap();
        for i in 0..records.len() {
            partitions[partition].push_row(&records, i);
            let offset = i64::try_from(partitions[partition].len() - 1).unwrap();
            *partitions[partition].offsets.last_mut().unwrap() = offset;
        }
        Ok(())
    }

    async fn ends(&self, scope: &TenantScope, name: &TopicName) -> Result<Vec<i64>, Refusal> {
        let state = self.state()?;
        let partitions = state.topics.get(&key(scope, name)).map(|(_, partitions)| partitions.as_slice());
        Ok(partitions.unwrap_or_default().iter().map(|batch| batch.len() as i64).collect())
    }

    async fn read(
        &self,
        scope: &TenantScope,
        name: &TopicName,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
    ) -> Result<(RecordBatch, i64), Refusal> {
        let state = self.state()?;
        let (_, partitions) = &state.topics[&key(scope, name)];
        let batch = &partitions[usize::try_from(partition).unwrap()];
        let first = match from {
            Start::Offset(offset) => usize::try_from(offset).unwrap().min(batch.len()),
            Start::TimeMs(time) => batch.timestamps.iter().position(|t| *t >= time).unwrap_or(batch.len()),
            Start::Latest => batch.len(),
            _ => 0,
        };
        let end = batch.len().min(first + limits.records as usize);
        Ok((batch.select(first..end), i64::try_from(end).unwrap()))
    }

    async fn keep_state(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
        partitions: i32,
    ) -> Result<(), Refusal> {
        self.state()?.kept.push((format!("{}/{project}/{pipeline}", scope.tenant()), partitions));
        Ok(())
    }

    async fn forget_group(&self, scope: &TenantScope, project: &ProjectId, name: &PipelineName) -> Result<(), Refusal> {
        let mut state = self.state()?;
        let group = format!("{}/{project}/{name}", scope.tenant());
        if state.members.contains(&group) {
            return Err(Refusal::new(Code::Conflict, "workers are still leaving"));
        }
        state.forgotten.push(group);
        Ok(())
    }

    async fn forget_outputs(&self, scope: &TenantScope, gone: PipelinePath<'_>) -> Result<(), Refusal> {
        self.state()?.cleared.push(format!("outputs of {}", made(scope, gone)));
        Ok(())
    }

    async fn discard_staged(&self, scope: &TenantScope, gone: PipelinePath<'_>) -> Result<bool, Refusal> {
        let mut state = self.state()?;
        if state.bucket_away {
            return Err(Refusal::new(Code::BucketUnavailable, "the bucket is away; try again").because(SECRET_CAUSE));
        }
        state.cleared.push(format!("staged of {}", made(scope, gone)));
        Ok(true)
    }

    async fn delete_hidden(&self, scope: &TenantScope) -> Result<Left, Refusal> {
        let mut state = self.state()?;
        let line = format!("hidden of {}", scope.tenant());
        let first = !state.cleared.contains(&line);
        state.cleared.push(line);
        Ok(Left { objects: u64::from(state.many && first), ..Left::default() })
    }

    async fn left_of(&self, scope: &TenantScope) -> Result<Left, Refusal> {
        let state = self.state()?;
        let topics = state.topics.keys().filter(|(owner, _)| owner == scope.tenant()).count() as u64;
        Ok(Left { topics, groups: 0, objects: state.stuck })
    }

    async fn scrub(&self) -> Result<Scrubbed, Refusal> {
        let _there = self.state()?;
        Ok(Scrubbed { how: "in memory".to_owned(), elsewhere: vec!["nowhere".to_owned()] })
    }

    async fn usage_ends(&self, scopes: &[TenantScope]) -> Result<Vec<Option<i64>>, Refusal> {
        let state = self.state()?;
        Ok(scopes.iter().map(|scope| state.usage.get(scope.tenant()).map(|batch| batch.len() as i64)).collect())
    }

    async fn usage(&self, scope: &TenantScope, from: i64, limits: &BatchLimits) -> Result<(RecordBatch, i64), Refusal> {
        let state = self.state()?;
        let batch = &state.usage[scope.tenant()];
        let from = usize::try_from(from).unwrap();
        let end = batch.len().min(from + limits.records as usize);
        Ok((batch.select(from..end), end as i64))
    }

    async fn forget_usage(&self, _: &TenantScope, _: i64) -> Result<(), Refusal> {
        Ok(())
    }

    async fn stored(&self, scope: &TenantScope) -> Result<Option<u64>, Refusal> {
        let state = self.state()?;
        let own = state.topics.iter().filter(|((tenant, _), _)| tenant == scope.tenant());
        Ok(Some(own.flat_map(|(_, (_, partitions))| partitions).map(|batch| batch.bytes() as u64).sum()))
    }

    async fn objects(&self, _: &TenantScope, _: Option<&str>, _: usize) -> Result<Vec<ObjectInfo>, Refusal> {
        Ok(Vec::new())
    }
}

fn made(scope: &TenantScope, PipelinePath { project, pipeline, incarnation }: PipelinePath<'_>) -> String {
    format!("{}/{project}/{pipeline} {incarnation}", scope.tenant())
}

/// Both, to be shared with a server.
#[derive(Clone, Default)]
pub(crate) struct Ports {
    pub(crate) modules: Arc<MemoryModules>,
    pub(crate) topics: Arc<MemoryTopics>,
}

/// What stands for the writer of Parquet: it says the columns' names, and how many lines there are.
pub(crate) fn parquet(columns: &[Column], lines: &[Value]) -> Result<Bytes, Refusal> {
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    Ok(format!("PAR1 {} {}", names.join(","), lines.len()).into())
}
