//! Positions moved past Bulkhead, by somebody whom the broker lets do everything.
//!
//! Must never: move a position that the neighbour's pipeline goes on from.

use super::arena::ATTACKER;
use super::broker::{CALL_MAX, group, pause, run, says};
use super::play::Attacker;
use crate::brokers::Broker;
use crate::shared::Guests;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::until;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Somebody with all rights on the broker, and the pipeline's group in mind.
struct Stranger<'a> {
    broker: &'a Broker,
    consumer: BaseConsumer,
    input: String,
}

impl<'a> Stranger<'a> {
    fn new(broker: &'a Broker, attacker: &Attacker) -> Result<Self> {
        let consumer = broker.kafka.admin_client().set("group.id", group(attacker)).set("log_level", "0").create()?;
        Ok(Self { broker, consumer, input: format!("{ATTACKER}.{}-in", attacker.name) })
    }

    fn at(&self, offset: Offset) -> Result<TopicPartitionList> {
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(&self.input, 0, offset)?;
        Ok(positions)
    }

    /// As tools that reset offsets do it: a commit of one who is no member.
    fn commit(&self, offset: i64) -> Result<()> {
        Ok(self.consumer.commit(&self.at(Offset::Offset(offset))?, CommitMode::Sync)?)
    }

    /// In a transaction that names no member.
    fn commit_in_transaction(&self, offset: i64) -> Result<()> {
        let producer: BaseProducer =
            self.broker.kafka.admin_client().set("transactional.id", "stranger-to-all").create()?;
        producer.init_transactions(CALL_MAX)?;
        producer.begin_transaction()?;
        let nobody = self.consumer.group_metadata().context("a client with a group")?;
        producer.send_offsets_to_transaction(&self.at(Offset::Offset(offset))?, &nobody, CALL_MAX)?;
        Ok(producer.commit_transaction(CALL_MAX)?)
    }

    fn position(&self) -> Result<Offset> {
        let found = self.consumer.committed_offsets(self.at(Offset::Invalid)?, CALL_MAX)?;
        Ok(found.elements().first().context("a position")?.offset())
    }
}

/// Moves the positions of a running pipeline, which goes on from its own; of one at rest, which says so instead of going on.
pub(super) fn positions_moved(attacker: &Attacker, broker: Option<&Broker>) -> Result<()> {
    let broker = broker.context("a broker")?;
    run(attacker, &["0", "1"])?;
    let (tenant, stranger) = (&attacker.tenant, Stranger::new(broker, attacker)?);
    // While the group has a member, Kafka takes a commit from nobody else; but in a transaction it does.
    ensure!(stranger.commit(0).is_err(), "a stranger's commit was taken while the group has a member");
    stranger.commit_in_transaction(0)?;
    tenant.put(&attacker.name, &["2"])?;
    ensure!(tenant.out(&attacker.name, 3)? == ["0", "1", "2"]);
    // Beyond the end of what it has handled, too; and with nothing more to commit, it sees that and puts it right.
    stranger.commit_in_transaction(1)?;
    until("its own position to be committed again", || match stranger.position() {
        Ok(Offset::Offset(3)) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    tenant.put(&attacker.name, &["3"])?;
    ensure!(tenant.out(&attacker.name, 4)? == ["0", "1", "2", "3"]);
    // At rest nobody is there to see it.
    pause(attacker)?;
    stranger.commit(1)?;
    tenant.resume(&attacker.name)?;
    says(attacker)?;
    let out = tenant.read_all(&format!("{}-out", attacker.name))?;
    ensure!(out.len() == 4, "it went on from a stranger's position: {} records", out.len());
    Ok(())
}
