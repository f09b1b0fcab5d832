//! What is known of topics, shared by all writers of a log, so that a record costs no question.
//!
//! Must never: keep what is known beyond its time, or after an error cast doubt on it.

use super::admin::describe;
use super::client::Client;
use crate::{LogError, TopicInfo};
use bulkhead_core::code::Code;
use bulkhead_core::scope::PhysicalTopic;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a description is taken for true: a topic's limit or partitions change rarely, and a wrong guess only fails a commit.
const KEEP: Duration = Duration::from_secs(60);

/// Descriptions of topics.
#[derive(Default)]
pub(super) struct TopicCache(Mutex<HashMap<String, (Arc<TopicInfo>, Instant)>>);

impl TopicCache {
    /// # Errors
    /// [`Code::TopicGone`] where there is no such topic; else what the log says.
    pub(super) fn get(&self, client: &Client, topic: &PhysicalTopic) -> Result<Arc<TopicInfo>, LogError> {
        let known = self.0.lock().get(topic.as_str()).cloned();
        if let Some((info, since)) = known
            && since.elapsed() < KEEP
        {
            return Ok(info);
        }
        match describe(client, topic.as_str())? {
            Some(info) => {
                let info = Arc::new(info);
                self.0.lock().insert(topic.as_str().to_owned(), (Arc::clone(&info), Instant::now()));
                Ok(info)
            }
            None => {
                self.forget(topic.as_str());
                Err(gone(topic.as_str()))
            }
        }
    }

    /// Makes the next look ask the log.
    pub(super) fn forget(&self, topic: &str) {
        self.0.lock().remove(topic);
    }
}

/// The error of a topic that is not there.
pub(super) fn gone(topic: &str) -> LogError {
    LogError::new(Code::TopicGone, format!("there is no topic {topic}"))
}
