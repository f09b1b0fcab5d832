//! The series of one pipeline: there while it is awake, and while it is parked until another needs their place.
//!
//! Its counters go on from what they were when it wakes without series, so that what Prometheus adds up is right over any number of rests; the
//! histogram of its batches then begins anew. One that did nothing yet has none while it is parked: an idle tenant costs no scrape anything.
//! Must never: leave a series of a pipeline that is gone.

use super::Metrics;
use super::names::Name;
use crate::tenant::Rate;
use bulkhead_core::assignment::{PipelineKey, Totals};
use bulkhead_core::code::Code;
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::usage::Wasted;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// See the module's documentation.
pub(crate) struct PipelineMetrics {
    all: Metrics,
    key: PipelineKey,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    series: Option<Arc<Series>>,
    /// The number of its rest, while it has series of its own and is parked.
    rest: Option<u64>,
    /// What its own series counted, while it has none.
    totals: Totals,
    /// What is counted only where it happens, ever.
    rare: BTreeMap<Rare, f64>,
}

/// A counter that most pipelines never have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rare {
    Fault(&'static str, &'static str),
    Wasted(&'static str),
    Limited(&'static str),
}

struct Series {
    /// `None` for those that many share.
    own: Option<[String; 3]>,
    records_in: IntCounter,
    records_out: IntCounter,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    dead_letters: IntCounter,
    fuel: IntCounter,
    buffered: IntGauge,
    guest_memory: IntGauge,
    lag: IntGauge,
    state: IntGauge,
    batch_seconds: Histogram,
}

const OTHER: [&str; 3] = ["_other"; 3];

impl Series {
    fn new(all: &Metrics, own: Option<[String; 3]>) -> Self {
        let labels = labels(own.as_ref());
        let with = |direction| [labels[0], labels[1], labels[2], direction];
        Self {
            records_in: all.records.with_label_values(&with("in")),
            records_out: all.records.with_label_values(&with("out")),
            bytes_in: all.bytes.with_label_values(&with("in")),
            bytes_out: all.bytes.with_label_values(&with("out")),
            dead_letters: all.dead_letters.with_label_values(&labels),
            fuel: all.fuel.with_label_values(&labels),
            buffered: all.buffered.with_label_values(&labels),
            guest_memory: all.guest_memory.with_label_values(&labels),
            lag: all.lag.with_label_values(&labels),
            state: all.state.with_label_values(&labels),
            batch_seconds: all.batch_seconds.with_label_values(&labels),
            own,
        }
    }

    fn count(&self, done: &Totals) {
        self.records_in.inc_by(done.records_in);
        self.records_out.inc_by(done.records_out);
        self.bytes_in.inc_by(done.bytes_in);
        self.bytes_out.inc_by(done.bytes_out);
        self.dead_letters.inc_by(done.dead_letters);
        self.fuel.inc_by(done.fuel);
    }

    fn count_rare(&self, all: &Metrics, what: Rare, more: f64) {
        let [tenant, project, pipeline] = labels(self.own.as_ref());
        match what {
            Rare::Fault(side, kind) => {
                all.faults.with_label_values(&[tenant, project, pipeline, side, kind]).inc_by(more as u64);
            }
            Rare::Wasted(why) => all.wasted.with_label_values(&[tenant, project, pipeline, why]).inc_by(more as u64),
            Rare::Limited(limit) => all.limited.with_label_values(&[tenant, project, pipeline, limit]).inc_by(more),
        }
    }

    fn counted(&self) -> Totals {
        Totals {
            records_in: self.records_in.get(),
            records_out: self.records_out.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            dead_letters: self.dead_letters.get(),
            fuel: self.fuel.get(),
        }
    }
}

fn labels(own: Option<&[String; 3]>) -> [&str; 3] {
    own.map_or(OTHER, |own| [own[0].as_str(), &own[1], &own[2]])
}

impl PipelineMetrics {
    /// Of a pipeline that has no series yet.
    pub(crate) fn new(all: Metrics, key: PipelineKey) -> Self {
        Self { all, key, shown: Mutex::default() }
    }

    /// The pipeline is awake: its series are there, and count on.
    pub(crate) fn show(&self) {
        loop {
            let mut shown = self.shown.lock();
            if let Some(rest) = shown.rest.take() {
                self.all.names.lock().wake(rest);
            }
            if shown.series.is_some() {
                return;
            }
            let name = self.all.names.lock().take(&self.key);
            if let Name::After(rest, who) = name {
                // One at a time is locked, or two that wake could wait for each other.
                drop(shown);
                if let Some(who) = who.upgrade() {
                    who.give_up(rest);
                }
                continue;
            }
            let own = matches!(name, Name::Own)
                .then(|| [self.key.tenant.to_string(), self.key.project.to_string(), self.key.pipeline.to_string()]);
            let series = Series::new(&self.all, own);
            if series.own.is_some() {
                series.count(&std::mem::take(&mut shown.totals));
                shown.rare.iter().for_each(|(what, count)| series.count_rare(&self.all, *what, *count));
            }
            shown.series = Some(Arc::new(series));
            return;
        }
    }

    /// The pipeline is parked: its series stay while there is room for them, where there is something in them.
    pub(crate) fn rest(self: &Arc<Self>) {
        let mut shown = self.shown.lock();
        let told = shown.series.as_ref().filter(|series| series.own.is_some());
        if told.is_some_and(|series| series.counted() != Totals::default() || !shown.rare.is_empty()) {
            shown.rest = Some(self.all.names.lock().rest(self));
        } else {
            self.take_away(&mut shown);
        }
    }

    /// Takes the pipeline's series away for another one's, where it still has this rest.
    fn give_up(&self, rest: u64) {
        let mut shown = self.shown.lock();
        if shown.rest == Some(rest) {
            self.take_away(&mut shown);
        }
    }

    /// Takes the pipeline's series away. Counting goes on without effect. Not done on drop: a lane may hold the pipeline for a while
    /// longer, when another of the same name has series already.
    pub(crate) fn hide(&self) {
        self.take_away(&mut self.shown.lock());
    }

    fn take_away(&self, shown: &mut Shown) {
        if let Some(rest) = shown.rest.take() {
            self.all.names.lock().wake(rest);
        }
        let Some(series) = shown.series.take() else { return };
        let Some(own) = &series.own else {
            // What was counted stays with all that share.
            shown.rare.clear();
            return;
        };
        shown.totals = series.counted();
        let [tenant, project, pipeline] = labels(Some(own));
        let all = &self.all;
        // A series that is not there to remove is as good.
        for direction in ["in", "out"] {
            let labels = [tenant, project, pipeline, direction];
            let _ = all.records.remove_label_values(&labels);
            let _ = all.bytes.remove_label_values(&labels);
        }
        let labels = [tenant, project, pipeline];
        let _ = all.dead_letters.remove_label_values(&labels);
        let _ = all.fuel.remove_label_values(&labels);
        let _ = all.batch_seconds.remove_label_values(&labels);
        for gauge in [&all.buffered, &all.guest_memory, &all.lag, &all.state] {
            let _ = gauge.remove_label_values(&labels);
        }
        for what in shown.rare.keys() {
            let _ = match *what {
                Rare::Fault(side, kind) => all.faults.remove_label_values(&[tenant, project, pipeline, side, kind]),
                Rare::Wasted(why) => all.wasted.remove_label_values(&[tenant, project, pipeline, why]),
                Rare::Limited(limit) => all.limited.remove_label_values(&[tenant, project, pipeline, limit]),
            };
        }
        all.names.lock().forget(&self.key);
    }

    /// Counts committed work.
    pub(crate) fn committed(&self, done: &Totals) {
        self.with(|series| series.count(done));
    }

    /// Counts fuel that committed work says was wasted, part of it perhaps by earlier work.
    pub(crate) fn wasted<'a>(&self, wasted: impl Iterator<Item = &'a Wasted>) {
        for (reason, fuel) in wasted.flat_map(|wasted| Wasted::REASONS.into_iter().zip(wasted.by_reason())) {
            if fuel > 0 {
                self.rare(Rare::Wasted(reason), fuel as f64);
            }
        }
    }

    /// Counts a fault of the tenant's.
    pub(crate) fn guest_fault(&self, kind: GuestFaultKind) {
        self.rare(Rare::Fault("guest", kind.as_str()), 1.0);
    }

    /// Counts a fault of ours.
    pub(crate) fn host_fault(&self, code: Code) {
        self.rare(Rare::Fault("host", code.id()), 1.0);
    }

    /// Counts a wait for a limit of the tenant's.
    pub(crate) fn limited(&self, rate: Rate, waited: Duration) {
        self.rare(Rare::Limited(rate.limit()), waited.as_secs_f64());
    }

    /// Bytes that are held now, more or less.
    pub(crate) fn buffered(&self, more: i64) {
        self.with(|series| series.buffered.add(more));
    }

    /// Bytes of state in owned partitions, more or less.
    pub(crate) fn state(&self, more: i64) {
        self.with(|series| series.state.add(more));
    }

    /// Linear memory of idle instances.
    pub(crate) fn guest_memory(&self, bytes: u64) {
        self.with(|series| series.guest_memory.set(bytes as i64));
    }

    /// Records that are yet to be done.
    pub(crate) fn lag(&self, records: i64) {
        self.with(|series| series.lag.set(records));
    }

    /// A batch went through all stages.
    pub(crate) fn batch(&self, took: Duration) {
        self.with(|series| series.batch_seconds.observe(took.as_secs_f64()));
    }

    fn with(&self, act: impl FnOnce(&Series)) {
        let series = self.shown.lock().series.clone();
        if let Some(series) = series {
            act(&series);
        }
    }

    fn rare(&self, what: Rare, more: f64) {
        let mut shown = self.shown.lock();
        let Some(series) = shown.series.clone() else { return };
        *shown.rare.entry(what).or_default() += more;
        series.count_rare(&self.all, what, more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::PIPELINES_MAX;
    use super::*;
    use prometheus::Registry;

    fn pipeline(all: &Metrics, number: usize) -> Arc<PipelineMetrics> {
        let key = PipelineKey {
            tenant: "acme".parse().unwrap(),
            project: "default".parse().unwrap(),
            pipeline: format!("p-{number}").parse().unwrap(),
        };
        Arc::new(PipelineMetrics::new(all.clone(), key))
    }

    fn counted(registry: &Registry, name: &str) -> Option<u64> {
        let families = registry.gather();
        let fuel = families.iter().find(|family| family.name() == "bulkhead_fuel_total")?;
        let own = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == name);
        fuel.get_metric().iter().find(own).map(|metric| metric.get_counter().get_value() as u64)
    }

    #[test]
    fn who_is_parked_for_longest_makes_room_and_counts_on_when_it_wakes() {
        let registry = Registry::new();
        let all = Metrics::new(&registry).unwrap();
        let some: Vec<_> = (0..=PIPELINES_MAX).map(|number| pipeline(&all, number)).collect();
        let (last, first) = some.split_last().unwrap();
        first.iter().for_each(|one| one.show());
        last.show();
        assert_eq!(counted(&registry, &format!("p-{PIPELINES_MAX}")), None, "all others are awake");
        last.hide();
        for one in first {
            one.committed(&Totals { fuel: 7, ..Totals::default() });
        }
        // They rest in the order of their numbers, but the first wakes and rests again.
        first.iter().for_each(|one| one.rest());
        first[0].show();
        first[0].rest();
        last.show();
        last.committed(&Totals { fuel: 1, ..Totals::default() });
        let told = |number: usize| counted(&registry, &format!("p-{number}"));
        assert_eq!((told(0), told(1), told(2), told(PIPELINES_MAX)), (Some(7), None, Some(7), Some(1)));
        first[1].show();
        first[1].committed(&Totals { fuel: 1, ..Totals::default() });
        assert_eq!((told(1), told(2)), (Some(8), None));
        assert_eq!(counted(&registry, "_other"), Some(0));
        // One that did nothing gives its place back at once.
        first[1].hide();
        let idle = pipeline(&all, PIPELINES_MAX + 1);
        idle.show();
        idle.rest();
        assert_eq!(told(PIPELINES_MAX + 1), None);
        assert_eq!(all.names.lock().len(), PIPELINES_MAX - 1);
    }
}
