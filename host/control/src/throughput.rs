//! How fast pipelines go: the difference of what a worker says now and what it said five to ten seconds ago.
//!
//! Two samples for each worker are kept, so that a rate is never of less than five seconds once there are that many, and costs nothing while
//! nobody asks. Must never: make a rate of counts of two boots.

use bulkhead_core::assignment::{PipelineKey, PipelineReport, StageTotals, Totals};
use bulkhead_core::name::StageName;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// The least time between the samples of a worker.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What was counted of each pipeline at some time.
type Counts = HashMap<PipelineKey, (Totals, BTreeMap<StageName, StageTotals>)>;

/// What a worker said earlier.
#[derive(Debug)]
pub(crate) struct Samples {
    older: (Instant, Counts),
    newer: (Instant, Counts),
}

impl Samples {
    /// The first report of a boot.
    pub(crate) fn new(at: Instant, pipelines: &HashMap<PipelineKey, PipelineReport>) -> Self {
        Self { older: (at, counts(pipelines)), newer: (at, counts(pipelines)) }
    }

    /// Another report of the same boot.
    pub(crate) fn take(&mut self, at: Instant, pipelines: &HashMap<PipelineKey, PipelineReport>) {
        if at.duration_since(self.newer.0) >= SAMPLE_EVERY {
            self.older = std::mem::replace(&mut self.newer, (at, counts(pipelines)));
        }
    }

    /// How fast a pipeline went until its report, which came at `at`.
    pub(crate) fn rates(&self, at: Instant, report: &PipelineReport) -> (Rate, BTreeMap<StageName, Rate>) {
        let none = (Totals::default(), BTreeMap::new());
        let seconds = at.duration_since(self.older.0).as_secs_f64();
        // One that was not there then began at zero.
        let (before, stages) = self.older.1.get(&report.key).unwrap_or(&none);
        let now = &report.totals;
        let whole = Rate {
            fuel: per_second(now.fuel, before.fuel, seconds),
            records_in: per_second(now.records_in, before.records_in, seconds),
            records_out: per_second(now.records_out, before.records_out, seconds),
            faults: per_second(now.dead_letters, before.dead_letters, seconds),
        };
        let of_stage = |(name, now): (&StageName, &StageTotals)| {
            let before = stages.get(name).copied().unwrap_or_default();
            let rate = Rate {
                fuel: per_second(now.fuel, before.fuel, seconds),
                records_in: per_second(now.records_in, before.records_in, seconds),
                records_out: per_second(now.records_out, before.records_out, seconds),
                faults: per_second(now.faults, before.faults, seconds),
            };
            (name.clone(), rate)
        };
        (whole, report.stages.iter().map(of_stage).collect())
    }
}

/// So much in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rate {
    /// Fuel, faulty runs included.
    #[serde(rename = "fuelPerSecond")]
    pub(crate) fuel: f64,
    #[serde(rename = "recordsInPerSecond")]
    pub(crate) records_in: f64,
    #[serde(rename = "recordsOutPerSecond")]
    pub(crate) records_out: f64,
    /// Records that could not be handled.
    #[serde(rename = "faultsPerSecond")]
    pub(crate) faults: f64,
}

impl std::ops::AddAssign for Rate {
    fn add_assign(&mut self, more: Self) {
        self.fuel += more.fuel;
        self.records_in += more.records_in;
        self.records_out += more.records_out;
        self.faults += more.faults;
    }
}

fn counts(pipelines: &HashMap<PipelineKey, PipelineReport>) -> Counts {
    pipelines.iter().map(|(key, report)| (key.clone(), (report.totals, report.stages.clone()))).collect()
}

/// To a tenth.
fn per_second(now: u64, before: u64, seconds: f64) -> f64 {
    if seconds <= 0.0 {
        return 0.0;
    }
    (now.saturating_sub(before) as f64 / seconds * 10.0).round() / 10.0
}
