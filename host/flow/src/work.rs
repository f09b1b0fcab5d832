//! What each stage did for a batch, kept until the batch commits, so that a batch which is run again counts once.
//!
//! Fuel was burnt whatever comes of it. Records given and made are known by their row until it is known which rows commit.
//! Must never: count a row of a run whose outcome was given up.

use bulkhead_core::assignment::StageTotals;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Work {
    calls: Vec<Call>,
    /// By stage: what no verdict can change any more.
    settled: Vec<StageTotals>,
}

/// One call of a stage, by rows of the source batch.
struct Call {
    stage: usize,
    /// How many records it was given, and of which row each is; `None` where they are the same.
    given: usize,
    origin: Option<Arc<[u32]>>,
    /// The row of each record that it made.
    made: Vec<u32>,
}

impl Work {
    /// A stage has burnt fuel.
    pub(crate) fn burn(&mut self, stage: usize, fuel: u64) {
        self.of(stage).fuel += fuel;
    }

    /// A stage could not handle a record.
    pub(crate) fn fault(&mut self, stage: usize) {
        self.of(stage).faults += 1;
    }

    /// A stage was given so many records, of the rows in `origin`, and made records of the rows in `made`.
    pub(crate) fn call(&mut self, stage: usize, given: usize, origin: Option<Arc<[u32]>>, made: Vec<u32>) {
        self.calls.push(Call { stage, given, origin, made });
    }

    /// It is known which rows count: those given and those made for which this holds.
    pub(crate) fn settle(&mut self, given: impl Fn(u32) -> bool, made: impl Fn(u32) -> bool) {
        for call in std::mem::take(&mut self.calls) {
            let rows = (0..call.given as u32).map(|i| call.origin.as_ref().map_or(i, |origin| origin[i as usize]));
            let (records_in, records_out) =
                (rows.filter(|row| given(*row)).count(), call.made.iter().filter(|row| made(**row)).count());
            let stage = self.of(call.stage);
            stage.records_in += records_in as u64;
            stage.records_out += records_out as u64;
        }
    }

    /// Nothing of it counts but the fuel.
    pub(crate) fn give_up(&mut self) {
        self.calls.clear();
    }

    /// Adds what is settled of another's.
    pub(crate) fn add(&mut self, other: Self) {
        for (stage, totals) in other.settled.into_iter().enumerate() {
            *self.of(stage) += totals;
        }
    }

    /// Fuel of all stages.
    pub(crate) fn fuel(&self) -> u64 {
        self.settled.iter().map(|totals| totals.fuel).sum()
    }

    /// What is settled, by stage.
    pub(crate) fn totals(&self) -> impl Iterator<Item = (usize, StageTotals)> {
        self.settled.iter().copied().enumerate()
    }

    fn of(&mut self, stage: usize) -> &mut StageTotals {
        if self.settled.len() <= stage {
            self.settled.resize(stage + 1, StageTotals::default());
        }
        &mut self.settled[stage]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_leaves_its_fuel_and_rows_count_once_they_are_known_to() {
        let mut work = Work::default();
        work.burn(0, 10);
        work.call(0, 3, None, vec![0, 0, 2]);
        work.burn(1, 5);
        work.call(1, 3, Some(Arc::from([0, 0, 2])), vec![2]);
        work.settle(|row| row < 2, |row| row == 0);
        work.fault(1);
        let totals = |records_in, records_out, faults, fuel| StageTotals { records_in, records_out, faults, fuel };
        assert_eq!(
            work.totals().map(|(_, totals)| totals).collect::<Vec<_>>(),
            [totals(2, 2, 0, 10), totals(2, 0, 1, 5)]
        );
        let mut other = Work::default();
        other.call(1, 9, None, Vec::new());
        other.burn(1, 7);
        other.give_up();
        work.add(other);
        assert_eq!(work.totals().nth(1), Some((1, totals(2, 0, 1, 12))));
        assert_eq!(work.fuel(), 22);
    }
}
