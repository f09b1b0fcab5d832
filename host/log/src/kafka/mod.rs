//! Apache Kafka as the log.
//!
//! Every call blocks its thread. Admin requests share one client; each reader and each writer has one of its own.
//! Must never: say what the cluster did not.

mod admin;
mod append;
mod client;
mod config;
mod errors;
mod groups;
mod inputs;
mod logging;
mod login;
mod member;
mod messages;
mod native;
mod offsets;
mod opening;
mod partition;
mod positions;
mod produce;
mod read;
mod reader;
mod sizes;
mod stall;
mod stamp;
mod start;
mod topics;
mod trim;
mod wire;
mod writer;

pub use config::{GroupProtocol, KafkaConfig, Mechanism, Sasl, Tls};

use self::append::Appender;
use self::client::{Client, Kind};
use self::groups::Groups;
use self::read::Fetchers;
use self::sizes::Sizes;
use self::topics::TopicCache;
use crate::{Changes, GroupTopics, Log, LogError, PositionsAt, Reader, ReaderSpec, TopicInfo, TopicSpec, Writer};
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TransactionalId};
use std::sync::Arc;
use std::time::Duration;

/// A Kafka cluster. Clones share their connections.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
    appender: Arc<Appender>,
    fetchers: Arc<Fetchers>,
}

struct Shared {
    config: KafkaConfig,
    admin: Client,
    groups: Groups,
    topics: TopicCache,
    sizes: Sizes,
}

impl KafkaLog {
    /// Prepares to talk to the cluster. Nothing is sent yet, so a cluster that is away shows at the first call.
    ///
    /// # Errors
    /// [`bulkhead_core::code::Code::ConfigInvalid`] where the Kafka client does not accept a setting.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let admin = Client::new(Kind::Admin, &config::admin(&config))?;
        let shared =
            Shared { config, admin, groups: Groups::default(), topics: TopicCache::default(), sizes: Sizes::default() };
        Ok(Self { shared: Arc::new(shared), appender: Arc::default(), fetchers: Arc::default() })
    }
}

/// What no client of Kafka can hasten.
const LEFT_TO_BROKERS: &[&str] = &[
    "Kafka's brokers remove the segments of deleted topics `file.delete.delay.ms` after the deletion, one minute by default; until then they \
     are files whose folders end in `-delete`",
    "Kafka's `__consumer_offsets` and `__transaction_state` name deleted groups and topics until the broker's cleaner has compacted the \
     segments in which they were used; a segment that is still written to is not compacted before it is full or its `segment.ms` has passed",
    "Kafka's `__cluster_metadata` names deleted topics until a snapshot has taken the place of its older segments, \
     `metadata.log.max.snapshot.interval.ms` and `metadata.max.retention.ms`",
    "Kafka's brokers name topics and groups in the logs that they write for their operator",
];

fn names(topics: &[PhysicalTopic]) -> Vec<&str> {
    topics.iter().map(PhysicalTopic::as_str).collect()
}

impl Log for KafkaLog {
    fn create_topic(&self, topic: &PhysicalTopic, spec: &TopicSpec) -> Result<(), LogError> {
        self.shared.topics.forget(topic.as_str());
        admin::create_topic(&self.shared.admin, topic.as_str(), spec)
    }

    fn delete_topic(&self, topic: &PhysicalTopic) -> Result<(), LogError> {
        let deleted = admin::delete_topic(&self.shared.admin, topic.as_str());
        self.shared.topics.forget(topic.as_str());
        deleted
    }

    fn delete_records(&self, topic: &PhysicalTopic, before: &[(i32, i64)]) -> Result<(), LogError> {
        trim::delete_records(&self.shared.admin, topic.as_str(), before)
    }

    fn describe(&self, topic: &PhysicalTopic) -> Result<Option<TopicInfo>, LogError> {
        admin::describe(&self.shared.admin, topic.as_str())
    }

    fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        admin::topics(&self.shared.admin, prefix)
    }

    fn stored_bytes(&self, prefix: &str) -> Result<Option<u64>, LogError> {
        self.shared.sizes.below(&self.shared, prefix)
    }

    fn ends(&self, topics: &[PhysicalTopic]) -> Result<Vec<Vec<i64>>, LogError> {
        offsets::ends(&self.shared.admin, &names(topics))
    }

    /// Only a consumer of every topic would hear.
    fn tell(&self, _: &PhysicalTopic, _: &Arc<Changes>) -> bool {
        false
    }

    fn written(&self, topic: &PhysicalTopic, partition: i32) -> Result<i64, LogError> {
        offsets::written(&self.shared.admin, topic.as_str(), partition)
    }

    fn committed(&self, group: &GroupId, topics: &[PhysicalTopic]) -> Result<Vec<Vec<Option<i64>>>, LogError> {
        offsets::committed(&self.shared, group.as_str(), &names(topics))
    }

    fn positions(&self, groups: &[GroupTopics]) -> Result<Vec<Option<PositionsAt>>, LogError> {
        positions::of(&self.shared, groups)
    }

    fn delete_group(&self, group: &GroupId) -> Result<(), LogError> {
        // A client of its own: one that keeps being asked keeps the coordinator that it once found, also when the group has moved.
        let client = Client::new(Kind::Admin, &config::admin(&self.shared.config))?;
        admin::delete_group(&client, group.as_str())
    }

    fn groups(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        admin::groups(&self.shared.admin, prefix)
    }

    fn seals(&self) -> bool {
        false
    }

    fn scrub(&self) -> Result<&'static [&'static str], LogError> {
        Ok(LEFT_TO_BROKERS)
    }

    fn append(&self, topic: &PhysicalTopic, batch: &RecordBatch, outputs: &Outputs) -> Result<(), LogError> {
        self.appender.append(&self.shared, topic, batch, outputs)
    }

    fn read(
        &self,
        topic: &PhysicalTopic,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
        wait: Duration,
    ) -> Result<(RecordBatch, i64), LogError> {
        self.fetchers.read(&self.shared, topic, partition, from, limits, wait)
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(reader::KafkaReader::join(Arc::clone(&self.shared), spec)?))
    }

    fn writer(&self, id: &TransactionalId) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(writer::KafkaWriter::open(Arc::clone(&self.shared), id.clone())?))
    }
}
