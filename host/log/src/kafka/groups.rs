//! Whom to ask for a group's positions: this process's own member of the group, or a client made for the one question.
//!
//! Not the admin client. In librdkafka 2.12 its request for positions (`ListConsumerGroupOffsets`) keeps a coordinator that it has once
//! found for as long as it goes on being asked, and crashes the process where a broker answers that it is the coordinator no more: the
//! answer is handed to the client's own group, which an admin client has not
//! (<https://github.com/confluentinc/librdkafka/issues/5040>). A client with a group looks for its coordinator by itself.
//! Must never: join a group to ask about it.

use super::client::{Client, Kind};
use super::config::{self, KafkaConfig};
use super::native::{NativeError, Partition, Partitions, code, millis};
use crate::LogError;
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// This process's members, by group.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<String, Weak<Client>>>);

impl Groups {
    /// From now on this member is asked about its group.
    pub(super) fn joined(&self, group: &str, member: &Arc<Client>) {
        let mut members = self.0.lock();
        members.retain(|_, member| member.strong_count() > 0);
        members.insert(group.to_owned(), Arc::downgrade(member));
    }

    /// The group's positions, waited for while open transactions may change them. A partition without one has a negative offset.
    ///
    /// # Errors
    /// [`bulkhead_core::code::Code::LogUnavailable`] where they are not known within `timeout`.
    pub(super) fn positions(
        &self,
        config: &KafkaConfig,
        group: &str,
        asked: &Partitions,
        timeout: Duration,
    ) -> Result<Vec<Partition>, LogError> {
        let member = self.0.lock().get(group).and_then(Weak::upgrade);
        if let Some(member) = member {
            return ask(&member, group, asked, timeout);
        }
        let asker = Client::new(Kind::Fetcher, &config::asker(config, group))?;
        ask(&asker, group, asked, timeout).map_err(|error| {
            // Only what is served is told, a refusal of the login too.
            asker.serve(Duration::ZERO);
            asker.take_refusal().unwrap_or(error)
        })
    }
}

/// Asks a client of the group itself.
pub(super) fn ask(
    client: &Client,
    group: &str,
    asked: &Partitions,
    timeout: Duration,
) -> Result<Vec<Partition>, LogError> {
    if asked.len() == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: handle and list are live; the answer is written into the list, which nobody else has.
    let failed = unsafe { rd::rd_kafka_committed(client.rk(), asked.as_ptr(), millis(timeout)) };
    let doing = || format!("asking for the positions of group {group}");
    NativeError::check(code(failed)).map_err(|error| client.error(&doing(), &error))?;
    Ok(asked.read())
}
