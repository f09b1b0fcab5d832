//! Kafka passes the suite that every log passes, by both group protocols, with a user who may do only what a worker must.

use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{PhysicalTopic, TenantScope};
use bulkhead_log::kafka::{GroupProtocol, KafkaConfig, KafkaLog, Mechanism, Sasl};
use bulkhead_log::{Keep, Log, TopicSpec};
use bulkhead_test_services::{ADMIN_PASSWORD, ADMIN_USER, Acl, CLUSTER, Kafka, Operation, Resource};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// One broker for all cases of this binary; it ends with the process.
static KAFKA: LazyLock<Kafka> = LazyLock::new(|| {
    let kafka = Kafka::start(1);
    let acls = [
        Acl::prefix(Resource::Topic, "conf-"),
        Acl::prefix(Resource::Group, "_bulkhead.conf-"),
        Acl::prefix(Resource::TransactionalId, "_bulkhead.conf-"),
        Acl::exact(Resource::Cluster, CLUSTER, Operation::Describe),
    ];
    kafka.add_user_with("worker", "worker-pw", &acls);
    kafka.add_user("stranger", "stranger-pw");
    kafka
});

fn config(kafka: &Kafka, user: &str, password: &str) -> KafkaConfig {
    let mut config = KafkaConfig::new(kafka.bootstrap());
    config.sasl =
        Some(Sasl { mechanism: Mechanism::ScramSha512, user: user.to_owned(), password: password.to_owned() });
    config
}

/// The log as a worker sees it that joins its groups so.
fn by(group_protocol: GroupProtocol) -> Arc<dyn Log> {
    open(KafkaConfig { group_protocol, ..config(&KAFKA, "worker", "worker-pw") })
}

fn open(config: KafkaConfig) -> Arc<dyn Log> {
    Arc::new(KafkaLog::new(config).expect("a valid configuration"))
}

mod consumer {
    use super::*;

    static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| by(GroupProtocol::Consumer));

    bulkhead_log::conformance!(Arc::clone(&LOG));
}

mod classic {
    use super::*;

    static LOG: LazyLock<Arc<dyn Log>> = LazyLock::new(|| by(GroupProtocol::Classic));

    bulkhead_log::conformance!(Arc::clone(&LOG));
}

/// Brokers that keep little and look often delete records of long ago at once, but not where all are to be kept until they are deleted; and
/// an order to delete works on such a topic whatever the brokers' own policy.
#[test]
fn what_is_kept_until_it_is_deleted_outlives_the_brokers_retention() {
    let settings = [
        ("log.retention.check.interval.ms", "100"),
        ("log.initial.task.delay.ms", "0"),
        ("log.retention.ms", "1000"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let kafka = Kafka::try_start_set(1, &settings).expect("a broker");
    let log = open(config(&kafka, ADMIN_USER, ADMIN_PASSWORD));
    let scope = TenantScope::assume("acme".parse().unwrap());
    let make = |name: &str, keep| {
        let topic = scope.topic(&name.parse().unwrap());
        let spec = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep };
        log.create_topic(&topic, &spec).unwrap();
        topic
    };
    let (kept, other) = (make("kept", Keep::UntilDeleted), make("other", Keep::Default));
    let count =
        |topic: &PhysicalTopic| match log.read(topic, 0, Start::Earliest, &BatchLimits::default(), Duration::ZERO) {
            Ok((batch, _)) => batch.len(),
            // What was the earliest a moment ago is gone.
            Err(error) if error.code == Code::OffsetLost => usize::MAX,
            Err(error) => panic!("{error}"),
        };
    for topic in [&kept, &other] {
        let (mut batch, mut outputs) = (RecordBatch::default(), Outputs::default());
        // Of 2013, a year apart.
        for n in 0..3 {
            batch.push(n, 0, None, None, []);
            outputs.push(n as u32, 0, 1_357_000_000_000 + n * 31_536_000_000, None, Some(b"row"));
        }
        log.append(topic, &batch, &outputs).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(60);
    // The neighbour shows that the broker has been at it.
    while count(&other) > 0 {
        assert!(Instant::now() < until, "the broker deletes nothing");
    }
    assert_eq!(count(&kept), 3);
    log.delete_records(&kept, &[(0, 2)]).unwrap();
    assert_eq!(count(&kept), 1);
}

/// Bytes of a topic's segments in the folders of all brokers.
fn segments(kafka: &Kafka, topic: &PhysicalTopic) -> u64 {
    fn walk(folder: &Path, name: &str, bytes: &mut u64) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, name, bytes);
                continue;
            }
            let of = path.parent().and_then(Path::file_name).unwrap().to_string_lossy();
            let is_its = of.rsplit_once('-').is_some_and(|(topic, _)| topic == name);
            if is_its && path.extension().is_some_and(|kind| kind == "log") {
                *bytes += entry.metadata().unwrap().len();
            }
        }
    }
    let mut bytes = 0;
    walk(kafka.files(), topic.as_str(), &mut bytes);
    bytes
}

#[test]
fn topics_take_what_their_segments_do_and_who_may_not_ask_is_told_nothing() {
    let log = open(config(&KAFKA, "worker", "worker-pw"));
    let scope = TenantScope::assume("conf-sizes".parse().unwrap());
    let topics = [("one", 2), ("other", 1)].map(|(name, partitions)| {
        let topic = scope.topic(&name.parse().unwrap());
        let spec = TopicSpec { partitions, max_record_bytes: None, replicas: None, keep: Keep::Default };
        log.create_topic(&topic, &spec).unwrap();
        let (mut batch, mut outputs) = (RecordBatch::default(), Outputs::default());
        for n in 0..20 {
            batch.push(n, 0, None, None, []);
            outputs.push(n as u32, 0, 1_700_000_000_000, Some(n.to_string().as_bytes()), Some(&[b'x'; 3_000]));
        }
        log.append(&topic, &batch, &outputs).unwrap();
        topic
    });
    // Each asks anew: what one knows may be some seconds old.
    let stored = |user: &str, prefix: &str| {
        let log = open(config(&KAFKA, user, &format!("{user}-pw")));
        log.stored_bytes(prefix).unwrap()
    };
    let [one, other] = topics.each_ref().map(|topic| segments(&KAFKA, topic));
    assert!(one > 40 * 1_000 && other > 40 * 1_000, "{one} and {other} bytes of records of 3,000 each");
    assert_eq!(stored("worker", topics[0].as_str()), Some(one));
    assert_eq!(stored("worker", &scope.topic_prefix()), Some(one + other));
    assert_eq!(stored("worker", "conf-nobody."), Some(0));
    assert_eq!(stored("stranger", &scope.topic_prefix()), None);
}

#[test]
fn what_topics_take_is_asked_of_every_broker_and_a_replica_counts_once() {
    let kafka = Kafka::start(2);
    let log = open(config(&kafka, ADMIN_USER, ADMIN_PASSWORD));
    let scope = TenantScope::assume("acme".parse().unwrap());
    let topic = scope.topic(&"copied".parse().unwrap());
    let spec = TopicSpec { partitions: 4, max_record_bytes: None, replicas: Some(2), keep: Keep::Default };
    log.create_topic(&topic, &spec).unwrap();
    let (mut batch, mut outputs) = (RecordBatch::default(), Outputs::default());
    for n in 0..40 {
        batch.push(n, 0, None, None, []);
        outputs.push(n as u32, 0, 1_700_000_000_000, Some(n.to_string().as_bytes()), Some(&[b'x'; 1_000]));
    }
    // Every replica has it when this returns.
    log.append(&topic, &batch, &outputs).unwrap();
    let all = segments(&kafka, &topic);
    assert_eq!(log.stored_bytes(topic.as_str()).unwrap(), Some(all / 2), "{all} bytes on both");
}
