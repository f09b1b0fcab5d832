//! The watcher: one thread that asks for the ends of what all parked pipelines read, and wakes those for which something came. Of those that
//! have moved and that this worker only stands by for, it asks for the positions too, of all together.
//!
//! Must never: wait for a pipeline.

use super::Shared;
use super::rows::Wake;
use bulkhead_core::code::Code;
use bulkhead_core::scope::PhysicalTopic;
use bulkhead_log::LogError;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Topics of one question: what one broker answers within moments.
const TOPICS_MAX: usize = 1_000;
/// A look takes at most one part in so many of the time, however many topics there are.
const PART_OF_TIME: u32 = 10;
/// Where a log does not tell, a group that was left is not joined again before: on Kafka a member that comes back at once waits for a
/// heartbeat interval.
const REJOIN_AFTER: Duration = Duration::from_millis(1_200);

/// What the thread knows from turn to turn.
struct Watch {
    /// The log does not tell of records, so it is asked.
    asks: bool,
    look_at: Instant,
    /// When positions are asked for, where there is a need.
    ask_at: Instant,
    away: bool,
}

impl Shared {
    /// Watches until it is told to stop.
    pub(super) fn run(&self) {
        let mut watch = Watch { asks: false, look_at: Instant::now(), ask_at: Instant::now(), away: false };
        while !self.stop.load(Ordering::Acquire) {
            let mut changed: BTreeSet<_> = self.changes.wait(self.next(&watch)).into_iter().collect();
            changed.extend(self.rows.lock().take_new());
            self.turn(&mut watch, changed);
        }
    }

    /// When there is something to do, whatever the log tells.
    fn next(&self, watch: &Watch) -> Option<Instant> {
        let rows = self.rows.lock();
        let look = ((watch.asks || watch.away) && !rows.is_empty()).then_some(watch.look_at);
        let ask = rows.is_any_behind().then_some(watch.ask_at);
        look.into_iter().chain(ask).chain(rows.keep_next()).min()
    }

    fn turn(&self, watch: &mut Watch, changed: BTreeSet<PhysicalTopic>) {
        let now = Instant::now();
        let due = self.rows.lock().keep_due(now, self.config.keep_positions_every);
        due.into_iter().for_each(|pipeline| pipeline.keep_positions());
        let turned = self.rows.lock().take_turned();
        for row in turned {
            row.pipeline.turned(row.owned, row.done);
            if row.runs {
                row.pipeline.wake();
            }
            // What is not known of them is wanted now.
            watch.ask_at = now;
        }
        self.look_at_ends(watch, changed, now);
        if now >= watch.ask_at {
            self.look_behind();
            watch.ask_at = Instant::now() + self.config.watch_every.max(now.elapsed() * PART_OF_TIME);
        }
    }

    fn look_at_ends(&self, watch: &mut Watch, mut changed: BTreeSet<PhysicalTopic>, now: Instant) {
        {
            let rows = self.rows.lock();
            changed.retain(|topic| rows.is_watched(topic));
        }
        // Before the ends are asked for: what comes after that is told.
        for topic in &changed {
            watch.asks |= !self.log.tell(topic, &self.changes);
        }
        let all = (watch.asks || watch.away) && now >= watch.look_at;
        let topics = if all { self.rows.lock().topics() } else { changed.into_iter().collect() };
        if topics.is_empty() {
            return;
        }
        let until = if watch.asks { now.checked_sub(REJOIN_AFTER).unwrap_or(now) } else { now };
        let looked = topics.chunks(TOPICS_MAX).try_for_each(|topics| self.look(topics, until));
        self.say(watch, looked);
        if all || watch.away {
            let took = now.elapsed();
            watch.look_at = Instant::now() + self.config.watch_every.max(took * PART_OF_TIME);
        }
    }

    /// Wakes those for which these topics have moved.
    fn look(&self, topics: &[PhysicalTopic], until: Instant) -> Result<(), LogError> {
        let ends = self.log.ends(topics)?;
        for (topic, ends) in topics.iter().zip(&ends) {
            let moved = self.rows.lock().moved(topic, ends, until);
            moved.into_iter().for_each(|pipeline| pipeline.wake());
        }
        Ok(())
    }

    /// Asks for the positions of those that are behind, and wakes those that need this worker.
    fn look_behind(&self) {
        let (numbers, asked) = self.rows.lock().behind();
        if asked.is_empty() {
            return;
        }
        let told = match self.log.positions(&asked) {
            Ok(told) => told,
            // Who stands by is no worse off than the owner.
            Err(error) => return tracing::debug!(%error, "positions of parked pipelines are not known"),
        };
        for (number, told) in numbers.into_iter().zip(&told) {
            let wake = self.rows.lock().judge(number, told.as_ref(), &self.config);
            match wake {
                Some(Wake::Own(pipeline)) => pipeline.wake(),
                Some(Wake::Help(pipeline)) => pipeline.help(),
                None => {}
            }
        }
        // What turned with it is said in the next turn.
        self.changes.nudge();
    }

    /// Says of all parked pipelines that the log is away, or is there again. What was to be looked at then is looked at with all others.
    fn say(&self, watch: &mut Watch, looked: Result<(), LogError>) {
        let away = match looked {
            Ok(()) => false,
            Err(error) => {
                if !watch.away {
                    tracing::warn!(%error, "the ends of what parked pipelines read are not known");
                }
                error.code == Code::LogUnavailable || watch.away
            }
        };
        if away != watch.away {
            watch.away = away;
            let all = self.rows.lock().all();
            all.into_iter().for_each(|pipeline| pipeline.log_is_away(away));
        }
    }
}
