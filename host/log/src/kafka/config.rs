//! How to reach Kafka, and how its clients are set.
//!
//! Must never: print a password.

use super::client::Properties;
use crate::ReaderSpec;
use bulkhead_core::scope::TransactionalId;
use std::fmt;
use std::path::PathBuf;

/// How to reach a Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, joined by commas.
    pub bootstrap: String,
    /// User and password; `None` where the cluster asks for none.
    pub sasl: Option<Sasl>,
    /// `None` for plain text.
    pub tls: Option<Tls>,
    /// How consumers form groups. Default KIP-848.
    pub group_protocol: GroupProtocol,
    /// Further properties of librdkafka, for all clients; they win over this crate's own. A property that only one kind of client
    /// knows begins with `consumer:` or `producer:`.
    pub properties: Vec<(String, String)>,
}

impl KafkaConfig {
    /// The cluster at these brokers, without login, in plain text.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            sasl: None,
            tls: None,
            group_protocol: GroupProtocol::Consumer,
            properties: Vec::new(),
        }
    }
}

/// A login.
#[derive(Clone)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a password is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM-SHA-512.
    ScramSha512,
    /// SCRAM-SHA-256.
    ScramSha256,
}

/// Encryption of the connections.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// A file of certificates (PEM) of those who may vouch for a broker; `None` for the system's.
    pub ca: Option<PathBuf>,
}

/// How consumers form groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    /// KIP-848: the broker assigns; needs Kafka 4.
    Consumer,
    /// The classic protocol, cooperative-sticky; works with older brokers. The broker waits `group.initial.rebalance.delay.ms`.
    Classic,
}

/// Bytes of a produce request's batch for one partition.
pub(super) const BATCH_BYTES: usize = 512 * 1024;
/// Bytes of one record that the client itself lets pass; the topic's limit is checked before.
const MESSAGE_BYTES: usize = 100 << 20;
/// Bytes that a partition prefetches at least, whatever the budget: less would fetch record by record.
const PARTITION_QUEUE_MIN: u64 = 64 << 10;
/// Bytes that a partition prefetches at most: more hides nothing that a fetch takes.
const PARTITION_QUEUE_MAX: u64 = 8 << 20;

fn common(config: &KafkaConfig) -> Properties {
    let mut properties = pairs(&[
        ("bootstrap.servers", config.bootstrap.as_str()),
        ("client.id", "bulkhead"),
        ("log_level", "5"),
        ("socket.keepalive.enable", "true"),
        ("reconnect.backoff.max.ms", "2000"),
        // Left sparse, a request that waits for a broker which is down asks for a connection at every failure of the last one, without
        // any backoff: ten thousand attempts a second.
        ("enable.sparse.connections", "false"),
        // Topics are looked up before they are used, so one that vanishes is gone, and not just new.
        ("topic.metadata.propagation.max.ms", "3000"),
    ]);
    let security = match (&config.sasl, &config.tls) {
        (None, None) => "PLAINTEXT",
        (None, Some(_)) => "SSL",
        (Some(_), None) => "SASL_PLAINTEXT",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    properties.extend(pairs(&[("security.protocol", security)]));
    if let Some(Sasl { mechanism, user, password }) = &config.sasl {
        let mechanism = match mechanism {
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        };
        properties.extend(pairs(&[
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
        ]));
    }
    if let Some(ca) = config.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        properties.extend(pairs(&[("ssl.ca.location", &ca.to_string_lossy())]));
    }
    properties
}

fn with_own(mut properties: Properties, config: &KafkaConfig, kind: &str) -> Properties {
    for (name, value) in &config.properties {
        match name.split_once(':') {
            None => properties.push((name.clone(), value.clone())),
            Some((only, name)) if only == kind => properties.push((name.to_owned(), value.clone())),
            Some(_) => {}
        }
    }
    properties
}

pub(super) fn admin(config: &KafkaConfig) -> Properties {
    with_own(common(config), config, "admin")
}

/// Bytes that each of a reader's partitions may prefetch.
fn partition_queue(queue_bytes: u64, partitions: usize) -> u64 {
    // Half, because a fetch that began below the bound may add as much again.
    (queue_bytes / 2 / (partitions.max(1) as u64)).clamp(PARTITION_QUEUE_MIN, PARTITION_QUEUE_MAX)
}

fn consumer(config: &KafkaConfig, queue: u64) -> Properties {
    let mut properties = common(config);
    let kib = (queue / 1024).to_string();
    let bytes = queue.to_string();
    properties.extend(pairs(&[
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("allow.auto.create.topics", "false"),
        ("queued.max.messages.kbytes", &kib),
        ("fetch.message.max.bytes", &bytes),
        // Full queues are looked at again soon: the default of a second would starve a busy partition.
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.error.backoff.ms", "100"),
    ]));
    properties
}

/// A member of `spec`'s group, whose topics have this many partitions in all.
pub(super) fn member(config: &KafkaConfig, spec: &ReaderSpec, partitions: usize) -> Properties {
    let mut properties = consumer(config, partition_queue(spec.queue_bytes, partitions));
    properties.extend(pairs(&[("group.id", spec.group.as_str())]));
    properties.extend(match config.group_protocol {
        GroupProtocol::Consumer => pairs(&[("group.protocol", "consumer")]),
        GroupProtocol::Classic => pairs(&[
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
        ]),
    });
    with_own(properties, config, "consumer")
}

/// Reads single partitions without a group.
pub(super) fn fetcher(config: &KafkaConfig) -> Properties {
    let mut properties = consumer(config, 1 << 20);
    properties.extend(pairs(&[("fetch.wait.max.ms", "100")]));
    with_own(properties, config, "consumer")
}

/// Asks for the positions of a group, whatever protocol its members use, without becoming one.
pub(super) fn asker(config: &KafkaConfig, group: &str) -> Properties {
    let mut properties = common(config);
    properties.extend(pairs(&[
        ("group.id", group),
        ("group.protocol", "classic"),
        ("enable.auto.commit", "false"),
        // Positions that an open transaction may change are waited for.
        ("isolation.level", "read_committed"),
    ]));
    with_own(properties, config, "consumer")
}

fn producer(config: &KafkaConfig) -> Properties {
    let mut properties = common(config);
    let (message, batch) = (MESSAGE_BYTES.to_string(), BATCH_BYTES.to_string());
    properties.extend(pairs(&[
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("message.max.bytes", &message),
        ("batch.size", &batch),
        ("batch.num.messages", "100000"),
        ("queue.buffering.max.messages", "0"),
        ("queue.buffering.max.kbytes", "1048576"),
        ("topic.metadata.refresh.interval.ms", "60000"),
    ]));
    properties
}

/// A transactional producer.
pub(super) fn writer(config: &KafkaConfig, id: &TransactionalId) -> Properties {
    let mut properties = producer(config);
    let timeout = crate::TRANSACTION_TIMEOUT.as_millis().to_string();
    properties.extend(pairs(&[
        ("transactional.id", id.as_str()),
        ("transaction.timeout.ms", &timeout),
        ("message.timeout.ms", &timeout),
        // A commit flushes without lingering, so this only joins what comes between two commits.
        ("linger.ms", "20"),
        ("delivery.report.only.error", "true"),
    ]));
    with_own(properties, config, "producer")
}

/// The producer of what is written outside transactions.
pub(super) fn appender(config: &KafkaConfig) -> Properties {
    let mut properties = producer(config);
    properties.extend(pairs(&[("linger.ms", "1"), ("message.timeout.ms", "30000")]));
    with_own(properties, config, "producer")
}

fn pairs(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let mut config = KafkaConfig::new("localhost:9092");
        config.sasl =
            Some(Sasl { mechanism: Mechanism::ScramSha512, user: "u".to_owned(), password: "hidden-word".to_owned() });
        assert!(!format!("{config:?}").contains("hidden-word"));
    }

    #[test]
    fn partitions_share_the_budget_within_reason() {
        assert_eq!(partition_queue(16 << 20, 4), 2 << 20);
        assert_eq!(partition_queue(16 << 20, 10_000), PARTITION_QUEUE_MIN);
        assert_eq!(partition_queue(1 << 40, 1), PARTITION_QUEUE_MAX);
    }

    #[test]
    fn own_properties_win_and_go_where_they_belong() {
        let mut config = KafkaConfig::new("localhost:9092");
        config.properties = pairs(&[("consumer:fetch.wait.max.ms", "7"), ("client.id", "mine")]);
        let last =
            |properties: Properties, name: &str| properties.into_iter().rfind(|(n, _)| n == name).map(|(_, v)| v);
        assert_eq!(last(fetcher(&config), "fetch.wait.max.ms").as_deref(), Some("7"));
        assert_eq!(last(admin(&config), "client.id").as_deref(), Some("mine"));
        assert_eq!(last(appender(&config), "fetch.wait.max.ms"), None);
    }
}
