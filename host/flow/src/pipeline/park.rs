//! Whether a pipeline has nothing to do, which its source thread asks itself about once a second.
//!
//! It has not where nothing came for a while, nothing of it is on its way, and the whole pipeline, on whichever workers, has committed up to
//! the ends of its inputs. That is asked of the log: first the positions, then the ends, so that what is equal was so at the second question.
//! Where a partition that is owned here has another committed position than the one that was committed here, somebody outside has moved it;
//! then it is committed again.
//! A stage that acts on time and an output to a bucket have something to do without a record, so their pipelines stay awake; so does one
//! whose state would take long to restore.
//! Must never: park over a record, or over a batch that has yet to commit.

use super::Ends;
use super::source::{Live, SourceThread};
use crate::parking::{Gate, Turn};
use crate::pipeline::state::Finished;
use bulkhead_core::assignment::{Phase, PipelineKey};
use bulkhead_core::code::Code;
use bulkhead_log::{Log, LogError, Membership, Source};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What is known of a membership's rest.
pub(super) struct Quiet {
    /// Nothing came since then.
    since: Instant,
    /// Nothing came at all.
    untouched: bool,
    /// It was woken only to commit its positions again.
    keeps: bool,
    /// They are on their way.
    kept: bool,
    /// The right to be starting, until it is known whether there is something to do.
    turn: Option<Turn>,
    /// Of the last look.
    pub(super) lag: Option<i64>,
    asked: Option<JoinHandle<Result<Rest, LogError>>>,
}

/// What a group has committed of all inputs.
enum Rest {
    /// All of it, up to these ends.
    Done(Ends),
    /// Not all: these are its positions, by input and partition.
    Not(Vec<Vec<Option<i64>>>),
}

impl Quiet {
    pub(super) fn new(turn: Option<Turn>, keeps: bool) -> Self {
        Self { since: Instant::now(), untouched: true, keeps, kept: false, turn, lag: None, asked: None }
    }

    /// Something came.
    pub(super) fn broken(&mut self) {
        (self.since, self.untouched, self.keeps, self.lag) = (Instant::now(), false, false, None);
        self.turn = None;
    }

    /// Partitions came. Whether their positions are to be committed as they are.
    pub(super) fn keeps(&mut self) -> bool {
        self.kept = true;
        self.keeps
    }

    /// Whether nothing came for so long. What was woken to commit its positions has no need to wait, once it has.
    fn lasts(&self, long: Duration) -> bool {
        self.since.elapsed() >= long || (self.untouched && self.keeps && self.kept)
    }

    /// Whether others wait until it is known what there is to do.
    pub(super) fn hurries(&self, gate: &Gate) -> bool {
        self.untouched && ((self.keeps && self.kept) || gate.is_crowded())
    }
}

impl SourceThread {
    /// Where there is nothing to do, the ends up to which all is done.
    pub(super) fn nothing_to_do(&self, live: &mut Live) -> Option<Ends> {
        if let Some(asked) = live.quiet.asked.take_if(|asked| asked.is_finished()) {
            let answer = self.tools.runtime.block_on(asked);
            // Whatever the answer is, it has started.
            live.quiet.turn = None;
            live.quiet.lag = None;
            return match answer {
                Ok(Ok(Rest::Done(ends))) => Some(ends).filter(|_| self.may_park(live)),
                Ok(Ok(Rest::Not(committed))) => {
                    self.put_right(live, &committed);
                    None
                }
                // Who could not be asked now is asked later.
                _ => None,
            };
        }
        let lag = live.quiet.lag?;
        if live.quiet.asked.is_some() {
            return None;
        }
        if lag > 0 || !self.may_park(live) {
            live.quiet.turn = None;
            return None;
        }
        let crowded = live.quiet.hurries(&self.tools.parking.gate) && !live.quiet.keeps;
        if crowded || live.quiet.lasts(self.tools.config.park_after) {
            let (log, member) = (self.tools.log.clone(), live.incarnation.member.clone());
            live.quiet.asked = Some(self.tools.runtime.spawn_blocking(move || done(log.as_ref(), member.as_ref())));
        } else {
            live.quiet.turn = None;
        }
        None
    }

    /// Commits the positions of partitions again that are owned and committed here, and are said to be elsewhere. Of the others their owners know.
    fn put_right(&self, live: &Live, committed: &[Vec<Option<i64>>]) {
        if !self.may_park(live) {
            return;
        }
        // Nothing is on its way, so these are final: what is committed cannot be beyond them by this worker's doing.
        let own: HashMap<Source, i64> = live.incarnation.positions().into_iter().collect();
        for (source, owned) in &live.partitions {
            let position = own.get(source).map_or(owned.position, |position| owned.position.max(*position));
            let of = committed.get(usize::from(source.topic));
            let is = of.and_then(|of| of.get(source.partition as usize)).copied().flatten();
            if is.is_some_and(|is| is != position) {
                let PipelineKey { tenant, pipeline, .. } = &self.state.key;
                let (code, partition) = (Code::PositionMoved, source.partition);
                tracing::warn!(%tenant, %pipeline, partition, %code, "moved from outside; it is committed again");
                Finished::position(&live.incarnation, *source, owned.epoch, position).send();
            }
        }
    }

    /// Whether nothing but a record, or an order, could give it something to do.
    fn may_park(&self, live: &Live) -> bool {
        let config = &self.tools.config;
        let calm = live.leaving.is_empty() && !live.paused && live.poll_failures == 0 && !live.log_away;
        let inputs = 0..live.run.assignment.spec.inputs.len();
        let ticks = inputs.into_iter().any(|input| !live.run.graph.tickers(input as u16).is_empty());
        !config.park_after.is_zero()
            && calm
            && !ticks
            && live.sinks.is_empty()
            && self.state.is_still()
            && self.state.held_state() <= config.park_state_bytes
            && self.state.status().phase == Phase::Running
    }
}

/// The ends of all inputs, where all partitions are committed up to them.
fn done(log: &dyn Log, member: &dyn Membership) -> Result<Rest, LogError> {
    let committed = log.committed(member.group(), member.topics())?;
    let ends = log.ends(member.topics())?;
    let is_done = |(committed, ends): (&Vec<Option<i64>>, &Vec<i64>)| {
        !ends.is_empty()
            && committed.len() == ends.len()
            && committed.iter().zip(ends).all(|(at, end)| *at == Some(*end))
    };
    if committed.len() != ends.len() || !committed.iter().zip(&ends).all(is_done) {
        return Ok(Rest::Not(committed));
    }
    let ends = ends.into_iter().map(Vec::into_boxed_slice);
    Ok(Rest::Done(member.topics().iter().cloned().zip(ends).collect()))
}
