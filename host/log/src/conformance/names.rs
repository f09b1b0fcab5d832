//! Names and patience of a case.

use super::member::Member;
use super::rows::Rows;
use crate::{Keep, Log, LogError, ReaderInput, ReaderSpec, TopicSpec, Writer};
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TenantScope, TransactionalId, WorkerScope};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a case waits for what must come. A machine that is very busy must not fail a case.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// How long a case watches that something does not come. Too short may miss a fault, never invent one.
pub(super) const WATCH: Duration = Duration::from_millis(700);
/// The timeout of commits.
pub(super) const COMMIT: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A log and names on it that only one case uses. All begin with `conf-` (topics) or `_bulkhead.conf-` (groups and transactional ids).
pub struct Bench {
    /// The log under test.
    pub log: Arc<dyn Log>,
    tenant: String,
}

impl Bench {
    /// A bench for the case of this name.
    pub fn new(log: Arc<dyn Log>, case: &str) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let initials: String = case.split('_').filter_map(|word| word.chars().next()).collect();
        Self { log, tenant: format!("conf-{}-{n}-{initials}", std::process::id()) }
    }

    fn scope(&self) -> TenantScope {
        TenantScope::assume(self.tenant.parse::<TenantId>().expect("a valid name"))
    }

    pub(super) fn topic(&self, name: &str) -> PhysicalTopic {
        self.scope().topic(&name.parse().expect("a valid name"))
    }

    pub(super) fn prefix(&self) -> String {
        self.scope().topic_prefix()
    }

    pub(super) fn group(&self, name: &str) -> GroupId {
        self.scope().group(&"default".parse().expect("a valid name"), &name.parse().expect("a valid name"))
    }

    pub(super) fn lane(&self, name: &str) -> TransactionalId {
        WorkerScope::new(&self.tenant).expect("a valid name").lane(name)
    }

    /// A new topic.
    pub(super) fn make(&self, name: &str, partitions: i32) -> PhysicalTopic {
        self.make_with(name, TopicSpec { partitions, max_record_bytes: None, replicas: None, keep: Keep::Default })
    }

    pub(super) fn make_with(&self, name: &str, spec: TopicSpec) -> PhysicalTopic {
        let topic = self.topic(name);
        self.log.create_topic(&topic, &spec).expect("the topic is made");
        topic
    }

    pub(super) fn writer(&self, lane: &str) -> Box<dyn Writer> {
        self.log.writer(&self.lane(lane)).expect("a writer")
    }

    /// Writes values without keys into one partition, outside any transaction.
    pub(super) fn append(&self, topic: &PhysicalTopic, partition: i32, values: impl IntoIterator<Item = String>) {
        self.try_append(topic, partition, values).expect("appended");
    }

    pub(super) fn try_append(
        &self,
        topic: &PhysicalTopic,
        partition: i32,
        values: impl IntoIterator<Item = String>,
    ) -> Result<(), LogError> {
        let mut rows = Rows::of(partition);
        values.into_iter().for_each(|value| rows.push(None, Some(value.as_bytes())));
        self.log.append(topic, &rows.batch, &rows.outputs)
    }

    /// What a group reads: these topics from their beginning.
    pub(super) fn spec(&self, group: &str, topics: &[&PhysicalTopic]) -> ReaderSpec {
        let input = |topic: &&PhysicalTopic| ReaderInput {
            topic: (*topic).clone(),
            start: Start::Earliest,
            initialised: BTreeSet::new(),
        };
        ReaderSpec {
            group: self.group(group),
            inputs: topics.iter().map(input).collect(),
            batch: BatchLimits::default(),
            queue_bytes: 16 << 20,
        }
    }

    pub(super) fn join(&self, group: &str, topics: &[&PhysicalTopic]) -> Member {
        Member::join(&*self.log, self.spec(group, topics))
    }

    /// All readable records of a partition.
    pub(super) fn all(&self, topic: &PhysicalTopic, partition: i32) -> RecordBatch {
        let end = self.ends(topic)[partition as usize];
        let mut all = RecordBatch { partition, ..RecordBatch::default() };
        let mut from = Start::Earliest;
        loop {
            let limits = BatchLimits::default();
            let (batch, next) = self.log.read(topic, partition, from, &limits, PATIENCE_OF_READ).expect("read");
            (0..batch.len()).for_each(|row| all.push_row(&batch, row));
            if next >= end {
                return all;
            }
            from = Start::Offset(next);
        }
    }

    /// All readable values of a partition, as text.
    pub(super) fn values(&self, topic: &PhysicalTopic, partition: i32) -> Vec<String> {
        let all = self.all(topic, partition);
        (0..all.len()).map(|row| text(all.values.get(row).expect("no tombstone here"))).collect()
    }

    /// Waits until this many records of a partition are readable: a log may show them a moment after their commit.
    pub(super) fn has(&self, topic: &PhysicalTopic, partition: i32, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.all(topic, partition).len() < count {
            assert!(Instant::now() < until, "{count} records are not readable within {PATIENCE:?}");
        }
    }

    /// Waits until exactly these values are readable. Any other is an error at once.
    pub(super) fn shows(&self, topic: &PhysicalTopic, partition: i32, expected: &[String]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let values = self.values(topic, partition);
            assert!(expected.starts_with(&values), "unexpected values in partition {partition}: {values:?}");
            if values.len() == expected.len() {
                return;
            }
            assert!(Instant::now() < until, "only {} of {} values", values.len(), expected.len());
        }
    }

    pub(super) fn ends(&self, topic: &PhysicalTopic) -> Vec<i64> {
        self.log.ends(std::slice::from_ref(topic)).expect("ends").remove(0)
    }

    pub(super) fn committed(&self, group: &str, topic: &PhysicalTopic) -> Vec<Option<i64>> {
        self.log.committed(&self.group(group), std::slice::from_ref(topic)).expect("committed").remove(0)
    }
}

/// A read of what is there already returns at once, so this is only a bound.
const PATIENCE_OF_READ: Duration = Duration::from_secs(10);

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// `prefix-0`, `prefix-1` and so on.
pub(super) fn numbered(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{prefix}-{n}")).collect()
}
