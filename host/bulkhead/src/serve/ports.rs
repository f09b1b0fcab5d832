//! Control's two ports, joined to the real engine and the real log.
//!
//! Must never: let a physical name or the log's own words reach the tenant; they go to the operator's log as the cause.

use async_trait::async_trait;
use bulkhead_bucket::{BucketError, Buckets};
use bulkhead_control::port::{Inspected, Left, Modules, NewTopic, Refusal, Scrubbed, TopicDescription, Topics};
use bulkhead_core::bucket::ObjectInfo;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{ModuleDigest, PipelineName, ProjectId, TenantId, TopicName};
use bulkhead_core::scope::{GroupId, PipelinePath, TenantScope};
use bulkhead_engine::Engine;
use bulkhead_log::{Keep, Log, LogError, TopicInfo, TopicSpec, record_bytes};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Inspection by the engine's compiler child.
pub(super) struct EngineModules(pub(super) Engine);

#[async_trait]
impl Modules for EngineModules {
    async fn inspect(&self, whose: &TenantId, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Inspected, Refusal> {
        match self.0.inspect_counting(whose, wasm, cpu_ms).await {
            Ok(found) => Ok(Inspected { imports: found.imports, ticks: found.ticks }),
            Err(refused) => Err(Refusal::new(refused.code, refused.detail)),
        }
    }

    async fn keep_only(&self, digests: &BTreeSet<ModuleDigest>) -> Result<(), Refusal> {
        let (engine, digests) = (self.0.clone(), digests.clone());
        let swept = tokio::task::spawn_blocking(move || engine.keep_only(&digests)).await;
        swept.map_err(|panic| Refusal::new(Code::Internal, "compiled code was not removed").because(panic))
    }
}

/// What an S3 server may keep.
const VERSIONS: &str = "earlier versions and delete markers of objects, where the S3 bucket keeps versions, until its life-cycle rules remove them";
/// Control alone that does not know the buckets.
const NO_BUCKETS: &str =
    "objects of the tenant's buckets: this control was started without --buckets and could not look";

/// Reads at a time. Each keeps a thread, and a client of the log, for as long as its records take to come.
const READS_MAX: usize = 32;

/// Topics of the log, and what pipelines leave in buckets.
pub(super) struct LogTopics {
    log: Arc<dyn Log>,
    /// `None` where control is alone and was not told where buckets are.
    buckets: Option<Buckets>,
    reads: Arc<Semaphore>,
}

impl LogTopics {
    pub(super) fn new(log: Arc<dyn Log>, buckets: Option<Buckets>) -> Self {
        Self { log, buckets, reads: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Calls the log on a thread that may block.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Log) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let log = self.log.clone();
        match tokio::task::spawn_blocking(move || call(log.as_ref())).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(panic) => Err(Refusal::new(Code::Internal, "the log failed").because(panic)),
        }
    }

    async fn info(&self, scope: &TenantScope, name: &TopicName) -> Result<TopicInfo, Refusal> {
        let topic = scope.topic(name);
        let info = self.call(move |log| log.describe(&topic)).await?;
        info.ok_or_else(|| Refusal::new(Code::NotFound, format!("there is no topic `{name}`; make it first")))
    }
}

fn refusal(error: &LogError) -> Refusal {
    let detail = match error.code {
        Code::Conflict => "it exists already, or is in use",
        Code::TopicGone | Code::NotFound => {
            return Refusal::new(Code::NotFound, "there is no such topic or partition").because(error);
        }
        Code::LogUnavailable => "the log does not answer; try again",
        Code::LogRefused => "the log refused the request; ask the operator",
        Code::RequestTooLarge => "a record is larger than its topic takes",
        _ => "the log failed; ask the operator",
    };
    Refusal::new(error.code, detail).because(error)
}

#[async_trait]
impl Topics for LogTopics {
    async fn create(&self, scope: &TenantScope, name: &TopicName, topic: NewTopic) -> Result<(), Refusal> {
        let physical = scope.topic(name);
        let spec = TopicSpec {
            partitions: topic.partitions,
            max_record_bytes: topic.max_record_bytes,
            replicas: None,
            keep: Keep::Default,
        };
        self.call(move |log| log.create_topic(&physical, &spec)).await
    }

    async fn describe(&self, scope: &TenantScope, name: &TopicName) -> Result<Option<TopicDescription>, Refusal> {
        let topic = scope.topic(name);
        self.call(move |log| {
            let Some(info) = log.describe(&topic)? else { return Ok(None) };
            let ends = log.ends(std::slice::from_ref(&topic))?.pop().unwrap_or_default();
            let max_record_bytes = info.max_record_bytes as u64;
            Ok(Some(TopicDescription { partitions: info.partitions, max_record_bytes, ends }))
        })
        .await
    }

    async fn list(&self, scope: &TenantScope) -> Result<Vec<TopicName>, Refusal> {
        let prefix = scope.topic_prefix();
        let names = self.call(move |log| log.topics(&prefix)).await?;
        Ok(names.iter().filter_map(|name| scope.topic_name(name)).collect())
    }

    async fn delete(&self, scope: &TenantScope, name: &TopicName) -> Result<(), Refusal> {
        let topic = scope.topic(name);
        self.call(move |log| log.delete_topic(&topic)).await
    }

    async fn produce(&self, scope: &TenantScope, name: &TopicName, records: RecordBatch) -> Result<(), Refusal> {
        let max = self.info(scope, name).await?.max_record_bytes;
        let topic = scope.topic(name);
        let outputs = whole(&records);
        for i in 0..records.len() {
            let bytes = record_bytes(records.keys.get(i), records.values.get(i), records.headers.row(i));
            if bytes > max {
                let detail =
                    format!("record {} (from 1) has {bytes} bytes with framing; topic `{name}` takes {max}", i + 1);
                return Err(Refusal::new(Code::RequestTooLarge, detail));
            }
        }
        self.call(move |log| log.append(&topic, &records, &outputs)).await
    }

    async fn ends(&self, scope: &TenantScope, name: &TopicName) -> Result<Vec<i64>, Refusal> {
        let topic = scope.topic(name);
        self.call(move |log| Ok(log.ends(std::slice::from_ref(&topic))?.pop().unwrap_or_default())).await
    }

    async fn read(
        &self,
        scope: &TenantScope,
        name: &TopicName,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
    ) -> Result<(RecordBatch, i64), Refusal> {
        let (topic, limits) = (scope.topic(name), *limits);
        let turn = self.reads.clone().acquire_owned().await;
        self.call(move |log| {
            // Given back by the thread, not by a request that may be gone before it.
            let _turn = turn;
            log.read(&topic, partition, from, &limits, Duration::ZERO)
        })
        .await
    }

    async fn forget_group(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
    ) -> Result<(), Refusal> {
        let (group, state) = (scope.group(project, pipeline), scope.state_topic(project, pipeline));
        // The group first: while it has members, they may write state.
        self.call(move |log| log.delete_group(&group).and_then(|()| log.delete_topic(&state))).await
    }

    async fn forget_outputs(&self, scope: &TenantScope, pipeline: PipelinePath<'_>) -> Result<(), Refusal> {
        let (owner, prefixes) = (scope.clone(), scope.output_topic_prefixes(&pipeline));
        self.call(move |log| forget_topics(log, &owner, &prefixes).map(|_| ())).await
    }

    async fn discard_staged(&self, scope: &TenantScope, pipeline: PipelinePath<'_>) -> Result<bool, Refusal> {
        match &self.buckets {
            Some(buckets) => buckets.discard_staged(scope, &pipeline).await.map_err(|error| bucket_refusal(&error)),
            None => Ok(true),
        }
    }

    async fn delete_hidden(&self, scope: &TenantScope) -> Result<Left, Refusal> {
        let (owner, prefixes) = (scope.clone(), scope.hidden_topic_prefixes());
        let topics = self.call(move |log| forget_topics(log, &owner, &prefixes)).await?;
        let owner = scope.clone();
        let groups = self.call(move |log| forget_groups(log, &owner)).await?;
        let objects = match &self.buckets {
            Some(buckets) => buckets.delete_tenant(scope).await.map_err(|error| bucket_refusal(&error))?,
            None => 0,
        };
        Ok(Left { topics, groups, objects })
    }

    async fn left_of(&self, scope: &TenantScope) -> Result<Left, Refusal> {
        let owner = scope.clone();
        let topics = self.call(move |log| {
            let prefixes = owner.hidden_topic_prefixes().into_iter().chain([owner.topic_prefix()]);
            prefixes.map(|prefix| Ok(log.topics(&prefix)?.len() as u64)).sum::<Result<u64, LogError>>()
        });
        let topics = topics.await?;
        let owner = scope.clone();
        let groups = self.call(move |log| groups_of(log, &owner)).await?.len() as u64;
        let objects = match &self.buckets {
            Some(buckets) => buckets.left_of(scope).await.map_err(|error| bucket_refusal(&error))?,
            None => 0,
        };
        Ok(Left { topics, groups, objects })
    }

    async fn scrub(&self) -> Result<Scrubbed, Refusal> {
        let elsewhere = self.call(|log| log.scrub()).await?;
        let how =
            if elsewhere.is_empty() { "written anew (VACUUM), and the journal emptied" } else { "left to the brokers" };
        let mut elsewhere: Vec<String> = elsewhere.iter().map(|place| (*place).to_owned()).collect();
        match &self.buckets {
            Some(buckets) if buckets.is_remote() => elsewhere.push(VERSIONS.to_owned()),
            Some(_) => {}
            None => elsewhere.push(NO_BUCKETS.to_owned()),
        }
        Ok(Scrubbed { how: how.to_owned(), elsewhere })
    }

    async fn usage_ends(&self, scopes: &[TenantScope]) -> Result<Vec<Option<i64>>, Refusal> {
        let topics: Vec<_> = scopes.iter().map(TenantScope::usage_topic).collect();
        let ends = self.call(move |log| log.ends(&topics)).await?;
        Ok(ends.into_iter().map(|ends| ends.first().copied().filter(|end| *end >= 0)).collect())
    }

    async fn usage(&self, scope: &TenantScope, from: i64, limits: &BatchLimits) -> Result<(RecordBatch, i64), Refusal> {
        let (topic, limits) = (scope.usage_topic(), *limits);
        self.call(move |log| log.read(&topic, 0, Start::Offset(from), &limits, Duration::ZERO)).await
    }

    async fn forget_usage(&self, scope: &TenantScope, before: i64) -> Result<(), Refusal> {
        let topic = scope.usage_topic();
        self.call(move |log| log.delete_records(&topic, &[(0, before)])).await
    }

    async fn stored(&self, scope: &TenantScope) -> Result<Option<u64>, Refusal> {
        let prefixes: Vec<String> = scope.hidden_topic_prefixes().into_iter().chain([scope.topic_prefix()]).collect();
        self.call(move |log| prefixes.iter().map(|prefix| log.stored_bytes(prefix)).sum()).await
    }

    async fn objects(
        &self,
        scope: &TenantScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, Refusal> {
        match &self.buckets {
            Some(buckets) => buckets.of_tenant(scope, after, limit).await.map_err(|error| bucket_refusal(&error)),
            None => Ok(Vec::new()),
        }
    }

    async fn keep_state(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
        partitions: i32,
    ) -> Result<(), Refusal> {
        let state = scope.state_topic(project, pipeline);
        self.call(move |log| match log.create_topic(&state, &bulkhead_flow::changelog_spec(partitions)) {
            Err(error) if error.code == Code::Conflict => Ok(()),
            made => made,
        })
        .await
    }
}

/// Deletes a tenant's hidden topics whose names begin so. A sink's group goes before its topic of manifests, which leads to it; while it
/// has members, neither does. Says how many there were.
fn forget_topics(log: &dyn Log, owner: &TenantScope, prefixes: &[String]) -> Result<u64, LogError> {
    let mut topics = Vec::new();
    for prefix in prefixes {
        topics.extend(log.topics(prefix)?.iter().filter_map(|name| owner.hidden_topic(name)));
    }
    // All groups first: a sink that is still leaving reads its rows, too.
    topics.iter().filter_map(|topic| owner.sink_group_of(topic)).try_for_each(|group| log.delete_group(&group))?;
    topics.iter().try_for_each(|topic| log.delete_topic(topic))?;
    Ok(topics.len() as u64)
}

/// All groups of a tenant that have positions.
fn groups_of(log: &dyn Log, owner: &TenantScope) -> Result<Vec<GroupId>, LogError> {
    let mut groups = Vec::new();
    for prefix in owner.group_prefixes() {
        groups.extend(log.groups(&prefix)?.iter().filter_map(|name| owner.own_group(name)));
    }
    Ok(groups)
}

/// Deletes them, whatever pipeline they were of, and says how many there were.
fn forget_groups(log: &dyn Log, owner: &TenantScope) -> Result<u64, LogError> {
    let groups = groups_of(log, owner)?;
    groups.iter().try_for_each(|group| log.delete_group(group))?;
    Ok(groups.len() as u64)
}

fn bucket_refusal(error: &BucketError) -> Refusal {
    Refusal::new(error.code(), "the object store does not answer; try again").because(error)
}

/// Every record of a batch as an output of its own.
fn whole(records: &RecordBatch) -> Outputs {
    let mut outputs = Outputs::default();
    for i in 0..records.len() {
        outputs.push(i as u32, 0, records.timestamps[i], records.keys.get(i), records.values.get(i));
        for (name, value) in records.headers.row(i) {
            outputs.headers.push(name, value);
        }
        outputs.headers.end_row(i);
    }
    outputs
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
