//! Attacks past Bulkhead, on a real broker: with a tenant's own login, and with what its owner may do to its own topics and groups.
//!
//! Must never: use more rights than the attacker is said to have.

use super::arena::{ATTACKER, NEIGHBOUR};
use super::play::Attacker;
use super::scenes::Stage;
use crate::brokers::Broker;
use crate::shared::Guests;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::{Acl, Resource};
use bulkhead_testbed::Status;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long one call to the broker may take.
pub(super) const CALL_MAX: Duration = Duration::from_secs(30);

/// A login that a tenant was given for its own topics, groups and transactions.
fn own_login(broker: &Broker) -> ClientConfig {
    let (user, password) = ("besieger-own", "besieger-secret");
    let prefix = format!("{ATTACKER}.");
    let acls = [Resource::Topic, Resource::Group, Resource::TransactionalId].map(|kind| Acl::prefix(kind, &prefix));
    broker.kafka.add_user_with(user, password, &acls);
    let mut config = broker.kafka.client(user, password);
    config.set("log_level", "0");
    config
}

/// A pipeline of the guest that passes everything on, with this much done.
pub(super) fn run(attacker: &Attacker, values: &[&str]) -> Result<()> {
    attacker.apply(&Stage { config: "passthrough", ..Stage::default() })?;
    attacker.tenant.wait_running(&attacker.name)?;
    attacker.tenant.put(&attacker.name, values)?;
    ensure!(attacker.tenant.out(&attacker.name, values.len())? == values);
    Ok(())
}

pub(super) fn group(attacker: &Attacker) -> String {
    format!("_bulkhead.{ATTACKER}.default.{}", attacker.name)
}

/// Joins the group of a pipeline of its own, and moves its positions: the broker lets it do neither.
pub(super) fn stranger_in_group(attacker: &Attacker, broker: Option<&Broker>) -> Result<()> {
    let broker = broker.context("a broker")?;
    run(attacker, &["0", "1"])?;
    let input = format!("{ATTACKER}.{}-in", attacker.name);
    for group in [group(attacker), format!("_bulkhead.{NEIGHBOUR}.default.probe")] {
        let stranger: BaseConsumer = own_login(broker).set("group.id", &group).create()?;
        stranger.subscribe(&[&input])?;
        let start = Instant::now();
        let refused = loop {
            match stranger.poll(Duration::from_millis(100)) {
                Some(Err(error)) if refuses(&error) => break true,
                Some(Ok(_)) => break false,
                _ if start.elapsed() > CALL_MAX => break false,
                _ => {}
            }
        };
        ensure!(refused, "a stranger was let into {group}");
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(&input, 0, Offset::Offset(0))?;
        // It does not even learn who would take them: waiting for the answer would take the client a minute.
        stranger.commit(&positions, CommitMode::Async)?;
        drop(stranger);
    }
    // And the pipeline goes on from where it was.
    attacker.tenant.put(&attacker.name, &["2"])?;
    ensure!(attacker.tenant.out(&attacker.name, 3)? == ["0", "1", "2"]);
    Ok(())
}

fn refuses(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TransactionalIdAuthorizationFailed)
    )
}

/// Takes a worker's transactional id, which would fence the worker.
pub(super) fn stranger_transaction(attacker: &Attacker, broker: Option<&Broker>) -> Result<()> {
    let broker = broker.context("a broker")?;
    run(attacker, &["0"])?;
    for lane in ["shared-0", "own-0", "quarantine"] {
        let id = format!("_bulkhead.{NEIGHBOUR}.{lane}");
        let stranger: BaseProducer = own_login(broker).set("transactional.id", &id).create()?;
        let taken = stranger.init_transactions(CALL_MAX);
        ensure!(taken.as_ref().is_err_and(refuses), "{id} was taken: {taken:?}");
    }
    attacker.tenant.put(&attacker.name, &["1"])?;
    ensure!(attacker.tenant.out(&attacker.name, 2)? == ["0", "1"]);
    Ok(())
}

/// Deletes its output topic while records come, and makes it again.
pub(super) fn topic_deleted(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    run(attacker, &["0", "1"])?;
    let out = format!("{}-out", attacker.name);
    attacker.tenant.delete_topic(&out)?;
    attacker.tenant.put(&attacker.name, &["2", "3"])?;
    says(attacker)?;
    attacker.tenant.create_topic(&out, 1)?;
    ensure!(attacker.tenant.out(&attacker.name, 2)? == ["2", "3"], "they were not written once it was there again");
    Ok(())
}

/// Pauses the pipeline, and waits until it has left its group.
pub(super) fn pause(attacker: &Attacker) -> Result<()> {
    attacker.tenant.pause(&attacker.name)?;
    let paused = |status: &Status| status.phase.as_deref() == Some("paused");
    attacker.tenant.wait_status(&attacker.name, "it to pause", paused)?;
    Ok(())
}

/// Waits until the pipeline says the code that is promised.
pub(super) fn says(attacker: &Attacker) -> Result<Status> {
    let code = attacker.attack.answer().code();
    attacker.tenant.wait_status(&attacker.name, "it to say what is wrong", |status| status.code.as_deref() == code)
}

/// Makes its output topic take less than its stage puts out.
pub(super) fn topic_shrunk(attacker: &Attacker, broker: Option<&Broker>) -> Result<()> {
    let broker = broker.context("a broker")?;
    run(attacker, &["0"])?;
    broker.kafka.set_topic_config(&format!("{ATTACKER}.{}-out", attacker.name), "max.message.bytes", "2000");
    let large = "x".repeat(5_000);
    attacker.tenant.put(&attacker.name, &["1", &large, "2"])?;
    ensure!(attacker.tenant.out(&attacker.name, 3)? == ["0", "1", "2"]);
    let dead = attacker.tenant.wait_records(&format!("{}-dead", attacker.name), 1)?;
    ensure!(dead.len() == 1 && dead[0].text() == large, "{} dead letters", dead.len());
    ensure!(dead[0].header("bulkhead-code").as_deref() == attacker.attack.answer().code(), "{:?}", dead[0].headers);
    Ok(())
}

/// The positions of a pipeline are deleted by who may: it stops and says so, rather than beginning again.
pub(super) fn positions_gone(attacker: &Attacker, broker: Option<&Broker>) -> Result<()> {
    let broker = broker.context("a broker")?;
    run(attacker, &["0", "1"])?;
    pause(attacker)?;
    let admin: AdminClient<DefaultClientContext> = broker.kafka.admin_client().create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let group = group(attacker);
    let deleted = runtime.block_on(admin.delete_groups(&[&group], &AdminOptions::new()))?;
    ensure!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    attacker.tenant.resume(&attacker.name)?;
    says(attacker)?;
    ensure!(attacker.tenant.read_all(&format!("{}-out", attacker.name))?.len() == 2, "it began again by itself");
    Ok(())
}
