//! The worker's record path as a whole: what it is told to run, and what it tells back.
//!
//! Must never: let one pipeline's start, failure or end hold up another's.

use crate::config::{CEILING_LOOK, FlowConfig};
use crate::executor::Executor;
use crate::fair::TenantSeries;
use crate::lane::{LaneTools, Lanes};
use crate::metrics::Metrics;
use crate::modules::Modules;
use crate::parking::Parking;
use crate::pipeline::Pipeline;
use crate::pipeline::state::PipelineState;
use crate::state::disk::WorkerDisks;
use crate::tenant::{Ceiling, TenantMemory, Tenants};
use crate::topics::Topics;
use bulkhead_bucket::Buckets;
use bulkhead_core::assignment::{Assignment, PipelineKey, PipelineReport, TenantUse};
use bulkhead_core::name::{StageName, TenantId};
use bulkhead_core::scope::WorkerScope;
use bulkhead_engine::{Engine, GuestLog};
use bulkhead_log::{Log, LogError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::runtime::Handle;

/// What the record path is made of.
pub struct FlowParts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The sandbox.
    pub engine: Engine,
    /// Where the objects of bucket outputs go.
    pub buckets: Buckets,
    /// Where modules' bytes come from.
    pub source: Arc<dyn crate::ModuleSource>,
    /// Where secrets come from.
    pub secrets: Arc<dyn crate::SecretSource>,
    /// Where guests' log lines go.
    pub guest_logs: Arc<dyn GuestLogs>,
    /// The worker's slot.
    pub worker: WorkerScope,
    /// Where series are registered.
    pub registry: prometheus::Registry,
    /// A multi-threaded runtime, for timers and fetches.
    pub runtime: Handle,
    /// Settings.
    pub config: FlowConfig,
}

/// Where guests' log lines go: gives a sink for each stage.
pub trait GuestLogs: Send + Sync + 'static {
    /// The sink of one stage. What it keeps of the stage's lines in memory is to be counted in `memory`, which is its tenant's.
    fn sink(&self, pipeline: &PipelineKey, stage: &StageName, memory: TenantMemory) -> Arc<dyn GuestLog>;
}

/// What every pipeline of the worker shares.
pub(crate) struct Tools {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) buckets: Buckets,
    pub(crate) worker: WorkerScope,
    pub(crate) modules: Modules,
    pub(crate) secrets: Arc<dyn crate::SecretSource>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) disks: WorkerDisks,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) executor: Executor,
    pub(crate) parking: Parking,
    pub(crate) metrics: Metrics,
    pub(crate) tenants: Tenants,
    pub(crate) config: Arc<FlowConfig>,
    pub(crate) runtime: Handle,
    guest_logs: Arc<dyn GuestLogs>,
}

impl Tools {
    pub(crate) fn guest_log(&self, state: &PipelineState, stage: &StageName) -> Arc<dyn GuestLog> {
        self.guest_logs.sink(&state.key, stage, TenantMemory::of(&state.tenant.memory))
    }
}

/// A running record path. Its methods block for a while; call them from threads that may.
pub struct Flow {
    tools: Arc<Tools>,
    pipelines: Mutex<Pipelines>,
    /// Held while pipelines stop, so that one which is to start again waits for its own end.
    changing: Mutex<()>,
    /// Keeps what all tenants hold below the worker's ceiling.
    ceiling: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Pipelines {
    running: BTreeMap<PipelineKey, Arc<Pipeline>>,
    /// What ran until the drain: its last numbers are known only after it.
    drained: Vec<Arc<PipelineState>>,
    generation: u64,
    /// [`Assignment::erasures`] of the last one.
    erasures: u64,
}

impl Flow {
    /// Starts executor threads and lanes, with no pipeline yet.
    ///
    /// # Errors
    /// Where the registry already holds a record path's series.
    pub fn start(parts: FlowParts) -> Result<Self, prometheus::Error> {
        let config = Arc::new(parts.config);
        let metrics = Metrics::new(&parts.registry)?;
        let topics = Arc::new(Topics::new(parts.log.clone()));
        let lane_tools = LaneTools {
            log: parts.log.clone(),
            worker: parts.worker.clone(),
            config: config.clone(),
            metrics: metrics.clone(),
            topics: topics.clone(),
        };
        let tools = Tools {
            parking: Parking::start(parts.log.clone(), config.clone(), &parts.worker),
            log: parts.log,
            buckets: parts.buckets,
            worker: parts.worker,
            modules: Modules::new(parts.engine, parts.source),
            secrets: parts.secrets,
            topics,
            disks: WorkerDisks::new(config.state_folder.clone()),
            lanes: Lanes::start(&lane_tools),
            executor: Executor::start(config.executor_threads, &parts.runtime, TenantSeries::new(&parts.registry)?),
            metrics,
            tenants: Tenants::default(),
            config,
            runtime: parts.runtime,
            guest_logs: parts.guest_logs,
        };
        let tools = Arc::new(tools);
        let ceiling = tools.runtime.spawn(keep_ceiling(Arc::downgrade(&tools)));
        Ok(Self { tools, pipelines: Mutex::default(), changing: Mutex::default(), ceiling })
    }

    /// Makes what runs match the assignment: starts, changes and stops pipelines. Stopped ones finish what is under way first, and
    /// nothing of them is left when this returns.
    pub fn apply(&self, assignment: Assignment) {
        let _changing = self.changing.lock();
        let mut pipelines = self.pipelines.lock();
        pipelines.generation = assignment.generation;
        self.tools.parking.follow(&assignment.fleet);
        self.tools.tenants.assign(&assignment.tenants);
        self.tools.executor.weigh(&assignment.tenants);
        let erasures = std::mem::replace(&mut pipelines.erasures, assignment.erasures);
        let used: BTreeSet<_> =
            assignment.pipelines.iter().flat_map(|p| p.spec.stages.iter().map(|s| s.module)).collect();
        let mut wanted: BTreeMap<_, _> = assignment.pipelines.into_iter().map(|p| (p.key.clone(), p)).collect();
        // A pipeline that was deleted and made again is another, though its name is the same.
        let stays = |(key, pipeline): &(&PipelineKey, &Arc<Pipeline>)| {
            wanted.get(*key).is_some_and(|wanted| wanted.incarnation == pipeline.state.incarnation)
        };
        let gone: Vec<_> = pipelines.running.iter().filter(|entry| !stays(entry)).map(|(key, _)| key.clone()).collect();
        let (mut stopped, mut later) = (Vec::new(), Vec::new());
        for key in gone {
            later.extend(wanted.remove(&key));
            stopped.extend(pipelines.running.remove(&key));
        }
        stopped.iter().for_each(|pipeline| pipeline.stop());
        while let Some((key, assignment)) = wanted.pop_first() {
            match pipelines.running.get(&key) {
                Some(pipeline) => pipeline.assign(assignment),
                None => drop(pipelines.running.insert(key, Pipeline::start(assignment, &self.tools))),
            }
        }
        // Those that stay do not wait for those that go, nor does a report.
        drop(pipelines);
        stopped.iter().for_each(|pipeline| pipeline.join());
        if assignment.erasures != erasures {
            self.tools.modules.keep_only(&used);
        }
        let mut pipelines = self.pipelines.lock();
        for assignment in later {
            pipelines.running.insert(assignment.key.clone(), Pipeline::start(assignment, &self.tools));
        }
    }

    /// The generation that runs, and how each pipeline fares.
    pub fn report(&self) -> (u64, Vec<PipelineReport>) {
        let pipelines = self.pipelines.lock();
        let drained = pipelines.drained.iter().map(|state| state.report());
        let running = pipelines.running.values().map(|pipeline| pipeline.report());
        (pipelines.generation, running.chain(drained).collect())
    }

    /// The same for one who has heard all of generation `known`: without pipelines at rest of which nothing is new since the last call. Where
    /// another generation runs by now nothing is left out, and the third value is false.
    pub fn news(&self, known: Option<u64>) -> (u64, Vec<PipelineReport>, bool) {
        let pipelines = self.pipelines.lock();
        let partial = known == Some(pipelines.generation);
        let drained = pipelines.drained.iter().map(|state| state.report());
        let news = pipelines.running.values().filter_map(|pipeline| pipeline.news(!partial));
        (pipelines.generation, news.chain(drained).collect(), partial)
    }

    /// What each tenant uses of its limits.
    pub fn used(&self) -> BTreeMap<TenantId, TenantUse> {
        self.tools.tenants.used()
    }

    /// Takes over which part of tenants' rates this worker may use, in thousandths; all of those that are not named.
    pub fn share(&self, shares: &BTreeMap<TenantId, u32>) {
        self.tools.tenants.share(shares);
    }

    /// Why the worker has to end, where it has to: another one took its slot.
    pub fn fatal(&self) -> Option<LogError> {
        self.tools.lanes.fatal()
    }

    /// Stops everything: guests finish no further batch, finished ones commit, groups are left. A [`Flow::report`] after that has the
    /// last numbers. Takes at most a few times [`FlowConfig::drain_timeout`].
    pub fn drain(&self) {
        let started = Instant::now();
        let _changing = self.changing.lock();
        let running = {
            let mut pipelines = self.pipelines.lock();
            let running = std::mem::take(&mut pipelines.running);
            pipelines.drained = running.values().map(|pipeline| pipeline.state.clone()).collect();
            running
        };
        self.tools.parking.stop();
        running.values().for_each(|pipeline| pipeline.stop());
        running.into_values().for_each(|pipeline| pipeline.join());
        self.ceiling.abort();
        self.tools.lanes.close();
        self.tools.executor.stop();
        // They own nothing any more, so their lag is for their successors to tell.
        let disown = |state: &Arc<PipelineState>| {
            state.update(|status| (status.lag, status.partitions) = (None, 0));
            state.update(|status| (status.parked, status.standby) = (false, false));
            state.uses.flush();
        };
        self.pipelines.lock().drained.iter().for_each(disown);
        tracing::info!(elapsed_ms = started.elapsed().as_millis() as u64, "record path drained");
    }
}

/// Until there is no record path any more.
async fn keep_ceiling(tools: Weak<Tools>) {
    let Some(bytes) = tools.upgrade().map(|tools| tools.config.memory_bytes) else { return };
    let mut ceiling = Ceiling::new(bytes);
    while let Some(tools) = tools.upgrade() {
        ceiling.keep(&tools.tenants, Instant::now());
        drop(tools);
        tokio::time::sleep(CEILING_LOOK).await;
    }
}
