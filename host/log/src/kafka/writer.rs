//! A transactional producer.
//!
//! A commit is three steps: positions, with each group's metadata taken now; a flush of what was produced; the end of the transaction. Until the
//! third step begins, every failure ends in an abort, and is told as one. Once it has begun, only the broker knows: what it does not say is
//! `Unknown`.
//! Must never: let go of a payload that librdkafka may still read, or say `Aborted` or `Fenced` of a transaction that may have been
//! committed.

use super::Shared;
use super::client::Client;
use super::errors::{FENCED, GONE, MEMBER_FENCED, log_error, meaning};
use super::member::{Member, Metadata};
use super::native::{ErrorCode, NativeError, Partitions, code, fatal_error, millis};
use super::opening;
use super::produce::{QUEUE_FULL, Targets};
use super::stall;
use crate::{CommitOutcome, Fenced, GroupPositions, Held, LogError, Membership, Writer};
use bulkhead_core::code::Code;
use bulkhead_core::scope::TransactionalId;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::ffi::c_void;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an abort may take before the producer is given up.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one group's coordinator may take. The client tries again until then, also where the source topic is gone.
const POSITIONS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a flush or a group's coordinator may make no end before the topics are looked at.
const STALL_CHECK: Duration = Duration::from_secs(1);

/// A transactional producer.
pub(super) struct KafkaWriter {
    shared: Arc<Shared>,
    id: TransactionalId,
    // Topic handles before the client that they belong to.
    targets: Targets,
    client: Client,
    held: Vec<Arc<Held>>,
    open: bool,
    /// Why only [`Writer::recover`] helps.
    broken: Option<LogError>,
    /// Which of the id's spare ones is open; 0 is the id itself.
    turn: u32,
    /// Nobody knows how the last transaction ended: only opening the same id again settles that.
    unsettled: bool,
    /// A transaction with records was aborted. Records of it may still be on their way, or in the log under sequence numbers that the
    /// client would use again, and the broker would take the next ones for copies: the next transaction has a fresh producer.
    spent: bool,
}

impl KafkaWriter {
    pub(super) fn open(shared: Arc<Shared>, id: TransactionalId) -> Result<Self, LogError> {
        let (client, turn) = opening::open(&shared, &id, 0, true)?;
        Ok(Self {
            shared,
            id,
            targets: Targets::default(),
            client,
            held: Vec::new(),
            open: false,
            broken: None,
            turn,
            unsettled: false,
            spent: false,
        })
    }

    /// The first owner whose record failed for a reason of its own, as an outcome.
    fn failed_record(&self) -> Option<CommitOutcome> {
        let failed = self.client.told().failed.lock();
        let (owner, error) =
            failed.iter().find(|(_, error)| !stall::is_purged(*error) && *error != DIFFERENT_RECORD)?;
        let words =
            LogError::new(meaning(*error), format!("a record could not be written: {}", NativeError::of(*error).text));
        Some(CommitOutcome::Aborted { owner: Some(*owner), error: words })
    }

    /// What a failed step before the end of the transaction means, with a record that failed as the better reason.
    fn outcome(&self, doing: &str, error: &NativeError) -> CommitOutcome {
        self.client.serve(Duration::ZERO);
        if let Some(fatal) = fatal_error(self.client.rk()) {
            return self.fatal(&fatal);
        }
        if FENCED.contains(&error.code) {
            return CommitOutcome::Fenced(Fenced::Writer);
        }
        self.failed_record()
            .unwrap_or_else(|| CommitOutcome::Aborted { owner: None, error: self.client.error(doing, error) })
    }

    /// A fatal error before the end of the transaction: nothing was committed, and nothing will be.
    fn fatal(&self, error: &NativeError) -> CommitOutcome {
        if FENCED.contains(&error.code) {
            return CommitOutcome::Fenced(Fenced::Writer);
        }
        let error = log_error(&format!("the producer {} ended", self.id), error);
        CommitOutcome::Aborted { owner: None, error }
    }

    fn produce_rows(&mut self, owner: u32, held: &Arc<Held>) -> Result<(), CommitOutcome> {
        let aborted = |error| CommitOutcome::Aborted { owner: Some(owner), error };
        for block in &held.blocks {
            let mut places = Vec::with_capacity(block.targets.len());
            for name in block.targets.iter() {
                let Some(name) = name else {
                    places.push(None);
                    continue;
                };
                let found = self.targets.find(&self.client, &self.shared.admin, &self.shared.topics, name);
                places.push(Some(found.map_err(|error| match error.code {
                    Code::LogUnavailable => CommitOutcome::Aborted { owner: None, error },
                    _ => aborted(error),
                })?));
            }
            for i in 0..block.outputs.len() {
                let Some(place) = places[block.outputs.to[i] as usize] else { continue };
                let target = &mut self.targets.all[place];
                let bytes = target.check_size(block, i, &held.batch).map_err(aborted)?;
                let partition = target.partition(block, i, &held.batch);
                if target.needs_flush(partition, bytes) {
                    self.flush(Instant::now() + STALL_CHECK * 5)?;
                    let _ = self.targets.all[place].needs_flush(partition, bytes);
                }
                let target = &mut self.targets.all[place];
                let writer = &mut target.writers[partition as usize];
                if *writer == 0 {
                    *writer = u64::from(owner) + 1;
                }
                // SAFETY: `held` is kept until the transaction has ended, or the client.
                let sent = unsafe {
                    target.send(&self.client, (block, i), &held.batch, partition, 0, owner as usize as *mut c_void)
                };
                sent.map_err(|error| self.not_sent(owner, place, &error))?;
            }
        }
        Ok(())
    }

    fn not_sent(&self, owner: u32, place: usize, error: &NativeError) -> CommitOutcome {
        let topic = &self.targets.all[place].name;
        let doing = format!("writing to topic {topic}");
        if error.code == QUEUE_FULL {
            let text = format!("{doing}: the log takes no more records for now");
            return CommitOutcome::Aborted { owner: None, error: LogError::new(Code::LaneStalled, text) };
        }
        if GONE.contains(&error.code) {
            self.shared.topics.forget(topic);
        }
        match meaning(error.code) {
            Code::LogUnavailable | Code::Fenced => self.outcome(&doing, error),
            _ => CommitOutcome::Aborted { owner: Some(owner), error: log_error(&doing, error) },
        }
    }

    /// Waits until all that was produced is written. Looks for the reason where that takes long.
    fn flush(&mut self, until: Instant) -> Result<(), CommitOutcome> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // SAFETY: the handle is live.
            let result = unsafe { rd::rd_kafka_flush(self.client.rk(), millis(left.min(STALL_CHECK))) };
            if let Some(fatal) = fatal_error(self.client.rk()) {
                return Err(self.fatal(&fatal));
            }
            if let Some(outcome) = self.failed_record() {
                return Err(outcome);
            }
            if code(result) == 0 {
                self.targets.all.iter_mut().for_each(super::produce::Target::flushed);
                return Ok(());
            }
            if let Some(outcome) = stall::reason(&self.shared, &self.targets) {
                return Err(outcome);
            }
            if left.is_zero() {
                let error = LogError::new(Code::LaneStalled, "records were not written in time");
                return Err(CommitOutcome::Aborted { owner: None, error });
            }
        }
    }

    fn send_positions(&mut self, positions: &[GroupPositions], until: Instant) -> Result<(), CommitOutcome> {
        let members = positions.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let metadata: Vec<Option<Metadata>> = members.iter().zip(positions).map(|(m, p)| m.metadata(p)).collect();
        let lost: Vec<usize> = (0..metadata.len()).filter(|i| metadata[*i].is_none()).collect();
        if !lost.is_empty() {
            return Err(CommitOutcome::Fenced(Fenced::Groups(lost)));
        }
        for (i, (member, metadata)) in members.iter().zip(metadata.into_iter().flatten()).enumerate() {
            let list = member.partitions(&positions[i]);
            if list.len() == 0 {
                continue;
            }
            let until = until.min(Instant::now() + POSITIONS_TIMEOUT);
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let Err(error) = self.send_group(&list, &metadata, left.min(STALL_CHECK)) else { break };
                let waits = error.retriable && !MEMBER_FENCED.contains(&error.code) && left > STALL_CHECK;
                if !waits {
                    return Err(self.positions_failed(i, member, &positions[i], &error));
                }
                // The coordinator takes nothing while a partition without a leader holds the transaction before this one open.
                if let Some(outcome) = stall::reason(&self.shared, &self.targets) {
                    return Err(outcome);
                }
            }
        }
        Ok(())
    }

    /// Hands over one group's positions.
    fn send_group(&self, list: &Partitions, metadata: &Metadata, wait: Duration) -> Result<(), NativeError> {
        // SAFETY: all three are live; list and metadata are copied.
        unsafe {
            NativeError::take(rd::rd_kafka_send_offsets_to_transaction(
                self.client.rk(),
                list.as_ptr(),
                metadata.as_ptr(),
                millis(wait),
            ))
        }
    }

    fn positions_failed(
        &self,
        i: usize,
        member: &Member,
        positions: &GroupPositions,
        error: &NativeError,
    ) -> CommitOutcome {
        let doing = format!("committing positions of group {}", member.group());
        let outcome = self.outcome(&doing, error);
        if outcome == CommitOutcome::Fenced(Fenced::Writer) {
            return outcome;
        }
        if MEMBER_FENCED.contains(&error.code) {
            // A generation may pass without taking anything: then the same may be tried again.
            return match member.metadata(positions) {
                Some(_) => CommitOutcome::Aborted {
                    owner: None,
                    error: LogError::new(Code::LogUnavailable, error.text.clone()),
                },
                None => CommitOutcome::Fenced(Fenced::Groups(vec![i])),
            };
        }
        let mut topics: Vec<&str> =
            positions.positions.iter().map(|(s, ..)| member.topics()[usize::from(s.topic)].as_str()).collect();
        topics.dedup();
        match super::admin::shapes(&self.shared.admin, &topics) {
            Ok(shapes) if shapes.contains(&None) => CommitOutcome::Fenced(Fenced::Groups(vec![i])),
            _ => outcome,
        }
    }

    /// Ends the transaction on the broker. From here on, only what the broker says is known.
    fn end(&mut self, until: Instant) -> CommitOutcome {
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            // SAFETY: the handle is live.
            let ended = unsafe { NativeError::take(rd::rd_kafka_commit_transaction(self.client.rk(), millis(left))) };
            let Err(error) = ended else { return CommitOutcome::Committed };
            if error.retriable && Instant::now() < until {
                continue;
            }
            if error.needs_abort && !error.fatal {
                // The broker refuses to abort what it has begun to commit, so an abort that succeeds tells that nothing was.
                return match self.abort_transaction(ABORT_TIMEOUT) {
                    Ok(()) => CommitOutcome::Aborted { owner: None, error: log_error("committing", &error) },
                    Err(abort) => self.give_up(abort),
                };
            }
            let code = if FENCED.contains(&error.code) { Code::Fenced } else { Code::CommitUnknown };
            return self.give_up(LogError::new(code, format!("committing: {}", error.text)));
        }
    }

    fn give_up(&mut self, error: LogError) -> CommitOutcome {
        self.broken = Some(error.clone());
        self.unsettled = true;
        CommitOutcome::Unknown(error)
    }

    /// Aborts what a failed step left, and says why it failed.
    fn end_failed(&mut self, outcome: CommitOutcome) -> CommitOutcome {
        let aborted = self.abort_transaction(abort_timeout(&outcome));
        let outcome = stall::blame(outcome, &self.client.told().failed.lock());
        self.finish();
        if let Err(error) = aborted {
            // Not committed, and it never will be: the next opener of the id ends it, or its timeout.
            self.broken = Some(error);
        }
        outcome
    }

    fn abort_transaction(&mut self, timeout: Duration) -> Result<(), LogError> {
        self.spent |= !self.held.is_empty();
        if let Some(fatal) = fatal_error(self.client.rk()) {
            return Err(log_error(&format!("the producer {} ended", self.id), &fatal));
        }
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            // SAFETY: the handle is live.
            let ended = unsafe { NativeError::take(rd::rd_kafka_abort_transaction(self.client.rk(), millis(left))) };
            match ended {
                Ok(()) => return Ok(()),
                Err(error) if error.retriable && Instant::now() < until => {}
                Err(error) => return Err(self.client.error("aborting", &error)),
            }
        }
    }

    /// The transaction is over. Payloads go where librdkafka has let go of them, and stay with the client where that is not known.
    fn finish(&mut self) {
        self.open = false;
        self.targets.end_transaction();
        self.client.told().failed.lock().clear();
        let held = std::mem::take(&mut self.held);
        // SAFETY: the handle is live.
        if unsafe { rd::rd_kafka_outq_len(self.client.rk()) } > 0 {
            self.client.told().payloads.lock().extend(held);
        }
    }
}

/// A record that failed only because another of its batch did.
const DIFFERENT_RECORD: ErrorCode = code(E::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD);

fn member(positions: &GroupPositions) -> Result<&Member, CommitOutcome> {
    positions.member.as_any().downcast_ref::<Member>().ok_or_else(|| CommitOutcome::Aborted {
        owner: None,
        error: LogError::new(Code::Internal, "a membership of another log was given to Kafka"),
    })
}

/// A coordinator that waits for a leader answers no abort either; a spare id does not wait for it.
fn abort_timeout(outcome: &CommitOutcome) -> Duration {
    match outcome {
        CommitOutcome::Aborted { error, .. } if error.code == Code::PartitionLeaderless => opening::HELD_UP,
        _ => ABORT_TIMEOUT,
    }
}

impl Writer for KafkaWriter {
    fn begin(&mut self) -> Result<(), LogError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if self.open {
            self.abort()?;
        }
        if self.spent {
            self.recover()?;
        }
        // SAFETY: the handle is live.
        let begun = unsafe { NativeError::take(rd::rd_kafka_begin_transaction(self.client.rk())) };
        if let Err(error) = begun {
            let error = log_error("beginning a transaction", fatal_error(self.client.rk()).as_ref().unwrap_or(&error));
            self.broken = Some(error.clone());
            return Err(error);
        }
        self.open = true;
        Ok(())
    }

    fn produce(&mut self, owner: u32, held: &Arc<Held>) -> Result<(), CommitOutcome> {
        self.held.push(Arc::clone(held));
        self.produce_rows(owner, held)?;
        self.client.serve(Duration::ZERO);
        match self.failed_record() {
            Some(outcome) => Err(outcome),
            None => Ok(()),
        }
    }

    fn commit(&mut self, positions: &[GroupPositions], timeout: Duration) -> CommitOutcome {
        if !self.open {
            let error =
                self.broken.clone().unwrap_or_else(|| LogError::new(Code::Internal, "no transaction was begun"));
            return if error.code == Code::Fenced {
                CommitOutcome::Fenced(Fenced::Writer)
            } else {
                CommitOutcome::Aborted { owner: None, error }
            };
        }
        let until = Instant::now() + timeout;
        // Positions first: while their coordinators answer, records go out.
        let prepared = self.send_positions(positions, until).and_then(|()| self.flush(until));
        match prepared {
            Err(outcome) => self.end_failed(outcome),
            Ok(()) => {
                let outcome = self.end(until);
                self.finish();
                outcome
            }
        }
    }

    fn abort(&mut self) -> Result<(), LogError> {
        if !self.open {
            return self.broken.clone().map_or(Ok(()), Err);
        }
        let aborted = self.abort_transaction(ABORT_TIMEOUT);
        self.finish();
        if let Err(error) = &aborted {
            self.broken = Some(error.clone());
        }
        aborted
    }

    fn recover(&mut self) -> Result<(), LogError> {
        // Before the old client ends, because its messages may still point to them.
        self.client.told().payloads.lock().append(&mut self.held);
        // A topic that went may be what broke the transaction, and a fresh client would wait for it in vain.
        self.targets.all.iter().for_each(|target| self.shared.topics.forget(&target.name));
        self.targets = Targets::default();
        self.open = false;
        let (client, turn) = opening::open(&self.shared, &self.id, self.turn, !self.unsettled)
            .inspect_err(|error| self.broken = Some(error.clone()))?;
        self.client = client;
        self.turn = turn;
        self.broken = None;
        self.unsettled = false;
        self.spent = false;
        Ok(())
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        self.client.told().payloads.lock().append(&mut self.held);
    }
}
