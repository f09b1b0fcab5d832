//! What a worker knows of the topics that it writes, and the check that every batch passes before it enters a lane.
//!
//! A lane is shared by tenants, and one output that its topic does not take would abort everybody's transaction. So before a batch
//! enters: every target topic exists, every output fits it, and every partition written to has a leader. What is known is at most a
//! second old; a lane that aborts all the same blames the pipeline and forgets what was known of its topics.
//! Must never: ask the log on a thread that runs guests.

use crate::config::TOPIC_AGE;
use crate::graph::{Dead, GraphRun};
use bulkhead_core::code::Code;
use bulkhead_core::fault::{GuestFault, GuestFaultKind};
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::{Log, LogError, TopicInfo, partition_of, record_bytes};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

type Known = (Instant, Option<Arc<TopicInfo>>);

/// See the module's documentation.
pub(crate) struct Topics {
    log: Arc<dyn Log>,
    known: Mutex<HashMap<PhysicalTopic, Known>>,
}

/// Why a batch may not enter a lane now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// The topic is not there.
    Gone,
    /// A partition that it writes to has no leader.
    Leaderless,
}

impl Topics {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, known: Mutex::default() }
    }

    /// What is known of a topic, asking the log where that is too old. `None` where there is no such topic.
    ///
    /// # Errors
    /// Where the log does not answer and what is known is too old.
    pub(crate) async fn get(&self, topic: &PhysicalTopic) -> Result<Option<Arc<TopicInfo>>, LogError> {
        if let Some((at, info)) = self.known.lock().get(topic)
            && at.elapsed() < TOPIC_AGE
        {
            return Ok(info.clone());
        }
        let (log, name) = (self.log.clone(), topic.clone());
        let asked = tokio::task::spawn_blocking(move || log.describe(&name)).await;
        let found =
            asked.unwrap_or_else(|_| Err(LogError::new(Code::Internal, "describing a topic panicked")))?.map(Arc::new);
        self.known.lock().insert(topic.clone(), (Instant::now(), found.clone()));
        Ok(found)
    }

    /// Forgets a topic, because it was not as known.
    pub(crate) fn forget(&self, topic: &PhysicalTopic) {
        self.known.lock().remove(topic);
    }

    /// Checks all outputs. Records with an output that its topic never takes become dead; `Err(Held)` says that the whole batch
    /// has to wait. `hidden` is what else the batch writes, by partition.
    ///
    /// # Errors
    /// The log does not answer.
    pub(crate) async fn check(
        &self,
        run: &mut GraphRun,
        hidden: &[(&PhysicalTopic, i32)],
    ) -> Result<Result<(), Held>, LogError> {
        for (topic, partition) in hidden {
            match self.get(topic).await? {
                None => return Ok(Err(Held::Gone)),
                Some(info) if info.leaderless.contains(&partition.rem_euclid(info.partitions)) => {
                    return Ok(Err(Held::Leaderless));
                }
                Some(_) => {}
            }
        }
        let mut refused = Vec::new();
        for written in &run.written {
            let mut infos = Vec::with_capacity(written.targets.len());
            for (to, target) in written.targets.iter().enumerate() {
                // A topic that this batch does not write may be gone.
                let used = written.outputs.to.iter().any(|t| usize::from(*t) == to);
                infos.push(match target {
                    Some(target) if used => match self.get(target).await? {
                        Some(info) => Some(info),
                        None => return Ok(Err(Held::Gone)),
                    },
                    _ => None,
                });
            }
            for i in 0..written.outputs.len() {
                let Some(info) = &infos[usize::from(written.outputs.to[i])] else { continue };
                let key = written.outputs.key(i, &written.batch);
                if !info.leaderless.is_empty()
                    && info.leaderless.contains(&partition_of(key, written.batch.partition, info.partitions))
                {
                    return Ok(Err(Held::Leaderless));
                }
                let headers = written.outputs.headers(i, &written.batch);
                let bytes = record_bytes(key, written.outputs.values.get(i), headers);
                if bytes > info.max_record_bytes {
                    refused.push((written.source_row(i), written.stage, bytes, info.max_record_bytes));
                }
            }
        }
        for (row, stage, bytes, max) in refused {
            let fault = refused_output(bytes, max);
            run.dead.entry(row).or_insert(Dead { stage, fault, fuel: None });
        }
        run.cut();
        Ok(Ok(()))
    }
}

/// An output of `bytes` that its topic does not take.
pub(crate) fn refused_output(bytes: usize, max: usize) -> GuestFault {
    let message = format!("an output has {bytes} bytes with framing; its topic takes at most {max}");
    GuestFault::new(GuestFaultKind::OutputRefused, message)
}
