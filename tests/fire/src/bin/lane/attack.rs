//! The attacks: what each does to the attacker's own topic, how it is undone, and what must have become of the records.
//!
//! Must never: touch a victim's topics, but for the broker that is stopped under everybody; that alone is a row of its own.

use crate::victim::record;
use anyhow::{Result, ensure};
use bulkhead_fire::feed::Fed;
use bulkhead_test_services::{Acl, Kafka, Operation, Resource};
use bulkhead_testbed::Tenant;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of one record that an attacker's output topic takes.
const RECORD_BYTES: u32 = 2_000;
/// The same where it shrinks under a running pipeline.
const SHRUNK_BYTES: &str = "150";
/// Bytes that make an output too large while its input is not.
const PAD: usize = 4_000;

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// The pipeline runs and behaves.
    None,
    /// Outputs larger than their topic takes.
    TooLarge,
    /// The topic's limit shrinks under a running pipeline.
    Shrunk,
    /// The output topic is deleted.
    Deleted,
    /// The permission to write it is revoked.
    Revoked,
    /// A broker stops; nothing of the attacker's is on it alone.
    BrokerStopped,
    /// The broker stops that alone has the output topic's partition.
    Leaderless,
}

impl Attack {
    pub(crate) const ALL: [Attack; 7] =
        [Self::None, Self::TooLarge, Self::Shrunk, Self::Deleted, Self::Revoked, Self::BrokerStopped, Self::Leaderless];

    /// Names its pipeline and begins the names of its topics.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::TooLarge => "too-large",
            Self::Shrunk => "shrunk",
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::BrokerStopped => "broker-stopped",
            Self::Leaderless => "leaderless",
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no attack",
            Self::TooLarge => "outputs too large for the topic",
            Self::Shrunk => "the topic's limit shrinks mid-flight",
            Self::Deleted => "the output topic is deleted",
            Self::Revoked => "the right to write it is revoked",
            Self::BrokerStopped => "(a broker stops, no attack)",
            Self::Leaderless => "the broker stops that alone has it",
        }
    }

    /// Whether the attacker's pipeline must say that something is wrong while it lasts.
    pub(crate) fn is_told(self) -> bool {
        matches!(self, Self::Deleted | Self::Revoked | Self::Leaderless)
    }

    pub(crate) fn output(self) -> String {
        format!("{}-out", self.id())
    }

    /// Makes the output topic.
    pub(crate) fn make_output(self, kafka: &Kafka, mallory: &Tenant) -> Result<()> {
        if self == Self::Leaderless {
            kafka.create_topic(&format!("{}.{}", mallory.name(), self.output()), 1, 1, &[("min.insync.replicas", "1")]);
        } else {
            let body = json!({"name": self.output(), "partitions": 1, "maxRecordBytes": RECORD_BYTES});
            mallory.create_topic_with(&body)?;
        }
        Ok(())
    }
}

/// An attack under way.
pub(crate) struct Strike<'a> {
    pub(crate) attack: Attack,
    pub(crate) kafka: &'a Kafka,
    pub(crate) mallory: &'a Tenant,
    /// Makes the attacker's feed send records whose outputs are too large.
    pub(crate) padding: Arc<AtomicBool>,
    stopped: Option<usize>,
}

impl<'a> Strike<'a> {
    pub(crate) fn new(attack: Attack, kafka: &'a Kafka, mallory: &'a Tenant) -> Self {
        Self { attack, kafka, mallory, padding: Arc::default(), stopped: None }
    }

    /// The attacker's next record.
    pub(crate) fn records(&self) -> impl FnMut(u64) -> Option<Fed> + Send + 'static {
        let padding = self.padding.clone();
        move |id| Some(record(id, if padding.load(Ordering::Relaxed) { PAD } else { 0 }))
    }

    fn physical(&self) -> String {
        format!("{}.{}", self.mallory.name(), self.attack.output())
    }

    fn permission(&self) -> Acl {
        let name = format!("{}.", self.mallory.name());
        Acl { operation: Operation::Write, ..Acl::prefix(Resource::Topic, &name) }
    }

    /// Begins.
    pub(crate) fn begin(&mut self) -> Result<()> {
        match self.attack {
            Attack::None => {}
            Attack::TooLarge => self.padding.store(true, Ordering::Relaxed),
            Attack::Shrunk => self.kafka.set_topic_config(&self.physical(), "max.message.bytes", SHRUNK_BYTES),
            Attack::Deleted => drop(self.mallory.delete_topic(&self.attack.output())?),
            Attack::Revoked => self.kafka.remove_acl("bulkhead", &self.permission()),
            Attack::BrokerStopped | Attack::Leaderless => {
                let leader = self.kafka.leader_of(&self.physical(), 0);
                ensure!(leader.is_some(), "the partition has no leader before the attack");
                self.stopped = leader;
                leader.into_iter().for_each(|leader| self.kafka.stop(leader));
            }
        }
        Ok(())
    }

    /// Undoes it, as the tenant or the operator would.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.attack {
            Attack::None => {}
            Attack::TooLarge => self.padding.store(false, Ordering::Relaxed),
            Attack::Shrunk => {
                self.kafka.set_topic_config(&self.physical(), "max.message.bytes", &RECORD_BYTES.to_string());
            }
            Attack::Deleted => self.attack.make_output(self.kafka, self.mallory)?,
            Attack::Revoked => self.kafka.add_acl("bulkhead", &self.permission()),
            Attack::BrokerStopped | Attack::Leaderless => {
                self.stopped.take().into_iter().for_each(|broker| self.kafka.start_broker(broker));
            }
        }
        Ok(())
    }

    /// What became of the attacker's `sent` records: ids in the output topic and in the dead-letter topic, in offset order.
    ///
    /// # Errors
    /// Where one is neither, or both, or twice, or out of order.
    pub(crate) fn account(&self, sent: u64, out: &[u64], dead: &[u64]) -> Result<String> {
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        out.iter().chain(dead).for_each(|id| *times.entry(*id).or_default() += 1);
        let twice = times.iter().find(|(_, count)| **count > 1);
        ensure!(twice.is_none(), "record {} of the attacker came out twice", twice.map_or(0, |(id, _)| *id));
        ensure!(out.is_sorted(), "the attacker's outputs are out of order");
        // What was in a topic that was deleted went with it.
        let first = if self.attack == Attack::Deleted { times.keys().next().copied().unwrap_or(sent) } else { 0 };
        let missing = (first..sent).find(|id| !times.contains_key(id));
        ensure!(missing.is_none(), "record {} of the attacker is lost", missing.unwrap_or_default());
        match self.attack {
            Attack::TooLarge | Attack::Shrunk => {
                ensure!(!dead.is_empty(), "no record became a dead letter: the attack did not take place");
            }
            _ => ensure!(dead.is_empty(), "{} records became dead letters for no fault of their own", dead.len()),
        }
        Ok(match (first, dead.len()) {
            (0, 0) => format!("all {sent} written once"),
            (0, dead) => format!("{} written, {dead} dead letters", out.len()),
            (first, _) => format!("{} written since, {first} went with the topic", out.len()),
        })
    }
}
