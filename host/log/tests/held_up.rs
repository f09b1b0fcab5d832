//! A transactional id that a partition without a leader holds up does not hold up the writer.
//!
//! Kafka 4.0, because from 4.1 on, at least up to 4.4.0, a coordinator does not wait for such a partition but leaves its marker out
//! (KAFKA-20734), and what was committed to it may be lost.

use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{PhysicalTopic, TenantScope, WorkerScope};
use bulkhead_log::kafka::{KafkaConfig, KafkaLog, Mechanism, Sasl};
use bulkhead_log::{Block, CommitOutcome, Held, Log, Writer};
use bulkhead_test_services::{ADMIN_PASSWORD, ADMIN_USER, Kafka};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long what must come is waited for. A busy machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(180);
const COMMIT: Duration = Duration::from_secs(10);

fn topic(name: &str) -> PhysicalTopic {
    TenantScope::assume("acme".parse().expect("a valid name")).topic(&name.parse().expect("a valid name"))
}

fn row(topic: &PhysicalTopic, value: &str) -> Arc<Held> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let (mut batch, mut outputs) = (RecordBatch::default(), Outputs::default());
    batch.push(0, now, None, None, []);
    outputs.push(0, 0, now, None, Some(value.as_bytes()));
    let targets = Arc::from([Some(topic.clone())]);
    Arc::new(Held { batch: Arc::new(batch), blocks: vec![Block { outputs, targets, partition: None }] })
}

fn values(log: &dyn Log, topic: &PhysicalTopic) -> Vec<String> {
    let limits = BatchLimits::default();
    let Ok((batch, _)) = log.read(topic, 0, Start::Earliest, &limits, Duration::from_secs(2)) else {
        return Vec::new();
    };
    let text = |row| String::from_utf8_lossy(batch.values.get(row).expect("no tombstone")).into_owned();
    (0..batch.len()).map(text).collect()
}

/// Waits until exactly these values are readable: a log may show them a moment after their commit.
fn shows(log: &dyn Log, topic: &PhysicalTopic, expected: &[&str]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let values = values(log, topic);
        assert!(expected.iter().zip(&values).all(|(wanted, found)| wanted == found), "unexpected: {values:?}");
        assert!(values.len() <= expected.len(), "unexpected: {values:?}");
        if values.len() == expected.len() {
            return;
        }
        assert!(Instant::now() < until, "only {values:?}");
    }
}

/// One transaction, tried as a lane tries it: afresh after an abort, from a new producer where the writer asks for one.
fn commit(writer: &mut dyn Writer, topic: &PhysicalTopic, value: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        if writer.begin().is_err() {
            let _ = writer.recover();
        } else if writer.produce(0, &row(topic, value)).is_ok() {
            match writer.commit(&[], COMMIT) {
                CommitOutcome::Committed => return,
                CommitOutcome::Aborted { .. } => {}
                outcome => panic!("{outcome:?}"),
            }
        } else {
            let _ = writer.abort();
        }
        assert!(Instant::now() < until, "the writer is held up");
    }
}

#[test]
fn a_partition_without_a_leader_does_not_hold_up_the_next_transactions() {
    let kafka = Kafka::try_start_release("4.0.2", 3).expect("a Kafka to test against");
    let (lonely, steady) = (topic("lonely"), topic("steady"));
    kafka.create_topic(lonely.as_str(), 1, 1, &[("min.insync.replicas", "1")]);
    kafka.create_topic(steady.as_str(), 1, 3, &[]);
    let mut config = KafkaConfig::new(kafka.bootstrap());
    config.sasl = Some(Sasl {
        mechanism: Mechanism::ScramSha512,
        user: ADMIN_USER.to_owned(),
        password: ADMIN_PASSWORD.to_owned(),
    });
    let log = KafkaLog::new(config).expect("a valid configuration");
    let lane = WorkerScope::new("pool-0").expect("a valid name").lane("shared-0");
    let mut writer = log.writer(&lane).expect("a writer");
    commit(writer.as_mut(), &steady, "first");

    // Written to both, and the one's leader gone before the end of the transaction is.
    writer.begin().expect("begin");
    for topic in [&lonely, &steady] {
        writer.produce(0, &row(topic, "second")).expect("produce");
    }
    let until = Instant::now() + PATIENCE;
    let looker: BaseConsumer =
        kafka.admin_client().set("isolation.level", "read_uncommitted").create().expect("a valid configuration");
    let end = || looker.fetch_watermarks(lonely.as_str(), 0, Duration::from_secs(10)).map_or(0, |(_, end)| end);
    while end() == 0 {
        assert!(Instant::now() < until, "the record is not written");
    }
    let leader = kafka.leader_of(lonely.as_str(), 0).expect("a leader");
    kafka.stop(leader);
    assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);

    commit(writer.as_mut(), &steady, "third");
    assert_eq!(kafka.leader_of(lonely.as_str(), 0), None, "the partition has a leader, so nothing was held up");
    commit(writer.as_mut(), &steady, "fourth");

    kafka.start_broker(leader);
    shows(&log, &lonely, &["second"]);
    commit(writer.as_mut(), &lonely, "fifth");
    shows(&log, &lonely, &["second", "fifth"]);
    shows(&log, &steady, &["first", "second", "third", "fourth"]);
}
