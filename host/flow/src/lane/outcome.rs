//! What the end of a transaction means for its batches.
//!
//! However it ends, each batch is one of three things: committed; dropped, because its incarnation ended or its partition went; or
//! produced again from memory, in the same order, with no second guest run. Where nobody can say how it ended, the
//! pipeline's incarnation ends, and the next begins at what the log says is committed.
//! Must never: settle a batch as committed on anything but the log's word.

use super::thread::{LaneThread, Open, positions};
use super::{Lane, LaneKind};
use crate::config::{ABORTS_BEFORE_RECOVERY, TROUBLES_BEFORE_RESTART, backoff};
use crate::pipeline::state::{Finished, PipelineState};
use bulkhead_core::code::Code;
use bulkhead_log::{CommitOutcome, Fenced, LogError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A pipeline in quarantine.
#[derive(Default)]
pub(super) struct Patient {
    /// Commits since the last trouble.
    clean: u32,
    /// Troubles since the last commit.
    troubles: u32,
}

impl LaneThread {
    /// Decides about every batch of a transaction that has ended.
    pub(super) fn ended(&mut self, open: Open, outcome: CommitOutcome) {
        let label = match &outcome {
            CommitOutcome::Committed => "committed",
            CommitOutcome::Fenced(_) => "fenced",
            CommitOutcome::Aborted { .. } => "aborted",
            CommitOutcome::Unknown(_) => "unknown",
        };
        self.tools.metrics.commits.with_label_values(&[self.lane.name.as_str(), label]).inc();
        if outcome != CommitOutcome::Committed {
            tracing::warn!(lane = self.lane.name, ?outcome, batches = open.batches.len(), "transaction did not commit");
        }
        self.overdue |= open.is_overdue();
        match outcome {
            CommitOutcome::Committed => self.committed(open),
            CommitOutcome::Fenced(Fenced::Groups(groups)) => self.fenced(open, &groups),
            CommitOutcome::Fenced(Fenced::Writer) if self.overdue => {
                let error = LogError::new(Code::CommitUnknown, "the log gave up a transaction that took too long");
                self.unknown(open, &error);
            }
            CommitOutcome::Fenced(Fenced::Writer) => {
                let message = format!("another worker runs as `{}`; this one ends", self.tools.worker.slot());
                self.lanes.end_worker(LogError::new(Code::Fenced, message));
                self.restore(open.batches);
            }
            CommitOutcome::Aborted { owner, error } => {
                let culprit = owner.and_then(|owner| open.owners.get(owner as usize)).cloned();
                self.restore(open.batches);
                match culprit {
                    Some(pipeline) => self.blame(&pipeline, &error),
                    None => self.aborted(&open.owners, &error),
                }
            }
            CommitOutcome::Unknown(error) => self.unknown(open, &error),
        }
    }

    fn committed(&mut self, open: Open) {
        self.aborts = 0;
        self.overdue = false;
        for finished in open.batches {
            if self.lane.kind == LaneKind::Shared {
                let bytes = finished.cost.totals.bytes_in + finished.cost.totals.bytes_out;
                self.rates.count(&finished.incarnation.pipeline, bytes);
            }
            finished.settle(true);
        }
        match self.lane.kind {
            LaneKind::Quarantine => open.owners.iter().for_each(|pipeline| self.clean(pipeline)),
            LaneKind::Shared => {
                if let Some(pipeline) = self.rates.busiest(self.tools.config.busy_bytes_per_s)
                    && let Some(own) = self.lanes.take_own(&pipeline)
                {
                    self.move_pipeline(&pipeline, &own);
                }
            }
            LaneKind::Own => {}
        }
    }

    /// A commit in quarantine: after enough of them the pipeline may go.
    fn clean(&mut self, pipeline: &Arc<PipelineState>) {
        let patient = self.patients.entry(pipeline.key.clone()).or_default();
        patient.troubles = 0;
        patient.clean += 1;
        if patient.clean >= self.tools.config.clean_commits {
            self.patients.remove(&pipeline.key);
            let shared = self.lanes.shared(&pipeline.key);
            self.move_pipeline(pipeline, &shared);
        }
    }

    /// Puts batches back, to be produced again before all others.
    fn restore(&mut self, batches: Vec<Finished>) {
        for finished in batches.into_iter().rev() {
            self.pending.push_front(finished);
        }
    }

    /// A pipeline's output was the reason for an abort.
    fn blame(&mut self, pipeline: &Arc<PipelineState>, error: &LogError) {
        for finished in self.pending.iter().filter(|f| Arc::ptr_eq(&f.incarnation.pipeline, pipeline)) {
            for target in
                finished.held.iter().flat_map(|held| &held.blocks).flat_map(|block| block.targets.iter().flatten())
            {
                self.tools.topics.forget(target);
            }
        }
        self.trouble(pipeline, error);
    }

    /// A pipeline made a transaction fail: out of the others' way with it, and where it is out of the way already, a few more tries.
    fn trouble(&mut self, pipeline: &Arc<PipelineState>, error: &LogError) {
        if self.lane.kind != LaneKind::Quarantine {
            let quarantine = self.lanes.quarantine.clone();
            return self.move_pipeline(pipeline, &quarantine);
        }
        let patient = self.patients.entry(pipeline.key.clone()).or_default();
        patient.clean = 0;
        patient.troubles += 1;
        let troubles = patient.troubles;
        if troubles >= TROUBLES_BEFORE_RESTART || error.code == Code::TopicGone {
            patient.troubles = 0;
            self.fail(pipeline, error);
        }
        // The others first; all of this one's batches go back together.
        let (mine, others): (VecDeque<_>, VecDeque<_>) =
            self.pending.drain(..).partition(|finished| Arc::ptr_eq(&finished.incarnation.pipeline, pipeline));
        let alone = others.is_empty();
        self.pending = others;
        self.pending.extend(mine);
        if alone {
            self.wait(troubles);
        }
    }

    /// Ends the pipeline's incarnation; what it had is read again after a pause.
    fn fail(&mut self, pipeline: &Arc<PipelineState>, error: &LogError) {
        for finished in self.pending.iter().filter(|f| Arc::ptr_eq(&f.incarnation.pipeline, pipeline)) {
            finished.incarnation.fail(error.clone());
        }
    }

    /// An abort that names nobody: the broker's trouble, or somebody's that it did not tell.
    fn aborted(&mut self, owners: &[Arc<PipelineState>], error: &LogError) {
        self.aborts += 1;
        if self.aborts.is_multiple_of(ABORTS_BEFORE_RECOVERY) {
            self.recover();
            if owners.len() > 1 {
                // One to a transaction, the innocent are soon back.
                let quarantine = self.lanes.quarantine.clone();
                owners.iter().for_each(|pipeline| self.move_pipeline(pipeline, &quarantine));
            }
        }
        match owners {
            [only] if self.lane.kind == LaneKind::Quarantine => self.trouble(only, error),
            _ => self.wait(self.aborts),
        }
    }

    /// Some groups were overtaken. Batches whose partition went are dropped; a group that still owns the rest has stale
    /// metadata, which passes, but not at the others' cost.
    fn fenced(&mut self, open: Open, groups: &[usize]) {
        let all = positions(open.batches.iter());
        let fenced: Vec<_> =
            groups.iter().filter_map(|i| all.get(*i)).map(|(incarnation, _)| incarnation.clone()).collect();
        drop(all);
        self.restore(open.batches);
        self.drop_ended();
        for incarnation in fenced {
            if self.pending.iter().any(|finished| Arc::ptr_eq(&finished.incarnation, &incarnation)) {
                let error = LogError::new(Code::Fenced, "the group refuses this member's commits");
                self.trouble(&incarnation.pipeline, &error);
            }
        }
    }

    /// Nobody knows how the transaction ended: settle that first.
    fn unknown(&mut self, open: Open, error: &LogError) {
        tracing::warn!(lane = self.lane.name, code = %error.code, message = error.message, "asking the log how a transaction ended");
        self.recover();
        if self.lanes.fatal().is_some() || open.batches.is_empty() {
            return self.restore(open.batches);
        }
        let mut failures = 0;
        loop {
            match self.took_place(&open.batches) {
                Ok(Some(true)) => return self.committed(open),
                Ok(Some(false)) => return self.restore(open.batches),
                Ok(None) => return unknowable(open.batches),
                Err(error) if self.lane.is_closing() => {
                    tracing::error!(lane = self.lane.name, %error, "closing with a transaction whose end is unknown");
                    return unknowable(open.batches);
                }
                Err(_) => self.wait(failures),
            }
            failures += 1;
        }
    }

    /// Whether the committed positions are those of the transaction. It is one transaction, so one answer is all groups'. But only
    /// of a partition that is still ours: another owner may have gone on from before the transaction, past its end. And only of one whose
    /// position the transaction moves, which a tick alone does not.
    fn took_place(&self, batches: &[Finished]) -> Result<Option<bool>, LogError> {
        for (_, group) in positions(batches.iter().filter(|finished| finished.moves)) {
            let member = &group.member;
            let committed = match self.tools.log.committed(member.group(), member.topics()) {
                Ok(committed) => committed,
                Err(error) if error.code == Code::LogUnavailable => return Err(error),
                // This one will not say; the others may.
                Err(_) => continue,
            };
            for (source, epoch, next) in group.positions {
                // Ownership is asked for after the position was read: so it was ours then.
                if !member.owns(source, epoch) {
                    continue;
                }
                let partitions = committed.get(usize::from(source.topic));
                let position = partitions.and_then(|all| *all.get(usize::try_from(source.partition).ok()?)?);
                return Ok(Some(position.is_some_and(|position| position >= next)));
            }
        }
        Ok(None)
    }

    /// Starts the producer afresh, however long that takes.
    fn recover(&mut self) {
        let mut failures = 0;
        loop {
            let recovered = match self.writer.as_mut() {
                Some(writer) => writer.recover(),
                None => self
                    .tools
                    .log
                    .writer(&self.tools.worker.lane(&self.lane.name))
                    .map(|writer| self.writer = Some(writer)),
            };
            match recovered {
                Ok(()) => {
                    self.overdue = false;
                    return;
                }
                Err(error) if error.code == Code::Fenced => return self.lanes.end_worker(error),
                Err(error) => {
                    tracing::warn!(lane = self.lane.name, %error, "producer does not start");
                    if self.lane.is_closing() {
                        return;
                    }
                }
            }
            self.wait(failures);
            failures += 1;
        }
    }

    fn wait(&self, failures: u32) {
        let longest = if self.lane.is_closing() { Duration::from_millis(100) } else { Duration::from_secs(2) };
        std::thread::sleep(backoff(Duration::from_millis(20), longest, failures));
    }

    /// Moves a pipeline with all its batches to another lane. Its route is locked meanwhile, so nothing overtakes.
    pub(super) fn move_pipeline(&mut self, pipeline: &Arc<PipelineState>, to: &Arc<Lane>) {
        let mut route = pipeline.lane.lock();
        if !Arc::ptr_eq(&route, &self.lane) {
            return;
        }
        tracing::info!(tenant = %pipeline.key.tenant, pipeline = %pipeline.key.pipeline, from = self.lane.name, to = to.name, "lane changed");
        self.pending.extend(std::mem::take(&mut self.lane.inbox.lock().batches));
        let (moving, staying): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|finished| Arc::ptr_eq(&finished.incarnation.pipeline, pipeline));
        self.pending = staying;
        moving.into_iter().for_each(|finished| to.send(finished));
        *route = to.clone();
    }
}

/// Drops batches of which nobody can say whether they are committed. Of a partition that is still ours nothing later may
/// commit either: what the log says is committed is where it begins again.
fn unknowable(batches: Vec<Finished>) {
    for finished in batches {
        if finished.may_commit() {
            let error = LogError::new(Code::CommitUnknown, "nobody can say how a transaction ended");
            finished.incarnation.fail(error);
        }
        finished.forget();
    }
}
