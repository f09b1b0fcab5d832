//! What workers said last, in memory: phases and lag are worth nothing when they are old.
//!
//! Totals and initialised partitions are kept in the [store](crate::store); here is what a restart may lose.
//! Must never: show a report that is not fresh, or one about a deleted pipeline of the same name.

use crate::throughput::{Rate, Samples};
use bulkhead_core::assignment::{Phase, PipelineKey, PipelineReport, SlowedBy, StageTotals, TenantUse, WorkerReport};
use bulkhead_core::code::Code;
use bulkhead_core::name::{StageName, TenantId};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// The last report of each worker.
#[derive(Debug)]
pub(crate) struct Live {
    fresh: Duration,
    workers: Mutex<BTreeMap<String, Heard>>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    boot: String,
    generation: u64,
    settled: u64,
    pipelines: HashMap<PipelineKey, PipelineReport>,
    samples: Samples,
    tenants: BTreeMap<TenantId, TenantUse>,
    owned: Owned,
}

/// Partitions that a worker owns of each tenant's pipelines; who has none is not in it. Kept, since most of what workers run may be parked.
#[derive(Debug, Default)]
struct Owned(BTreeMap<TenantId, u64>);

impl Owned {
    fn add(&mut self, tenant: &TenantId, partitions: u32) {
        if partitions > 0 {
            *self.0.entry(tenant.clone()).or_default() += u64::from(partitions);
        }
    }

    fn take(&mut self, tenant: &TenantId, partitions: u32) {
        if let Some(owned) = self.0.get_mut(tenant) {
            *owned -= u64::from(partitions);
            if *owned == 0 {
                self.0.remove(tenant);
            }
        }
    }
}

/// What a pipeline does at the moment, over all workers that run it.
#[derive(Debug)]
pub(crate) struct Going {
    pub(crate) key: PipelineKey,
    pub(crate) rate: Rate,
    pub(crate) stages: BTreeMap<StageName, Rate>,
    /// Unknown until it is known of all partitions.
    pub(crate) lag: Option<i64>,
    pub(crate) memory_bytes: u64,
    pub(crate) state_bytes: u64,
}

/// How a pipeline fares, over all workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fares {
    /// The phase that needs most attention; `null` where no worker has reported lately. A parked pipeline is running.
    #[schema(value_type = Option<String>)]
    pub(crate) phase: Option<Phase>,
    /// No worker has a consumer or instances of it: who looks after it has found nothing to do for a while, and waits for the next record.
    pub(crate) parked: bool,
    #[schema(value_type = Option<String>)]
    pub(crate) code: Option<Code>,
    pub(crate) message: Option<String>,
    /// Records not yet done; `null` while no worker owns a partition.
    pub(crate) lag: Option<i64>,
    /// Partitions that workers own.
    pub(crate) partitions: u32,
    /// Bytes of the stages' state in these partitions.
    pub(crate) state_bytes: u64,
    /// Which rate of its tenant holds it up, where one does: it is slowed down, and nothing fails.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slowed: Option<SlowedBy>,
    /// Workers that have reported lately.
    pub(crate) workers: u32,
    /// The oldest revision that a worker runs.
    pub(crate) running_revision: Option<u64>,
    /// Age of the oldest report that counts.
    pub(crate) report_age_ms: Option<u64>,
}

impl Live {
    /// Reports older than `fresh` no longer count.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self { fresh, workers: Mutex::default() }
    }

    /// Those pipelines of a report of which the store must hear: what it keeps differs from the worker's last report.
    pub(crate) fn changed<'a>(&self, report: &'a WorkerReport) -> Vec<&'a PipelineReport> {
        let workers = self.workers.lock();
        let before = workers.get(&report.worker).filter(|heard| heard.boot == report.boot);
        let kept = |p: &PipelineReport| (p.revision, p.starts, p.totals, p.initialised.clone(), p.uses.clone());
        let same = |now: &PipelineReport| {
            before.and_then(|heard| heard.pipelines.get(&now.key)).is_some_and(|then| kept(then) == kept(now))
        };
        report.pipelines.iter().filter(|pipeline| !same(pipeline)).collect()
    }

    /// Keeps a report, once the store has what it needs of it.
    pub(crate) fn hear(&self, report: WorkerReport) {
        self.hear_at(Instant::now(), report);
    }

    fn hear_at(&self, at: Instant, report: WorkerReport) {
        let mut workers = self.workers.lock();
        let before = workers.remove(&report.worker).filter(|heard| heard.boot == report.boot);
        let (mut pipelines, samples, mut owned) = match before {
            Some(heard) if report.partial => (heard.pipelines, Some(heard.samples), heard.owned),
            Some(heard) => (HashMap::new(), Some(heard.samples), Owned::default()),
            None => (HashMap::new(), None, Owned::default()),
        };
        for now in report.pipelines {
            owned.add(&now.key.tenant, now.partitions);
            if let Some(then) = pipelines.insert(now.key.clone(), now) {
                owned.take(&then.key.tenant, then.partitions);
            }
        }
        let mut samples = samples.unwrap_or_else(|| Samples::new(at, &pipelines));
        samples.take(at, &pipelines);
        workers.retain(|_, heard| at.duration_since(heard.at) < self.fresh);
        let WorkerReport { boot, generation, settled, tenants, .. } = report;
        let heard = Heard { at, boot, generation, settled, pipelines, samples, tenants, owned };
        workers.insert(report.worker, heard);
    }

    /// Whether what a partial report leaves out is known.
    pub(crate) fn knows(&self, report: &WorkerReport) -> bool {
        let workers = self.workers.lock();
        !report.partial || workers.get(&report.worker).is_some_and(|heard| heard.boot == report.boot)
    }

    /// Whether a worker that has reported lately does not know this generation yet.
    pub(crate) fn behind(&self, generation: u64) -> bool {
        self.workers.lock().values().any(|heard| heard.at.elapsed() < self.fresh && heard.generation < generation)
    }

    /// Workers that have reported lately.
    pub(crate) fn heard(&self) -> BTreeSet<String> {
        self.workers
            .lock()
            .iter()
            .filter(|(_, heard)| heard.at.elapsed() < self.fresh)
            .map(|(slot, _)| slot.clone())
            .collect()
    }

    /// Those of them that have not yet let go of what this generation no longer names.
    pub(crate) fn unsettled(&self, generation: u64) -> BTreeSet<String> {
        self.heard().difference(&self.settled(generation)).cloned().collect()
    }

    /// Workers that have said that they have, lately or not.
    pub(crate) fn settled(&self, generation: u64) -> BTreeSet<String> {
        self.workers
            .lock()
            .iter()
            .filter(|(_, heard)| heard.settled >= generation)
            .map(|(slot, _)| slot.clone())
            .collect()
    }

    /// What each stage of a pipeline has done, whose first revision is `first_revision`, by the workers that run it.
    pub(crate) fn stages(&self, key: &PipelineKey, first_revision: u64) -> BTreeMap<StageName, StageTotals> {
        let workers = self.workers.lock();
        let fresh = workers.values().filter(|heard| heard.at.elapsed() < self.fresh);
        let reports = fresh.filter_map(|heard| heard.pipelines.get(key));
        let mut sums: BTreeMap<StageName, StageTotals> = BTreeMap::new();
        for report in reports.filter(|report| report.revision >= first_revision) {
            for (stage, totals) in &report.stages {
                *sums.entry(stage.clone()).or_default() += *totals;
            }
        }
        sums
    }

    /// What pipelines do at the moment: of this tenant, or of all.
    pub(crate) fn going(&self, tenant: Option<&TenantId>) -> Vec<Going> {
        let workers = self.workers.lock();
        let mut going: BTreeMap<PipelineKey, Going> = BTreeMap::new();
        for heard in workers.values().filter(|heard| heard.at.elapsed() < self.fresh) {
            for (key, report) in heard.pipelines.iter().filter(|(key, _)| tenant.is_none_or(|t| *t == key.tenant)) {
                let (rate, stages) = heard.samples.rates(heard.at, report);
                let sum = going.entry(key.clone()).or_insert_with(|| Going::new(key.clone()));
                sum.rate += rate;
                stages.into_iter().for_each(|(stage, rate)| *sum.stages.entry(stage).or_default() += rate);
                if report.partitions > 0 {
                    sum.lag = sum.lag.zip(report.lag).map(|(a, b)| a.saturating_add(b));
                }
                sum.memory_bytes += report.memory_bytes;
                sum.state_bytes += report.state_bytes;
            }
        }
        going.into_values().collect()
    }

    /// Bytes of the state of each tenant's pipelines, on workers that have reported lately. Who has none is not in it.
    pub(crate) fn state_bytes(&self) -> HashMap<TenantId, u64> {
        let workers = self.workers.lock();
        let mut bytes: HashMap<TenantId, u64> = HashMap::new();
        for heard in workers.values().filter(|heard| heard.at.elapsed() < self.fresh) {
            for (key, report) in heard.pipelines.iter().filter(|(_, report)| report.state_bytes > 0) {
                *bytes.entry(key.tenant.clone()).or_default() += report.state_bytes;
            }
        }
        bytes
    }

    /// What a tenant uses now on workers that have reported lately, by the name of the limit. Of what each worker limits by itself, the
    /// most that one has.
    pub(crate) fn used(&self, tenant: &TenantId) -> BTreeMap<&'static str, u64> {
        let workers = self.workers.lock();
        let fresh = workers.values().filter(|heard| heard.at.elapsed() < self.fresh);
        let (mut state_bytes, mut uses) = (0_u64, Vec::new());
        for heard in fresh {
            uses.extend(heard.tenants.get(tenant));
            let own = heard.pipelines.iter().filter(|(key, _)| key.tenant == *tenant);
            state_bytes += own.map(|(_, report)| report.state_bytes).sum::<u64>();
        }
        let sum = |of: fn(&TenantUse) -> u64| -> u64 { uses.iter().copied().map(of).sum() };
        let most = |of: fn(&TenantUse) -> u64| uses.iter().copied().map(of).max().unwrap_or_default();
        BTreeMap::from([
            ("fuelPerSecond", sum(|used| used.fuel_per_second)),
            ("bytesInPerSecond", sum(|used| used.bytes_in_per_second)),
            ("bytesOutPerSecond", sum(|used| used.bytes_out_per_second)),
            ("instances", most(|used| used.instances)),
            ("guestMemoryBytes", most(|used| used.guest_memory_bytes)),
            ("memoryBytes", most(|used| used.memory_bytes)),
            ("stateBytes", state_bytes),
        ])
    }

    /// The part of each tenant's rates that a worker may use, in thousandths: as large as its part of the partitions that workers own of the
    /// tenant's pipelines. Tenants that run on this worker alone are not in it.
    pub(crate) fn shares(&self, worker: &str) -> BTreeMap<TenantId, u32> {
        let workers = self.workers.lock();
        let fresh = || workers.iter().filter(|(_, heard)| heard.at.elapsed() < self.fresh);
        if fresh().all(|(slot, _)| slot == worker) {
            return BTreeMap::new();
        }
        let mut owned: BTreeMap<&TenantId, (u64, u64)> = BTreeMap::new();
        for (slot, heard) in fresh() {
            for (tenant, partitions) in &heard.owned.0 {
                let (here, all) = owned.entry(tenant).or_default();
                *all += partitions;
                *here += if slot == worker { *partitions } else { 0 };
            }
        }
        let shared = owned.into_iter().filter(|(_, (here, all))| here < all);
        // A worker that owns nothing yet is about to: it needs a little to begin with.
        shared.map(|(tenant, (here, all))| (tenant.clone(), (here * 1_000 / all).max(1) as u32)).collect()
    }

    /// How a pipeline fares whose first revision is `first_revision`.
    pub(crate) fn fares(&self, key: &PipelineKey, first_revision: u64) -> Fares {
        self.fares_at(Instant::now(), key, first_revision)
    }

    fn fares_at(&self, now: Instant, key: &PipelineKey, first_revision: u64) -> Fares {
        let workers = self.workers.lock();
        let reports: Vec<_> = workers
            .values()
            .map(|heard| (now.duration_since(heard.at), heard))
            .filter(|(age, _)| *age < self.fresh)
            .filter_map(|(age, heard)| heard.pipelines.get(key).map(|report| (age, report)))
            .filter(|(_, report)| report.revision >= first_revision)
            .collect();
        let worst = reports.iter().map(|(_, report)| report).max_by_key(|report| gravity(report.phase));
        // Who stands by knows nothing of the lag.
        let tells = |report: &PipelineReport| report.partitions > 0 || (report.parked && !report.standby);
        let owners = || reports.iter().filter(|(_, report)| tells(report));
        Fares {
            phase: worst.map(|report| report.phase),
            parked: !reports.is_empty() && reports.iter().all(|(_, report)| report.parked),
            code: worst.and_then(|report| report.code),
            message: match worst {
                Some(report) => report.message.clone(),
                None => Some("no worker has reported on this pipeline lately".to_owned()),
            },
            lag: owners().map(|(_, report)| report.lag).reduce(|a, b| Some(a?.saturating_add(b?))).flatten(),
            partitions: owners().map(|(_, report)| report.partitions).sum(),
            state_bytes: owners().map(|(_, report)| report.state_bytes).sum(),
            slowed: reports.iter().filter_map(|(_, report)| report.slowed.clone()).max_by_key(|slowed| slowed.waiting),
            workers: u32::try_from(reports.len()).unwrap_or(u32::MAX),
            running_revision: reports.iter().map(|(_, report)| report.revision).min(),
            report_age_ms: reports.iter().map(|(age, _)| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)).max(),
        }
    }
}

impl Going {
    fn new(key: PipelineKey) -> Self {
        Self { key, rate: Rate::default(), stages: BTreeMap::new(), lag: Some(0), memory_bytes: 0, state_bytes: 0 }
    }
}

/// The order in which phases need attention.
fn gravity(phase: Phase) -> u8 {
    match phase {
        Phase::Paused => 0,
        Phase::Running => 1,
        Phase::Starting => 2,
        Phase::Backoff => 3,
        Phase::Failed => 4,
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
