//! When a worker that does not look after a pipeline joins it all the same.
//!
//! It does where the pipeline is far behind, and where what had to be done [`FlowConfig::help_after`](crate::FlowConfig::help_after) ago is not
//! done yet: its owner is slower than its records come, or stuck, or nobody is its owner. More hands than partitions are of no use, so a
//! pipeline with a single one is joined only where nothing at all was done.
//! Must never: join over what is done as it comes.

use crate::config::FlowConfig;
use crate::pipeline::Ends;
use bulkhead_log::PositionsAt;
use std::time::Instant;

/// What is said of the end of a partition that nobody leads at the moment.
pub(super) const UNKNOWN_END: i64 = -1;

/// A pipeline whose inputs have moved since all of it was known to be done.
pub(super) struct Behind {
    /// The ends of its inputs at the last look.
    pub(super) ends: Ends,
    since: Instant,
    /// What was to be done at that time, and the sum of the positions then.
    then: Option<(i64, i64)>,
}

/// What comes of a look at the positions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is done up to the ends.
    Done,
    /// Somebody is at it, for all that is known.
    Wait,
    /// It needs more hands.
    Join,
}

impl Behind {
    pub(super) fn new(ends: Ends, now: Instant) -> Self {
        Self { ends, since: now, then: None }
    }

    /// What to do, now that the positions are these; `None` where they could not be asked.
    pub(super) fn judge(&mut self, told: Option<&PositionsAt>, config: &FlowConfig, now: Instant) -> Verdict {
        let is_over = now.duration_since(self.since) >= config.help_after;
        let Some(positions) = told else { return if is_over { Verdict::Join } else { Verdict::Wait } };
        // An input that is not there is for the owner to tell.
        if self.ends.iter().any(|(_, ends)| ends.is_empty()) {
            return Verdict::Wait;
        }
        let Progress { lag, sum, partitions } = self.progress(positions);
        if lag == 0 {
            return Verdict::Done;
        }
        let is_wide = partitions > 1;
        if is_wide && lag.unsigned_abs() > config.help_lag_records {
            return Verdict::Join;
        }
        let (lag_then, sum_then) = *self.then.get_or_insert((lag, sum));
        if !is_over {
            return Verdict::Wait;
        }
        let done = sum - sum_then;
        if done < lag_then && (is_wide || done == 0) {
            return Verdict::Join;
        }
        (self.since, self.then) = (now, Some((lag, sum)));
        Verdict::Wait
    }

    fn progress(&self, positions: &PositionsAt) -> Progress {
        let mut progress = Progress { lag: 0, sum: 0, partitions: 0 };
        for ((_, ends), positions) in self.ends.iter().zip(positions) {
            for (partition, end) in (0..).zip(ends) {
                let at = positions.get(&partition);
                progress.partitions += 1;
                progress.sum += at.unwrap_or(&0);
                progress.lag += match at {
                    _ if *end == UNKNOWN_END => 0,
                    // Where it is to begin is not known, only that nobody has begun.
                    None => 1,
                    // A topic that was made anew ends before the position.
                    Some(at) => (end - at).max(i64::from(end != at)),
                };
            }
        }
        progress
    }
}

struct Progress {
    lag: i64,
    sum: i64,
    partitions: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::scope::TenantScope;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const CONFIG_AFTER: Duration = Duration::from_secs(10);

    fn config() -> FlowConfig {
        FlowConfig { help_lag_records: 1_000, help_after: CONFIG_AFTER, ..FlowConfig::default() }
    }

    fn ends(of: &[i64]) -> Ends {
        let topic = TenantScope::assume("acme".parse().unwrap()).topic(&"in".parse().unwrap());
        Box::new([(topic, of.into())])
    }

    fn at(positions: &[i64]) -> Option<PositionsAt> {
        Some(vec![(0..).zip(positions.iter().copied()).collect::<BTreeMap<_, _>>()])
    }

    /// What is decided at these positions, one look each five seconds.
    fn verdicts(to: &[i64], looks: &[Option<PositionsAt>]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut behind = Behind::new(ends(to), start);
        let step = CONFIG_AFTER / 2;
        (0..).zip(looks).map(|(i, told)| behind.judge(told.as_ref(), &config(), start + step * i)).collect()
    }

    use Verdict::{Done, Join, Wait};

    #[test]
    fn what_is_done_as_it_comes_is_left_to_its_owner() {
        assert_eq!(verdicts(&[500, 500], &[at(&[500, 500])]), [Done]);
        let steady = [at(&[0, 0]), at(&[300, 300]), at(&[500, 500])];
        assert_eq!(verdicts(&[500, 500], &steady), [Wait, Wait, Done]);
        assert_eq!(
            verdicts(&[500, UNKNOWN_END], &[at(&[500])]),
            [Done],
            "of a partition without a leader nothing is known"
        );
    }

    #[test]
    fn who_is_far_behind_or_slow_gets_more_hands() {
        assert_eq!(verdicts(&[500, 501], &[at(&[0, 0])]), [Join], "far behind");
        let slow = [at(&[0, 0]), at(&[10, 10]), at(&[20, 20])];
        assert_eq!(verdicts(&[100, 100], &slow), [Wait, Wait, Join], "what waited ten seconds ago still waits");
        assert_eq!(
            verdicts(&[5_000], &[at(&[0]), at(&[10]), at(&[20])]),
            [Wait, Wait, Wait],
            "one partition, one worker"
        );
    }

    #[test]
    fn nobody_is_left_without_anybody() {
        assert_eq!(verdicts(&[5], &[at(&[4]), at(&[4]), at(&[4])]), [Wait, Wait, Join], "its owner is stuck");
        assert_eq!(verdicts(&[0], &[at(&[]), at(&[]), at(&[])]), [Wait, Wait, Join], "nobody has begun");
        assert_eq!(verdicts(&[5], &[None, None, None]), [Wait, Wait, Join], "who cannot tell joins");
    }
}
