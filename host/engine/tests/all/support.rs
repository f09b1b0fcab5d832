//! One engine for all tests, stages of test guests, and batches.

use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::{Fault, GuestFault};
use bulkhead_core::grant::Grants;
use bulkhead_core::limits::StageLimits;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{
    CompilerCommand, Engine, EngineConfig, Failure, GuestLog, Instance, Level, Mode, PoolSizes, Processed, Stage,
    StageConfig,
};
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};

/// A run that can be repeated.
pub(crate) const CONFIRM: Mode = Mode::Confirm { seed: 7, time_ms: 1_700_000_000_000 };

/// Keeps a stage's lines.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<(Level, String)>>);

impl GuestLog for Lines {
    fn write(&self, level: Level, message: &str) {
        self.0.lock().unwrap().push((level, message.to_owned()));
    }
}

impl Lines {
    pub(crate) fn all(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// The compiler child that this crate builds.
pub(crate) fn compiler() -> CompilerCommand {
    CompilerCommand { program: env!("CARGO_BIN_EXE_bulkhead-compiler").into(), args: vec![] }
}

/// Settings for an engine with few places and a cache of its own.
pub(crate) fn config(folder: &Path) -> EngineConfig {
    let pool = PoolSizes { instances: 20, calls: 20, ..PoolSizes::default() };
    EngineConfig { pool, ..EngineConfig::new(folder.join("code"), compiler()) }
}

/// The engine that most tests share; its cache outlives them.
pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(config(Path::new(env!("CARGO_TARGET_TMPDIR")))).unwrap())
}

/// What a stage of a guest is told, with one input and one output.
pub(crate) fn stage_config(guest: &str) -> StageConfig {
    StageConfig {
        pipeline: "pipe".to_owned(),
        stage: "stage".to_owned(),
        inputs: vec!["in".to_owned()],
        outputs: vec!["out".to_owned()],
        settings: bulkhead_test_guests::settings(guest),
        limits: StageLimits::default(),
        grants: Grants::default(),
        scratch: None,
    }
}

pub(crate) async fn stage_on(engine: &Engine, guest: &str, config: StageConfig) -> (Stage, Arc<Lines>) {
    let wasm = bulkhead_test_guests::wasm(guest);
    let module = engine.load(ModuleDigest::of(wasm), async || Ok(wasm.into())).await.unwrap();
    let lines = Arc::new(Lines::default());
    (module.stage(config, lines.clone()).unwrap(), lines)
}

pub(crate) async fn stage(guest: &str) -> Stage {
    stage_on(engine(), guest, stage_config(guest)).await.0
}

/// A stage with other limits.
pub(crate) async fn limited(guest: &str, limits: StageLimits) -> Stage {
    stage_on(engine(), guest, StageConfig { limits, ..stage_config(guest) }).await.0
}

pub(crate) async fn instance(guest: &str) -> Instance {
    stage(guest).await.instantiate(CONFIRM).await.unwrap()
}

/// One batch with these values, on a fresh instance.
pub(crate) async fn run(guest: &str, values: &[&str]) -> Result<Processed, Failure> {
    instance(guest).await.process(&batch(values)).await
}

/// Records with these values.
pub(crate) fn batch(values: &[&str]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for (i, value) in values.iter().enumerate() {
        let offset = 10 + i as i64;
        batch.push(offset, 1_000 + offset, Some(b"key"), Some(value.as_bytes()), []);
    }
    batch
}

pub(crate) fn values(outputs: &Outputs) -> Vec<String> {
    (0..outputs.len()).map(|i| String::from_utf8_lossy(outputs.values.get(i).unwrap()).into_owned()).collect()
}

/// The guest's fault that a failure must be.
pub(crate) fn guest_fault(failure: &Failure) -> &GuestFault {
    match &failure.fault {
        Fault::Guest(fault) => fault,
        Fault::Host(fault) => panic!("a host fault: {fault}"),
    }
}

/// Drives a future and counts how often it gave way.
pub(crate) async fn count_yields<T>(future: impl Future<Output = T>) -> (T, u32) {
    let mut future = pin!(future);
    let mut yields = 0;
    let value = poll_fn(|context| {
        let poll = future.as_mut().poll(context);
        yields += u32::from(poll.is_pending());
        poll
    })
    .await;
    (value, yields)
}
