//! Why a transaction makes no progress, and whose records are to blame.
//!
//! A shared lane must not wait for one owner's missing topic or leaderless partition, so a flush that takes long is looked into.
//! Must never: blame one owner for what keeps all from being written.

use super::Shared;
use super::admin::shapes;
use super::native::{ErrorCode, code};
use super::produce::{Target, Targets};
use super::topics::gone;
use crate::{CommitOutcome, LogError};
use bulkhead_core::code::Code;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::collections::BTreeSet;

/// Whether a record failed only because its transaction was aborted.
pub(super) fn is_purged(error: ErrorCode) -> bool {
    error == code(E::RD_KAFKA_RESP_ERR__PURGE_QUEUE) || error == code(E::RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
}

/// The reason why records of this transaction cannot be written, if the topics show one. One is a partition of the transaction before that
/// has no leader to take the marker; that is nobody's fault in this one.
pub(super) fn reason(shared: &Shared, targets: &Targets) -> Option<CommitOutcome> {
    let any = |writers: &[u64]| writers.iter().any(|writer| *writer > 0);
    let used: Vec<&Target> = targets.all.iter().filter(|target| any(&target.writers) || any(&target.before)).collect();
    let names: Vec<&str> = used.iter().map(|target| target.name.as_str()).collect();
    let shapes = shapes(&shared.admin, &names).ok()?;
    let (mut leaderless, mut held_up) = (BTreeSet::new(), false);
    for (target, shape) in used.iter().zip(shapes) {
        match shape {
            Some(shape) => {
                let stuck = |writers: &[u64]| -> Vec<u64> {
                    let writers = shape.leaderless.iter().filter_map(|partition| writers.get(*partition as usize));
                    writers.filter(|writer| **writer > 0).copied().collect()
                };
                leaderless.extend(stuck(&target.writers));
                held_up |= !stuck(&target.before).is_empty();
            }
            None if any(&target.writers) => {
                shared.topics.forget(&target.name);
                let owner = target.writers.iter().find(|writer| **writer > 0).and_then(|writer| owner(*writer));
                return Some(CommitOutcome::Aborted { owner, error: gone(&target.name) });
            }
            // Nobody waits for the marker of a topic that is gone.
            None => {}
        }
    }
    if leaderless.is_empty() && !held_up {
        return None;
    }
    let error =
        LogError::new(Code::PartitionLeaderless, "a partition that the transaction writes to has no leader now");
    Some(CommitOutcome::Aborted { owner: only(&leaderless).and_then(owner), error })
}

/// Names the owner of a transaction that was not written in time, where all records left were one's.
pub(super) fn blame(outcome: CommitOutcome, failed: &[(u32, ErrorCode)]) -> CommitOutcome {
    match outcome {
        CommitOutcome::Aborted { owner: None, error } if error.code == Code::LaneStalled => {
            let left: BTreeSet<u64> = failed.iter().map(|(owner, _)| u64::from(*owner) + 1).collect();
            CommitOutcome::Aborted { owner: only(&left).and_then(owner), error }
        }
        outcome => outcome,
    }
}

fn only(writers: &BTreeSet<u64>) -> Option<u64> {
    if writers.len() == 1 { writers.first().copied() } else { None }
}

fn owner(writer: u64) -> Option<u32> {
    u32::try_from(writer.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled() -> CommitOutcome {
        CommitOutcome::Aborted { owner: None, error: LogError::new(Code::LaneStalled, "late") }
    }

    fn blamed(failed: &[(u32, ErrorCode)]) -> Option<u32> {
        match blame(stalled(), failed) {
            CommitOutcome::Aborted { owner, .. } => owner,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn one_owner_is_blamed_only_where_nobody_else_waits() {
        let purged = code(E::RD_KAFKA_RESP_ERR__PURGE_QUEUE);
        assert_eq!(blamed(&[(7, purged), (7, purged)]), Some(7));
        assert_eq!(blamed(&[(7, purged), (0, purged)]), None);
        assert_eq!(blamed(&[]), None);
        assert!(is_purged(purged));
    }
}
