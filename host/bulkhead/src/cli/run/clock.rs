//! When a stage that acts on time is told it: by a clock that the records move, since a file is read in no time.
//!
//! The clock stands at the time of the latest record. Before a batch, the batch's partition is told the time if the clock has moved by
//! `every` since it was last told, at most once: a worker that reads old records does not catch up on the ticks that it missed either. After
//! the last record the clock goes on by itself, and every partition is told.
//! Must never: fall, or depend on this machine's time: the same file gives the same ticks everywhere.

use bulkhead_core::columns::RecordBatch;
use std::collections::BTreeMap;

/// A moment in a partition of one of the stage's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moment {
    /// Index of the input.
    #[serde(default)]
    pub(super) input: u16,
    #[serde(default)]
    pub(super) partition: i32,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// See the module's documentation.
pub(super) struct Clock {
    /// Milliseconds between two ticks; 0 where the stage is not told.
    every: i64,
    now: i64,
    /// When each partition is to be told next.
    due: BTreeMap<(u16, i32), i64>,
}

impl Clock {
    /// A clock before all records; one that tells nothing where `every` is 0 milliseconds.
    pub(super) fn new(every: u64) -> Self {
        Self { every: i64::try_from(every).unwrap_or(i64::MAX), now: i64::MIN, due: BTreeMap::new() }
    }

    /// A batch is about to be run: the moment to tell its partition first, where that is due.
    pub(super) fn before(&mut self, batch: &RecordBatch) -> Option<Moment> {
        let first = batch.timestamps.first().copied().unwrap_or(i64::MIN);
        self.now = self.now.max(first);
        let now = self.now;
        let next = now.saturating_add(self.every);
        // Time begins for a partition with its first record.
        let due = self.due.entry((batch.topic, batch.partition)).or_insert(next);
        if self.every == 0 || *due > now {
            return None;
        }
        *due = next;
        Some(Moment { input: batch.topic, partition: batch.partition, now })
    }

    /// A batch was run.
    pub(super) fn after(&mut self, batch: &RecordBatch) {
        self.now = batch.timestamps.iter().copied().fold(self.now, i64::max);
    }

    /// A line of the file has told a partition this moment, and so moved the clock.
    pub(super) fn told(&mut self, moment: Moment) {
        self.now = self.now.max(moment.now);
        self.due.insert((moment.input, moment.partition), moment.now.saturating_add(self.every));
    }

    /// There are no more records for `quiet` milliseconds: what to tell meanwhile, in order.
    pub(super) fn rest(&self, quiet: u64) -> impl Iterator<Item = Moment> + use<> {
        let (now, every, partitions) = (self.now, self.every, self.due.keys().copied().collect::<Vec<_>>());
        let ticks = i64::try_from(quiet).unwrap_or(i64::MAX).checked_div(every).unwrap_or(0);
        (1..=ticks).flat_map(move |tick| {
            let now = now.saturating_add(every.saturating_mul(tick));
            let moments =
                partitions.iter().map(|(input, partition)| Moment { input: *input, partition: *partition, now });
            moments.collect::<Vec<_>>()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(partition: i32, times: &[i64]) -> RecordBatch {
        let mut batch = RecordBatch { partition, ..RecordBatch::default() };
        times.iter().for_each(|time| batch.push(0, *time, None, None, []));
        batch
    }

    fn told(clock: &mut Clock, partition: i32, times: &[i64]) -> Option<i64> {
        let batch = batch(partition, times);
        let moment = clock.before(&batch);
        clock.after(&batch);
        moment.map(|moment| moment.now)
    }

    #[test]
    fn a_partition_is_told_once_when_the_records_have_moved_the_clock() {
        let mut clock = Clock::new(1_000);
        assert_eq!(told(&mut clock, 0, &[5_000]), None, "its time begins here");
        assert_eq!(told(&mut clock, 0, &[5_999]), None);
        assert_eq!(told(&mut clock, 0, &[90_000, 95_000]), Some(90_000), "not once for each second");
        assert_eq!(told(&mut clock, 1, &[1]), None, "another's time begins with its own first record");
        assert_eq!(told(&mut clock, 0, &[1]), Some(95_000), "an older record does not turn it back");
        let rest: Vec<_> = clock.rest(2_999).map(|moment| (moment.partition, moment.now)).collect();
        assert_eq!(rest, [(0, 96_000), (1, 96_000), (0, 97_000), (1, 97_000)]);
    }

    #[test]
    fn a_stage_that_is_not_to_be_told_is_not() {
        let mut clock = Clock::new(0);
        assert_eq!((told(&mut clock, 0, &[0]), told(&mut clock, 0, &[9_000])), (None, None));
        assert_eq!(clock.rest(60_000).count(), 0);
    }
}
