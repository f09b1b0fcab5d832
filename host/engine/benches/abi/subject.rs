//! What is measured: the engine with a guest that passes records through, and the same without a sandbox.

use bulkhead_core::columns::{INHERIT_HEADERS, INHERIT_KEY, INHERIT_TIMESTAMP, Outcome, Outputs, RecordBatch};
use bulkhead_core::grant::Grants;
use bulkhead_core::limits::StageLimits;
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{
    CompilerCommand, Engine, EngineConfig, GuestLog, Instance, Level, Mode, Processed, Stage, StageConfig,
};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Bytes of one value; a key of 16 comes with it.
pub(crate) const VALUE_BYTES: usize = 168;
/// A run that can be repeated.
pub(crate) const CONFIRM: Mode = Mode::Confirm { seed: 1, time_ms: 0 };

/// A batch of this many records, each with this many headers.
pub(crate) fn records(size: usize, headers: usize) -> RecordBatch {
    let mut batch = RecordBatch::default();
    let value = [b'v'; VALUE_BYTES];
    let header = (&b"trace-id"[..], Some(&b"0123456789abcdef"[..]));
    for i in 0..size {
        batch.push(i as i64, i as i64, Some(b"0123456789abcdef"), Some(&value), vec![header; headers]);
    }
    batch
}

/// Bytes of the guest's component.
pub(crate) fn wasm_bytes() -> usize {
    bulkhead_test_guests::wasm("passthrough").len()
}

/// What the guest does, as a plain function.
#[inline(never)]
pub(crate) fn native(batch: &RecordBatch) -> Outcome {
    let rows = batch.len();
    let inherit = INHERIT_KEY | INHERIT_HEADERS | INHERIT_TIMESTAMP;
    let outputs = Outputs {
        source: (0..rows as u32).collect(),
        to: vec![0; rows],
        inherit: vec![inherit; rows],
        values: batch.values.clone(),
        ..Outputs::default()
    };
    Outcome { outputs, exceptions: Vec::new() }
}

struct Silence;

impl GuestLog for Silence {
    fn write(&self, _: Level, _: &str) {}
}

/// A guest on an engine.
pub(crate) struct Subject {
    stage: Stage,
    instance: Instance,
}

impl Subject {
    /// The guest on a new engine that yields at this interval.
    pub(crate) fn new(folder: &Path, guest: &str, yields: Option<u64>) -> Self {
        let compiler = CompilerCommand { program: env!("CARGO_BIN_EXE_bulkhead-compiler").into(), args: vec![] };
        let engine = Engine::with_yields(EngineConfig::new(folder.join("code"), compiler), yields).unwrap();
        let wasm = bulkhead_test_guests::wasm(guest);
        let load = engine.load(ModuleDigest::of(wasm), async || Ok(wasm.into()));
        let module = tokio::runtime::Handle::current().block_on(load).unwrap();
        let config = StageConfig {
            pipeline: "bench".to_owned(),
            stage: "bench".to_owned(),
            inputs: vec!["in".to_owned()],
            outputs: vec!["out".to_owned()],
            settings: bulkhead_test_guests::settings(guest),
            limits: StageLimits::default(),
            grants: Grants::default(),
            scratch: None,
        };
        let stage = module.stage(config, Arc::new(Silence)).unwrap();
        let instance = poll_through(stage.instantiate(Mode::Live)).unwrap();
        Self { stage, instance }
    }

    pub(crate) fn process(&mut self, batch: &RecordBatch) -> Processed {
        poll_through(self.instance.process(batch)).unwrap()
    }

    pub(crate) fn instantiate(&self, mode: Mode) -> Instance {
        poll_through(self.stage.instantiate(mode)).unwrap()
    }
}

/// Polls as a host's executor does with one busy guest.
fn poll_through<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
