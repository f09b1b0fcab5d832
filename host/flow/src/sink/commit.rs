//! The transactions of a sink: a manifest with the position of its rows, or positions alone.
//!
//! Where it is not certain how one ended, the sink begins anew: the group's position says what took place, and a staged
//! object that was not named is an orphan.
//! Must never: call a transaction committed on anything but the log's word.

use super::manifest::Manifest;
use crate::config::backoff;
use crate::flow::Tools;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::scope::{PhysicalTopic, TransactionalId};
use bulkhead_log::{Block, CommitOutcome, Fenced, GroupPositions, Held, LogError, Membership, Source, Writer};
use std::sync::Arc;

/// Tries of one transaction before the sink begins anew.
const TRIES: u32 = 5;

/// The writer of a sink.
pub(super) struct Committer {
    writer: Option<Box<dyn Writer>>,
    id: TransactionalId,
    targets: Arc<[Option<PhysicalTopic>]>,
}

/// How a transaction of a sink ended, where the sink may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Committed,
    /// The partition is no longer ours.
    Lost,
}

impl Committer {
    pub(super) fn new(id: TransactionalId, manifests: PhysicalTopic) -> Self {
        Self { writer: None, id, targets: Arc::new([Some(manifests)]) }
    }

    /// Commits one position, with the manifest of the rows before it where there is one.
    ///
    /// # Errors
    /// Where the sink has to begin anew.
    pub(super) fn commit(
        &mut self,
        tools: &Tools,
        member: &Arc<dyn Membership>,
        position: (Source, u64, i64),
        manifest: Option<&Manifest>,
    ) -> Result<Done, LogError> {
        let held = manifest.map(held).transpose()?.map(|mut held| {
            held.blocks.iter_mut().for_each(|block| block.targets = self.targets.clone());
            Arc::new(held)
        });
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => tools.log.writer(&self.id)?,
        };
        for failures in 0..TRIES {
            let (source, epoch, _) = position;
            if !member.owns(source, epoch) {
                self.writer = Some(writer);
                return Ok(Done::Lost);
            }
            let positions = [GroupPositions { member: member.clone(), positions: vec![position] }];
            match transaction(writer.as_mut(), held.as_ref(), &positions, tools) {
                CommitOutcome::Committed => {
                    self.writer = Some(writer);
                    return Ok(Done::Committed);
                }
                CommitOutcome::Fenced(Fenced::Groups(_)) => {}
                CommitOutcome::Aborted { error, .. } => tracing::warn!(%error, "a sink's transaction was aborted"),
                CommitOutcome::Fenced(Fenced::Writer) => {
                    return Err(LogError::new(Code::Fenced, "another worker runs this sink under the same slot"));
                }
                CommitOutcome::Unknown(error) => return Err(error),
            }
            std::thread::sleep(backoff(tools.config.backoff_min, tools.config.backoff_max, failures).min(MAX_PAUSE));
        }
        Err(LogError::new(Code::CommitUnknown, "a sink's transaction did not commit"))
    }
}

/// A member must go on polling.
const MAX_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

fn transaction(
    writer: &mut dyn Writer,
    held: Option<&Arc<Held>>,
    positions: &[GroupPositions],
    tools: &Tools,
) -> CommitOutcome {
    if let Err(error) = writer.begin() {
        return CommitOutcome::Unknown(error);
    }
    if let Some(held) = held
        && let Err(outcome) = writer.produce(0, held)
    {
        return match writer.abort() {
            Err(error) if !matches!(outcome, CommitOutcome::Fenced(Fenced::Writer)) => CommitOutcome::Unknown(error),
            _ => outcome,
        };
    }
    writer.commit(positions, tools.config.commit_timeout)
}

/// The manifest as a record of its partition.
fn held(manifest: &Manifest) -> Result<Held, LogError> {
    let json = serde_json::to_vec(manifest).map_err(|error| LogError::new(Code::Internal, error.to_string()))?;
    let mut batch = RecordBatch { partition: manifest.partition, ..RecordBatch::default() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    batch.push(0, now, None, None, []);
    let mut outputs = Outputs::default();
    outputs.push(0, 0, now, None, Some(&json));
    Ok(Held { batch: Arc::new(batch), blocks: vec![Block { outputs, targets: Arc::new([]), partition: None }] })
}
