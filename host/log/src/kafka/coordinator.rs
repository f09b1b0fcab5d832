//! The client that asks groups' coordinators, replaced when a question stays without an answer.
//!
//! librdkafka keeps a coordinator that it has once found for as long as it goes on being asked for it, also when the group has moved to
//! another broker since. After a broker died and came back, every question of one client went unanswered for good, and the pipeline's
//! group with it stood still. A fresh client has to look the coordinator up.
//!
//! Known and not solved: to a broker's answer that it is not the group's coordinator, librdkafka 2.12 reacts by a message to the client's own
//! group, which this one has not, and the process crashes. Workers start again from what is committed.
//! Must never: end a client that somebody still asks.

use super::client::{Client, Kind};
use super::config::{self, KafkaConfig};
use crate::LogError;
use bulkhead_core::code::Code;
use parking_lot::Mutex;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Coordinators(Mutex<Option<Arc<Client>>>);

impl Coordinators {
    /// Asks something. Where the answer does not come, the next question is a fresh client's.
    ///
    /// # Errors
    /// What `question` says, or why there is no client.
    pub(super) fn ask<T>(
        &self,
        config: &KafkaConfig,
        question: impl FnOnce(&Client) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let client = self.client(config)?;
        let answer = question(&client);
        if matches!(&answer, Err(error) if error.code == Code::LogUnavailable) {
            let mut known = self.0.lock();
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &client)) {
                *known = None;
            }
        }
        answer
    }

    fn client(&self, config: &KafkaConfig) -> Result<Arc<Client>, LogError> {
        let mut known = self.0.lock();
        if let Some(client) = known.as_ref() {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::new(Kind::Admin, &config::admin(config))?);
        *known = Some(Arc::clone(&client));
        Ok(client)
    }
}
