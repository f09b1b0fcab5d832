//! The clusters that other tests rely on do what those rely on: log in, deny, fail over, come back.

use bulkhead_test_services::{Acl, Kafka, Operation, Resource};
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Reports = Arc<Mutex<Vec<Result<(i32, i64), String>>>>;

struct Reporting(Reports);

impl ClientContext for Reporting {}

impl ProducerContext for Reporting {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().map(|code| format!("{code:?}")).unwrap_or_default()),
        };
        self.0.lock().unwrap().push(report);
    }
}

/// Writes one record durably, or says why not.
fn put(config: &ClientConfig, topic: &str) -> Result<(i32, i64), String> {
    let reports = Reports::default();
    let mut config = config.clone();
    config.set("enable.idempotence", "true").set("log_level", "0");
    let producer: BaseProducer<Reporting> = config.create_with_context(Reporting(reports.clone())).unwrap();
    producer
        .send(BaseRecord::<(), _>::to(topic).payload("hello").partition(0))
        .map_err(|(error, _)| error.to_string())?;
    producer.flush(Duration::from_secs(60)).map_err(|error| error.to_string())?;
    let report = reports.lock().unwrap().pop();
    report.expect("a report for the record")
}

#[test]
fn a_cluster_denies_fails_over_and_comes_back() {
    let kafka = Kafka::start(3);
    kafka.create_topic("acme.orders", 1, 3, &[]);
    kafka.add_user_with("acme", "acme-pw", &[Acl::prefix(Resource::Topic, "acme.")]);
    kafka.add_user("evil", "evil-pw");
    let acme = kafka.client("acme", "acme-pw");

    assert_eq!(put(&acme, "acme.orders"), Ok((0, 0)));
    assert!(put(&kafka.client("evil", "evil-pw"), "acme.orders").unwrap_err().contains("TopicAuthorizationFailed"));

    let leader = kafka.leader_of("acme.orders", 0).expect("a leader");
    kafka.kill9(leader);
    assert_eq!(put(&acme, "acme.orders"), Ok((0, 1)), "the others take over");
    assert_ne!(kafka.leader_of("acme.orders", 0), Some(leader));
    kafka.start_broker(leader);
    assert!(kafka.process_id(leader).is_some());
    assert_eq!(put(&acme, "acme.orders"), Ok((0, 2)));
}

/// A broker learns of a change some moments after the controller has confirmed it.
const TRIES: u32 = 50;

fn refusal(config: &ClientConfig) -> Option<String> {
    (0..TRIES).find_map(|_| put(config, "acme.orders").err())
}

#[test]
fn permissions_and_limits_can_be_taken_back() {
    let kafka = Kafka::start(1);
    kafka.create_topic("acme.orders", 1, 1, &[]);
    let (see, write) = (Operation::Describe, Operation::Write);
    let acl = |operation| Acl { operation, ..Acl::prefix(Resource::Topic, "acme.") };
    // Who may write nowhere gets no producer id, and then no answer that names the topic.
    let elsewhere = Acl::exact(Resource::Topic, "elsewhere", write);
    kafka.add_user_with("acme", "acme-pw", &[acl(see), acl(write), elsewhere]);
    let acme = kafka.client("acme", "acme-pw");
    assert_eq!(put(&acme, "acme.orders"), Ok((0, 0)));

    kafka.set_topic_config("acme.orders", "max.message.bytes", "60");
    assert_eq!(refusal(&acme), Some("MessageSizeTooLarge".to_owned()));
    kafka.set_topic_config("acme.orders", "max.message.bytes", "1000");
    assert!((0..TRIES).any(|_| put(&acme, "acme.orders").is_ok()));

    kafka.remove_acl("acme", &acl(write));
    assert_eq!(refusal(&acme), Some("TopicAuthorizationFailed".to_owned()));
}

#[test]
fn processes_end_with_the_cluster() {
    let kafka = Kafka::start(1);
    let process = kafka.process_id(1).unwrap();
    assert!(std::path::Path::new(&format!("/proc/{process}")).exists());
    drop(kafka);
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
}
