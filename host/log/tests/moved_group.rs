//! A group whose coordinator died and came back without it is found where it is now, by its member and by whoever else asks.

use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TenantScope};
use bulkhead_log::kafka::{KafkaConfig, KafkaLog, Mechanism, Sasl};
use bulkhead_log::{Event, Keep, Log, Reader, ReaderInput, ReaderSpec, TopicSpec};
use bulkhead_test_services::{ADMIN_PASSWORD, ADMIN_USER, Kafka};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long what must come is waited for. A busy machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(120);
/// Partitions of the groups' own topic in the tests' clusters.
const GROUP_PARTITIONS: i32 = 4;

/// Where Kafka keeps a group: Java's hash of its name.
fn partition_of(group: &GroupId) -> i32 {
    let hash =
        group.as_str().encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % GROUP_PARTITIONS
}

/// Groups that one broker looks after, a whole number of them.
fn neighbours<const N: usize>(scope: &TenantScope) -> [GroupId; N] {
    let group = |i: u32| {
        scope.group(&"default".parse().expect("a valid name"), &format!("p{i}").parse().expect("a valid name"))
    };
    let first = partition_of(&group(0));
    let mut all = (0..).map(group).filter(|group| partition_of(group) == first);
    std::array::from_fn(|_| all.next().expect("there is no last"))
}

fn join(log: &KafkaLog, group: &GroupId, topic: &PhysicalTopic) -> Box<dyn Reader> {
    let input = ReaderInput { topic: topic.clone(), start: Start::Earliest, initialised: BTreeSet::new() };
    let spec =
        ReaderSpec { group: group.clone(), inputs: vec![input], batch: BatchLimits::default(), queue_bytes: 1 << 20 };
    let mut reader = log.reader(spec).expect("a reader");
    let until = Instant::now() + PATIENCE;
    loop {
        match reader.poll(Duration::from_millis(100)) {
            Ok(Event::Assigned(_)) => return reader,
            Ok(_) => {}
            Err(error) => assert!(Instant::now() < until, "not assigned: {error}"),
        }
    }
}

#[test]
fn positions_are_found_after_the_coordinator_came_back_without_the_group() {
    let kafka = Kafka::start(3);
    let mut config = KafkaConfig::new(kafka.bootstrap());
    config.sasl = Some(Sasl {
        mechanism: Mechanism::ScramSha512,
        user: ADMIN_USER.to_owned(),
        password: ADMIN_PASSWORD.to_owned(),
    });
    let log = KafkaLog::new(config).expect("a valid configuration");
    let scope = TenantScope::assume("acme".parse().expect("a valid name"));
    let topic = scope.topic(&"in".parse().expect("a valid name"));
    let spec = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::Default };
    log.create_topic(&topic, &spec).expect("the topic is made");
    let [without_member, with_member] = neighbours(&scope);
    let mut reader = join(&log, &with_member, &topic);
    let mut ask = |group: &GroupId| {
        let until = Instant::now() + PATIENCE;
        loop {
            match log.committed(group, std::slice::from_ref(&topic)) {
                Ok(mut positions) => return positions.remove(0),
                Err(error) => assert!(Instant::now() < until, "no answer: {error}"),
            }
            // A member that is not polled would be taken for dead.
            let _ = reader.poll(Duration::ZERO);
        }
    };
    assert_eq!(ask(&without_member), [None]);
    assert_eq!(ask(&with_member), [Some(0)]);

    let coordinator = || kafka.leader_of("__consumer_offsets", partition_of(&with_member));
    let first = coordinator().expect("a coordinator");
    kafka.kill9(first);
    let until = Instant::now() + PATIENCE;
    while coordinator().is_none_or(|now| now == first) {
        assert!(Instant::now() < until, "nobody took the groups over");
    }
    kafka.start_broker(first);
    for _ in 0..3 {
        assert_eq!(ask(&without_member), [None]);
        assert_eq!(ask(&with_member), [Some(0)]);
    }
}
