//! What each stage did for a batch, kept until the batch commits, so that a batch which is run again counts once.
//!
//! Fuel was burnt whatever comes of it; what of it went into an outcome that is to commit is told apart from what was wasted. Records
//! given and made are known by their row until it is known which rows commit.
//! Must never: count a row of a run whose outcome was given up, or its fuel as anything but wasted.

use bulkhead_core::assignment::StageTotals;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::usage::{Used, Wasted};
use std::sync::Arc;

/// Fuel of one or several calls, by what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Calls that ended well.
    pub(crate) used: u64,
    /// Starts, calls that failed, and runs of records alone.
    pub(crate) wasted: Wasted,
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Work {
    calls: Vec<Call>,
    /// By stage: what no verdict can change any more.
    settled: Vec<StageWork>,
}

/// What a stage did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StageWork {
    pub(crate) used: Used,
    pub(crate) faults: u64,
}

impl StageWork {
    /// The same for the worker's report, whose fuel is all that was burnt.
    pub(crate) fn totals(&self) -> StageTotals {
        let Used { records_in, records_out, fuel, wasted, .. } = self.used;
        StageTotals { records_in, records_out, faults: self.faults, fuel: fuel.saturating_add(wasted.fuel()) }
    }
}

/// One call of a stage, by rows of the source batch.
struct Call {
    stage: usize,
    /// The records that it was given, and of which row each is; `None` where they are the same.
    given: Option<Arc<RecordBatch>>,
    origin: Option<Arc<[u32]>>,
    /// The row of each record that it made.
    made: Vec<u32>,
}

impl Work {
    /// A stage has burnt fuel.
    pub(crate) fn burn(&mut self, stage: usize, spent: &Spent) {
        let used = &mut self.of(stage).used;
        used.fuel += spent.used;
        used.wasted += spent.wasted;
    }

    /// A stage could not handle a record.
    pub(crate) fn fault(&mut self, stage: usize) {
        self.of(stage).faults += 1;
    }

    /// A stage was given records, of the rows in `origin`, and made records of the rows in `made`. A tick is given none.
    pub(crate) fn call(
        &mut self,
        stage: usize,
        given: Option<Arc<RecordBatch>>,
        origin: Option<Arc<[u32]>>,
        made: Vec<u32>,
    ) {
        self.calls.push(Call { stage, given, origin, made });
    }

    /// A stage wrote so many bytes to topics.
    pub(crate) fn wrote(&mut self, stage: usize, bytes: u64) {
        self.of(stage).used.bytes_out += bytes;
    }

    /// It is known which rows count: those given and those made for which this holds.
    pub(crate) fn settle(&mut self, given: impl Fn(u32) -> bool, made: impl Fn(u32) -> bool) {
        for call in std::mem::take(&mut self.calls) {
            let used = &mut self.of(call.stage).used;
            if let Some(batch) = &call.given {
                let row = |i: usize| call.origin.as_ref().map_or(i as u32, |origin| origin[i]);
                let taken: Vec<usize> = (0..batch.len()).filter(|i| given(row(*i))).collect();
                used.records_in += taken.len() as u64;
                used.bytes_in += match taken.len() == batch.len() {
                    true => payload_bytes(batch, batch.len()),
                    false => taken.iter().map(|i| payload_bytes(batch, i + 1) - payload_bytes(batch, *i)).sum(),
                };
            }
            used.records_out += call.made.iter().filter(|row| made(**row)).count() as u64;
        }
    }

    /// Nothing of it counts but the fuel, and that as wasted.
    pub(crate) fn give_up(&mut self) {
        self.calls.clear();
        for StageWork { used, .. } in &mut self.settled {
            used.wasted.discarded += std::mem::take(&mut used.fuel);
        }
    }

    /// Adds what is settled of another's.
    pub(crate) fn add(&mut self, other: Self) {
        for (stage, work) in other.settled.into_iter().enumerate() {
            let own = self.of(stage);
            own.used += work.used;
            own.faults += work.faults;
        }
    }

    /// Fuel of all stages, whatever came of it.
    pub(crate) fn fuel(&self) -> u64 {
        self.settled.iter().map(|work| work.totals().fuel).sum()
    }

    /// What is settled, by stage.
    pub(crate) fn stages(&self) -> impl Iterator<Item = (usize, StageWork)> {
        self.settled.iter().copied().enumerate()
    }

    fn of(&mut self, stage: usize) -> &mut StageWork {
        if self.settled.len() <= stage {
            self.settled.resize(stage + 1, StageWork::default());
        }
        &mut self.settled[stage]
    }
}

/// Bytes of keys, values and headers of the first `rows` records.
pub(crate) fn payload_bytes(batch: &RecordBatch, rows: usize) -> u64 {
    let last = |ends: &[u32]| rows.checked_sub(1).and_then(|i| ends.get(i)).map_or(0, |end| u64::from(*end));
    let headers = last(&batch.headers.record_ends) as usize;
    let end = |ends: &[u32]| headers.checked_sub(1).map_or(0, |i| u64::from(ends[i]));
    last(&batch.keys.ends) + last(&batch.values.ends) + end(&batch.headers.names.ends) + end(&batch.headers.values.ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[&[u8]]) -> Option<Arc<RecordBatch>> {
        let mut batch = RecordBatch::default();
        values.iter().enumerate().for_each(|(i, value)| batch.push(i as i64, 0, None, Some(value), []));
        Some(Arc::new(batch))
    }

    fn burnt(used: u64) -> Spent {
        Spent { used, wasted: Wasted::default() }
    }

    #[test]
    fn what_is_given_up_leaves_its_fuel_as_wasted_and_rows_count_once_they_are_known_to() {
        let mut work = Work::default();
        work.burn(0, &Spent { used: 10, wasted: Wasted { start: 2, ..Wasted::default() } });
        work.call(0, batch(&[b"a", b"bb", b"cccc"]), None, vec![0, 0, 2]);
        work.burn(1, &burnt(5));
        work.call(1, batch(&[b"a", b"a", b"c"]), Some(Arc::from([0, 0, 2])), vec![2]);
        work.settle(|row| row < 2, |row| row == 0);
        work.fault(1);
        let totals = |records_in, records_out, faults, fuel| StageTotals { records_in, records_out, faults, fuel };
        let all: Vec<_> = work.stages().map(|(_, work)| work).collect();
        assert_eq!(all.iter().map(StageWork::totals).collect::<Vec<_>>(), [totals(2, 2, 0, 12), totals(2, 0, 1, 5)]);
        assert_eq!(all.iter().map(|w| (w.used.bytes_in, w.used.fuel)).collect::<Vec<_>>(), [(3, 10), (2, 5)]);
        let mut other = Work::default();
        other.call(1, batch(&[&b"z"[..]; 9]), None, Vec::new());
        other.burn(1, &burnt(7));
        other.give_up();
        work.add(other);
        let second = work.stages().nth(1).unwrap().1;
        assert_eq!(second.totals(), totals(2, 0, 1, 12));
        assert_eq!((second.used.fuel, second.used.wasted.discarded), (5, 7));
        assert_eq!(work.fuel(), 24);
    }
}
