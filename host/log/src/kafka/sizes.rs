//! How many bytes topics take, as the brokers report of their folders (`DescribeLogDirs`).
//!
//! A partition counts once, with the size of its largest replica: that is its leader's, but for moments in which another has not yet deleted
//! what the leader has. A size is of whole segments on disk, compressed as they are, with what was deleted in them and not yet
//! removed. A broker that does not answer leaves out only what it alone has.
//!
//! All topics are asked for together and the answer is kept for [`FRESH`], whoever asks: one question to each broker, not one for each tenant.
//! Must never: count a replica that is on its way to another disk beside the one that it will replace, or take a refusal for nothing.

use super::Shared;
use super::admin::broker_addresses;
use super::config;
use super::login::Login;
use super::wire::Connection;
use crate::LogError;
use kafka_protocol::messages::{ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How old what was reported may be.
pub(super) const FRESH: Duration = Duration::from_secs(20);
/// Understood by every broker since Kafka 2.0. A user who may not ask gets no folder at all.
const VERSION: i16 = 1;

/// Bytes by topic, as last reported; `None` where they are not known.
#[derive(Default)]
pub(super) struct Sizes {
    last: Mutex<Option<(Instant, Reported)>>,
}

type Reported = Result<Option<BTreeMap<String, u64>>, LogError>;

impl Sizes {
    /// Bytes of all topics whose names begin with `prefix`.
    pub(super) fn below(&self, shared: &Shared, prefix: &str) -> Result<Option<u64>, LogError> {
        // Held while it is asked, so that whoever comes meanwhile has the same answer.
        let mut last = self.last.lock();
        let fresh = last.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !fresh {
            let reported = ask(shared);
            let was_known = !matches!(*last, Some((_, Ok(None))));
            if matches!(reported, Ok(None)) && was_known {
                tracing::warn!(
                    target: "kafka",
                    "bytes of topics are not known, so the limit `topicBytes` holds nobody: allow Bulkhead's user `Describe` on the \
                     cluster, and have it log in by PLAIN or SCRAM"
                );
            }
            *last = Some((Instant::now(), reported));
        }
        let Some((_, reported)) = &*last else { return Ok(None) };
        let sum = |topics: &BTreeMap<String, u64>| {
            let from = topics.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
            from.map(|(_, bytes)| bytes).sum()
        };
        reported.as_ref().map(|topics| topics.as_ref().map(sum)).map_err(Clone::clone)
    }
}

/// Asks all brokers.
fn ask(shared: &Shared) -> Reported {
    let Some(login) = Login::of(&config::admin(&shared.config)) else { return Ok(None) };
    let mut sizes = Replicas::default();
    let mut failed = None;
    for (host, port) in broker_addresses(&shared.admin)? {
        match ask_one(&login, &host, port) {
            Ok(answer) => sizes.add(&answer),
            Err(error) => {
                tracing::debug!(target: "kafka", %error, "a broker did not say what its topics take");
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if !sizes.answered => Err(error),
        _ => Ok(sizes.topics()),
    }
}

fn ask_one(login: &Login, host: &str, port: u16) -> Result<DescribeLogDirsResponse, LogError> {
    let all = DescribeLogDirsRequest::default().with_topics(None);
    Connection::open(login, host, port)?.call(ApiKey::DescribeLogDirs, VERSION, &all)
}

/// The largest replica of each partition.
#[derive(Default)]
struct Replicas {
    bytes: HashMap<(String, i32), u64>,
    /// Whether a broker answered.
    answered: bool,
    /// Whether one told of a folder.
    told: bool,
}

impl Replicas {
    fn add(&mut self, answer: &DescribeLogDirsResponse) {
        self.answered = true;
        self.told |= !answer.results.is_empty();
        // A folder that failed has an error, and no topics.
        for topic in answer.results.iter().flat_map(|folder| &folder.topics) {
            for partition in topic.partitions.iter().filter(|partition| !partition.is_future_key) {
                let size = u64::try_from(partition.partition_size).unwrap_or(0);
                let largest = self.bytes.entry((topic.name.to_string(), partition.partition_index)).or_default();
                *largest = size.max(*largest);
            }
        }
    }

    /// Bytes by topic; `None` where this user was told nothing.
    fn topics(self) -> Option<BTreeMap<String, u64>> {
        let mut topics = BTreeMap::new();
        for ((name, _), bytes) in self.bytes {
            *topics.entry(name).or_insert(0) += bytes;
        }
        self.told.then_some(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };
    use kafka_protocol::protocol::StrBytes;

    fn answer(partitions: &[(&'static str, i32, i64, bool)]) -> DescribeLogDirsResponse {
        let topics = partitions.iter().map(|(name, index, size, future)| {
            let partition = DescribeLogDirsPartition::default()
                .with_partition_index(*index)
                .with_partition_size(*size)
                .with_is_future_key(*future);
            DescribeLogDirsTopic::default()
                .with_name(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(vec![partition])
        });
        DescribeLogDirsResponse::default()
            .with_results(vec![DescribeLogDirsResult::default().with_topics(topics.collect())])
    }

    #[test]
    fn a_partition_counts_once_with_its_largest_replica() {
        let mut replicas = Replicas::default();
        replicas.add(&answer(&[("acme.a", 0, 100, false), ("acme.a", 1, 7, false), ("acme.b", 0, 5, false)]));
        replicas.add(&answer(&[("acme.a", 0, 90, false), ("acme.a", 1, 9, false), ("acme.b", 0, 500, true)]));
        let expected = BTreeMap::from([("acme.a".to_owned(), 109), ("acme.b".to_owned(), 5)]);
        assert_eq!(replicas.topics(), Some(expected));
    }

    #[test]
    fn who_is_told_of_no_folder_knows_nothing() {
        let mut replicas = Replicas::default();
        replicas.add(&DescribeLogDirsResponse::default());
        assert!(replicas.answered);
        assert_eq!(replicas.topics(), None);
    }
}
