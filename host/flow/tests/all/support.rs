//! A log, workers on it, and what is written and read there.

use bulkhead_bucket::{Buckets, BucketsConfig};
use bulkhead_core::assignment::{Assignment, PipelineAssignment, PipelineKey, PipelineReport};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{INHERIT_HEADERS, INHERIT_KEY, INHERIT_TIMESTAMP, Outputs, RecordBatch};
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::{self, Start};
use bulkhead_core::name::{ModuleDigest, StageName, TenantId};
use bulkhead_core::scope::{PhysicalTopic, TenantScope, WorkerScope};
use bulkhead_core::secret::{LentKey, LentKeys, SecretValue, Secrets};
use bulkhead_core::tenant_limits::WorkerLimits;
use bulkhead_engine::{CompilerCommand, Engine, EngineConfig, GuestLog, Level, PoolSizes};
use bulkhead_flow::{Flow, FlowConfig, FlowParts, GuestLogs, Kept, ModuleSource, SecretSource, TenantMemory};
use bulkhead_log::embedded::EmbeddedLog;
use bulkhead_log::{Keep, Log, TopicSpec};
use bulkhead_test_guests::raw;
use bulkhead_vault::{KEY_BYTES, PipelineKeys};
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;

/// The tenant of tests that need only one.
pub(crate) const ACME: &str = "acme";
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until it is so.
///
/// # Panics
/// After a minute, with what `describe` says.
pub(crate) fn until_or(what: &str, mut is_so: impl FnMut() -> bool, describe: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}; {}", describe());
        std::thread::sleep(LOOK_EVERY);
    }
}

pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_or(what, is_so, String::new);
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        // Shown where a test fails: `RUST_LOG` says how much.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// The engine of all tests; its cache of compiled code outlives them.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let make = || {
        let program = env!("CARGO_BIN_EXE_bulkhead-flow-test-compiler").into();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("code");
        let mut config = EngineConfig::new(folder, CompilerCommand { program, args: vec![] });
        config.pool = PoolSizes { instances: 200, calls: 200, ..PoolSizes::default() };
        Engine::new(config).unwrap()
    };
    ENGINE.get_or_init(make).clone()
}

/// The modules `stateful` and `bucketed` are the guests of these names; every other is the component that holds all guests, of which a stage's `config`
/// names the one that runs. A module that is none of these is on its way until [`Worker::refuse_late`].
struct Guests {
    late: Arc<Semaphore>,
}

/// A module whose code no cache has: a stage that puts nothing out, with bytes of this process alone behind it.
pub(crate) fn fresh() -> &'static [u8] {
    static FRESH: OnceLock<Vec<u8>> = OnceLock::new();
    FRESH.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().to_le_bytes();
        // A custom section: its length, its name's, its name, what it holds.
        let section = [&[0, 18, 1, b'n'][..], &now].concat();
        [raw::nameless_spin(), section].concat()
    })
}

fn component(module: &str) -> &'static [u8] {
    let own = ["stateful", "bucketed"].into_iter().find(|name| module.starts_with(name));
    own.map_or(bulkhead_test_guests::STEERED, bulkhead_test_guests::wasm)
}

impl ModuleSource for Guests {
    fn fetch(
        &self,
        _: TenantId,
        digest: ModuleDigest,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, HostFault>> + Send + 'static>> {
        let all = ["stateful", "bucketed", "guests"].map(component);
        let wanted = all.into_iter().chain([fresh()]).find(|wasm| ModuleDigest::of(wasm) == digest);
        let late = self.late.clone();
        Box::pin(async move {
            if let Some(wanted) = wanted {
                return Ok(wanted.to_vec());
            }
            // There is never a permit: this ends when the semaphore is closed.
            drop(late.acquire().await);
            Err(HostFault::new(Code::ModuleFetch, "it does not come"))
        })
    }
}

/// The lines of all stages, each with its tenant.
#[derive(Clone, Default)]
pub(crate) struct Lines {
    all: Arc<Mutex<Vec<(String, String)>>>,
    /// What each counts as its tenant's memory, and what they count together.
    bytes_each: Arc<AtomicU64>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

/// Where one stage's lines go.
struct LinesOf {
    tenant: String,
    memory: TenantMemory,
    lines: Lines,
}

impl GuestLog for LinesOf {
    fn write(&self, _: Level, message: &str) {
        self.lines.all.lock().unwrap().push((self.tenant.clone(), message.to_owned()));
        match self.lines.bytes_each.load(Ordering::Acquire) {
            0 => {}
            bytes => self.lines.kept.lock().unwrap().push(self.memory.keep(bytes)),
        }
    }
}

impl GuestLogs for Lines {
    fn sink(&self, key: &PipelineKey, _: &StageName, memory: TenantMemory) -> Arc<dyn GuestLog> {
        Arc::new(LinesOf { tenant: key.tenant.to_string(), memory, lines: self.clone() })
    }
}

impl Lines {
    pub(crate) fn text(&self) -> String {
        self.all.lock().unwrap().iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn of(&self, tenant: &str) -> Vec<String> {
        let lines = self.all.lock().unwrap();
        lines.iter().filter(|(whose, _)| whose == tenant).map(|(_, line)| line.clone()).collect()
    }

    /// From now on each line is kept as if control were away, and counts so many bytes.
    pub(crate) fn keep(&self, bytes_each: u64) {
        self.bytes_each.store(bytes_each, Ordering::Release);
    }

    /// Those that were kept are sent.
    pub(crate) fn let_go(&self) {
        self.kept.lock().unwrap().clear();
    }
}

/// Short times, so that tests are quick.
pub(crate) fn config() -> FlowConfig {
    FlowConfig {
        executor_threads: 2,
        commit_interval: Duration::from_millis(10),
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(200),
        trim_every: Duration::from_millis(20),
        // Only where a test is about it.
        park_after: Duration::ZERO,
        ..FlowConfig::default()
    }
}

/// A log.
pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) buckets: Buckets,
    pub(crate) folder: tempfile::TempDir,
}

/// A record that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// Without a key, so that it stays in its partition.
    pub(crate) fn new(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, timestamp: 1_000, value: Some(value.into()), ..Self::default() }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.value.clone().unwrap_or_default()).unwrap()
    }

    /// The text of a header that Bulkhead added.
    pub(crate) fn evidence(&self, name: &str) -> String {
        let name = format!("{}{name}", bulkhead_flow::HEADER_PREFIX);
        let found = self.headers.iter().find(|(n, _)| *n == name);
        let (_, value) = found.unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers));
        String::from_utf8(value.clone().unwrap()).unwrap()
    }
}

/// `count` records with the values `0`, `1` and so on in each of `partitions` partitions.
pub(crate) fn numbers(partitions: i32, range: std::ops::Range<u32>) -> Vec<Record> {
    range.flat_map(|i| (0..partitions).map(move |p| Record::new(p, i.to_string()))).collect()
}

pub(crate) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Record> {
    values.into_iter().map(|value| Record::new(0, value)).collect()
}

fn scope(tenant: &str) -> TenantScope {
    TenantScope::assume(tenant.parse().unwrap())
}

pub(crate) fn topic(tenant: &str, name: &str) -> PhysicalTopic {
    scope(tenant).topic(&name.parse().unwrap())
}

/// Where a pipeline's state is kept.
pub(crate) fn state_topic(pipeline: &PipelineAssignment) -> PhysicalTopic {
    let PipelineKey { tenant, project, pipeline } = &pipeline.key;
    scope(tenant.as_str()).state_topic(project, pipeline)
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log")).unwrap();
        Self::with(Arc::new(log), folder)
    }

    /// On a log whose folder is somebody else's care.
    #[allow(dead_code, reason = "for the benchmark of state, which shares this file")]
    pub(crate) fn on(log: Arc<dyn Log>) -> Self {
        Self::with(log, tempfile::tempdir().unwrap())
    }

    fn with(log: Arc<dyn Log>, folder: tempfile::TempDir) -> Self {
        let buckets = BucketsConfig::Folder(folder.path().join("buckets"));
        Self { log, buckets: Buckets::open(&buckets).unwrap(), folder }
    }

    /// A log with the topics `in`, `out` and `dead` of [`ACME`].
    pub(crate) fn with_topics(partitions: i32) -> Self {
        let world = Self::new();
        world.topics(ACME, partitions);
        world
    }

    pub(crate) fn topics(&self, tenant: &str, partitions: i32) {
        ["in", "out", "dead"].iter().for_each(|name| self.topic(tenant, name, partitions, None));
    }

    pub(crate) fn topic(&self, tenant: &str, name: &str, partitions: i32, max_record_bytes: Option<u32>) {
        let spec = TopicSpec { partitions, max_record_bytes, replicas: None, keep: Keep::Default };
        self.log.create_topic(&topic(tenant, name), &spec).unwrap();
    }

    /// Makes the place for a pipeline's state, as control does with its first manifest.
    pub(crate) fn keep_state(&self, pipeline: &PipelineAssignment, partitions: i32) {
        self.log.create_topic(&state_topic(pipeline), &bulkhead_flow::changelog_spec(partitions)).unwrap();
    }

    pub(crate) fn delete(&self, tenant: &str, name: &str) {
        self.log.delete_topic(&topic(tenant, name)).unwrap();
    }

    pub(crate) fn append(&self, tenant: &str, name: &str, records: &[Record]) {
        for partition in records.iter().map(|r| r.partition).collect::<std::collections::BTreeSet<_>>() {
            let mut batch = RecordBatch { partition, ..RecordBatch::default() };
            let mut outputs = Outputs::default();
            for record in records.iter().filter(|r| r.partition == partition) {
                let headers = record.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_deref()));
                outputs.source.push(batch.len() as u32);
                outputs.to.push(0);
                outputs.inherit.push(INHERIT_KEY | INHERIT_HEADERS | INHERIT_TIMESTAMP);
                outputs.values.push(record.value.as_deref());
                let offset = batch.len() as i64;
                batch.push(offset, record.timestamp, record.key.as_deref(), record.value.as_deref(), headers);
            }
            self.log.append(&topic(tenant, name), &batch, &outputs).unwrap();
        }
    }

    /// All records of a topic, by partition.
    pub(crate) fn read(&self, tenant: &str, name: &str) -> Vec<Vec<Record>> {
        let topic = topic(tenant, name);
        let ends = self.log.ends(std::slice::from_ref(&topic)).unwrap().remove(0);
        (0..ends.len()).map(|p| self.read_partition(&topic, p as i32, ends[p])).collect()
    }

    pub(crate) fn read_partition(&self, topic: &PhysicalTopic, partition: i32, end: i64) -> Vec<Record> {
        let mut records = Vec::new();
        let mut from = 0;
        while from < end {
            let limits = BatchLimits::MAX;
            let (batch, next) = self.log.read(topic, partition, Start::Offset(from), &limits, Duration::ZERO).unwrap();
            let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
            records.extend((0..batch.len()).map(|i| Record {
                partition,
                timestamp: batch.timestamps[i],
                key: batch.keys.get(i).map(<[u8]>::to_vec),
                value: batch.values.get(i).map(<[u8]>::to_vec),
                headers: batch.headers.row(i).map(|(n, v)| (text(n), v.map(<[u8]>::to_vec))).collect(),
            }));
            from = next;
        }
        records
    }

    /// Values of a topic as text, by partition.
    pub(crate) fn values(&self, tenant: &str, name: &str) -> Vec<Vec<String>> {
        self.read(tenant, name).iter().map(|records| records.iter().map(Record::text).collect()).collect()
    }

    /// Values of a topic's first partition.
    pub(crate) fn first(&self, tenant: &str, name: &str) -> Vec<String> {
        self.values(tenant, name).remove(0)
    }

    /// The dead letters of [`ACME`], all partitions.
    pub(crate) fn dead(&self) -> Vec<Record> {
        self.read(ACME, "dead").concat()
    }

    /// How far a pipeline's positions are from the ends of its inputs, all together.
    pub(crate) fn lag(&self, pipeline: &PipelineAssignment) -> i64 {
        let scope = scope(pipeline.key.tenant.as_str());
        let topics: Vec<_> = pipeline.spec.inputs.iter().map(|input| scope.topic(&input.topic)).collect();
        let group = scope.group(&pipeline.key.project, &pipeline.key.pipeline);
        let committed = self.log.committed(&group, &topics).unwrap();
        let ends = self.log.ends(&topics).unwrap();
        let all = ends.into_iter().flatten().zip(committed.into_iter().flatten());
        all.map(|(end, position)| end - position.unwrap_or(0)).sum()
    }

    /// Waits until a pipeline has committed all of its input, and the worker knows.
    pub(crate) fn settled(&self, worker: &Worker, pipeline: &PipelineAssignment) {
        let describe = || format!("{} records behind: {:?}", self.lag(pipeline), worker.flow.report().1);
        until_or("all input is committed", || self.lag(pipeline) == 0, describe);
        // A batch is counted before it is given back.
        let tenant = pipeline.key.tenant.as_str();
        let held = || worker.metric("bulkhead_buffered_bytes", &[("tenant", tenant)]);
        until_or("all is given back", || held() == Some(0.0), || format!("{:?} bytes are held", held()));
    }

    pub(crate) fn worker(&self, slot: &str) -> Worker {
        self.worker_with(slot, config())
    }

    pub(crate) fn worker_with(&self, slot: &str, config: FlowConfig) -> Worker {
        Worker::start_with(self.log.clone(), self.buckets.clone(), slot, config)
    }
}

/// No stage here is granted any.
struct NoSecrets;

impl SecretSource for NoSecrets {
    fn fetch(
        &self,
        _: Arc<PipelineAssignment>,
    ) -> Pin<Box<dyn Future<Output = Result<Secrets, HostFault>> + Send + 'static>> {
        Box::pin(std::future::ready(Ok(Secrets::new())))
    }

    fn keys(
        &self,
        assignment: Arc<PipelineAssignment>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<PipelineKeys>, HostFault>> + Send + 'static>> {
        Box::pin(std::future::ready(Ok(Arc::new(keys(&assignment)))))
    }
}

/// The keys of a pipeline, of all versions up to the one that its assignment says; the same in every process.
pub(crate) fn keys(pipeline: &PipelineAssignment) -> PipelineKeys {
    let lent = |byte: u8| LentKey { key: SecretValue::new(vec![byte; KEY_BYTES]) };
    let versions = (1..=pipeline.key_version).map(|version| (version, lent(version as u8))).collect();
    PipelineKeys::lent(&pipeline.key, &LentKeys { names: lent(0), versions }).unwrap()
}

/// A worker.
pub(crate) struct Worker {
    pub(crate) flow: Flow,
    pub(crate) registry: prometheus::Registry,
    pub(crate) lines: Lines,
    late: Arc<Semaphore>,
    wanted: Mutex<BTreeMap<PipelineKey, PipelineAssignment>>,
    limits: Mutex<BTreeMap<TenantId, WorkerLimits>>,
}

impl Worker {
    /// For pipelines without buckets.
    pub(crate) fn start(log: Arc<dyn Log>, slot: &str, config: FlowConfig) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-buckets");
        Self::start_with(log, Buckets::open(&BucketsConfig::Folder(folder)).unwrap(), slot, config)
    }

    pub(crate) fn start_with(log: Arc<dyn Log>, buckets: Buckets, slot: &str, config: FlowConfig) -> Self {
        let registry = prometheus::Registry::new();
        let (lines, late) = (Lines::default(), Arc::new(Semaphore::new(0)));
        let runtime = runtime().handle().clone();
        let flow = Flow::start(FlowParts {
            log,
            engine: engine(),
            buckets,
            source: Arc::new(Guests { late: late.clone() }),
            secrets: Arc::new(NoSecrets),
            guest_logs: Arc::new(lines.clone()),
            worker: WorkerScope::new(slot).unwrap(),
            registry: registry.clone(),
            runtime,
            config,
        });
        Self { flow: flow.unwrap(), registry, lines, late, wanted: Mutex::default(), limits: Mutex::default() }
    }

    /// Runs this pipeline too, or this revision of it.
    pub(crate) fn run(&self, pipeline: &PipelineAssignment) {
        self.wanted.lock().unwrap().insert(pipeline.key.clone(), pipeline.clone());
        self.apply();
    }

    /// Runs all of these too.
    pub(crate) fn run_all(&self, pipelines: &[PipelineAssignment]) {
        let own = pipelines.iter().map(|pipeline| (pipeline.key.clone(), pipeline.clone()));
        self.wanted.lock().unwrap().extend(own);
        self.apply();
    }

    /// Runs this pipeline no more.
    pub(crate) fn stop(&self, pipeline: &PipelineAssignment) {
        self.wanted.lock().unwrap().remove(&pipeline.key);
        self.apply();
    }

    /// Gives a tenant these limits.
    pub(crate) fn limit(&self, tenant: &str, limits: WorkerLimits) {
        self.limits.lock().unwrap().insert(tenant.parse().unwrap(), limits);
        self.apply();
    }

    fn apply(&self) {
        let (wanted, limits) = (self.wanted.lock().unwrap(), self.limits.lock().unwrap());
        self.flow.apply(Assignment {
            generation: 1,
            pipelines: wanted.values().cloned().collect(),
            tenants: limits.clone(),
            ..Assignment::default()
        });
    }

    /// Modules that are on their way will not come.
    pub(crate) fn refuse_late(&self) {
        self.late.close();
    }

    pub(crate) fn report(&self, pipeline: &PipelineAssignment) -> PipelineReport {
        let (_, reports) = self.flow.report();
        reports.into_iter().find(|report| report.key == pipeline.key).expect("the worker runs this pipeline")
    }

    /// The value of a series whose labels hold all of these; the sum where there are several. `None` where there is none.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let mut found = None;
        for metric in family.get_metric() {
            let has = |(n, v): &(&str, &str)| metric.get_label().iter().any(|l| l.name() == *n && l.value() == *v);
            if labels.iter().all(has) {
                let value = match family.get_field_type() {
                    prometheus::proto::MetricType::COUNTER => metric.get_counter().get_value(),
                    prometheus::proto::MetricType::GAUGE => metric.get_gauge().get_value(),
                    _ => metric.get_histogram().get_sample_count() as f64,
                };
                found = Some(found.unwrap_or(0.0) + value);
            }
        }
        found
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.refuse_late();
        if !std::thread::panicking() {
            self.flow.drain();
        }
    }
}

/// A pipeline from a manifest; a stage's `config` names its guest, whatever its module.
pub(crate) fn pipeline(tenant: &str, text: &str) -> PipelineAssignment {
    let spec = manifest::parse(text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    let spec = spec.resolve(|module| Some(ModuleDigest::of(component(&module.to_string())))).unwrap();
    let key = PipelineKey {
        tenant: tenant.parse().unwrap(),
        project: "default".parse().unwrap(),
        pipeline: spec.name.clone(),
    };
    PipelineAssignment {
        key,
        incarnation: String::new(),
        starts: 0,
        revision: 1,
        spec,
        paused: false,
        held: None,
        initialised: BTreeMap::new(),
        secrets: BTreeMap::new(),
        key_version: 0,
        ticks: false,
    }
}

/// A pipeline of [`ACME`] from `in` to `out` with one guest; `more` is further lines of its stage's YAML.
pub(crate) fn simple(guest: &str, more: &str) -> PipelineAssignment {
    simple_of(ACME, guest, more)
}

pub(crate) fn simple_of(tenant: &str, guest: &str, more: &str) -> PipelineAssignment {
    pipeline(
        tenant,
        &format!(
            "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{topic: in}}]
stages:
  - name: only
    module: guests
    config: {guest}
    outputs: {{out: {{topic: out}}}}
    {more}
deadLetter: {{topic: dead}}
"
        ),
    )
}
