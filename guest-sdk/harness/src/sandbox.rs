//! A stage's component in the host's own sandbox.
//!
//! One engine and one runtime serve all tests of a process; compiled code is kept between runs, beside the compiler.
//! Must never: be used inside an async test: it waits by itself.

use crate::bucket::Buckets;
use crate::state::Memories;
use crate::{build, convert};
use anyhow::{Context, Result};
use bulkhead_core::fault::Fault;
use bulkhead_core::limits::{STATE_BYTES, StageLimits};
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{CompilerCommand, Engine, EngineConfig, Failure, GuestLog, Mode, Module, PoolSizes};
use bulkhead_sdk::Stage;
use bulkhead_sdk::log::Level;
use bulkhead_sdk::testing::{Between, Case, Report, Step};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::runtime::Runtime;

/// Where a stage's clocks begin: 2013-01-01T00:00Z.
const CLOCK_START_MS: i64 = 1_356_998_400_000;
/// Instances at a time: one for each test that runs now, with room to spare.
const INSTANCES_MAX: u32 = 64;

/// A stage's component, ready to run cases in the sandbox.
#[derive(Debug, Clone)]
pub struct Sandbox {
    module: Module,
    imports: Vec<String>,
    limits: StageLimits,
    state_bytes: u64,
}

/// What a case came to in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Outputs, rejections and log lines. Lines that the stage prints are there too: stdout as `Info`, stderr as `Warn`.
    pub report: Report,
    /// Fuel of all records together.
    pub fuel: u64,
    /// Fuel of `init`.
    pub init_fuel: u64,
    /// Bytes of memory that the instance held at the end.
    pub memory_bytes: usize,
}

/// A case that the stage did not survive: it did not start, trapped, or went over a limit.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// What happened.
    pub fault: Fault,
    /// Place in the case of the record that the stage was working on, where it is known.
    pub record: Option<usize>,
    /// Fuel charged for the failed call.
    pub fuel: u64,
    /// What it had made of the batches before.
    pub report: Report,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "the stage stopped at record {record}: {}", self.fault)?,
            None => write!(f, "the stage stopped: {}", self.fault)?,
        }
        self.report.logs.iter().try_for_each(|(level, line)| write!(f, "\n{level:?} {line}"))
    }
}

impl std::error::Error for Stopped {}

impl Sandbox {
    /// Compiles the crate in this folder, usually `env!("CARGO_MANIFEST_DIR")`, and loads its component.
    ///
    /// # Errors
    /// Where it does not compile, or where the host would refuse the upload.
    pub fn of_crate(folder: impl AsRef<Path>) -> Result<Self> {
        Self::of_file(build::component(folder.as_ref())?)
    }

    /// Loads a component from a file.
    ///
    /// # Errors
    /// Where the file cannot be read, or where the host would refuse the upload.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let wasm = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::of_bytes(wasm)
    }

    /// Loads a component.
    ///
    /// # Errors
    /// Where the host would refuse the upload.
    pub fn of_bytes(wasm: Vec<u8>) -> Result<Self> {
        let (runtime, engine) = shared()?;
        runtime.block_on(async {
            let digest = ModuleDigest::of(&wasm);
            let bytes = wasm.into();
            let inspection = engine.inspect(Clone::clone(&bytes)).await.context("the host refuses the component")?;
            let module = engine.load(digest, || async { Ok(bytes) }).await.context("the component cannot be loaded")?;
            Ok(Self { module, imports: inspection.imports, limits: StageLimits::default(), state_bytes: STATE_BYTES })
        })
    }

    /// Replaces the default limits, as a manifest's `limits` do.
    #[must_use]
    pub fn limits(mut self, limits: StageLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the bytes that state may have in each partition, as a manifest's `state.maxBytes` does. Default 64 MiB.
    #[must_use]
    pub fn state_bytes(mut self, most: u64) -> Self {
        self.state_bytes = most;
        self
    }

    /// The interfaces that the component imports, each of which needs a grant or is given to every stage.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Runs a case as [`Case::run`] does natively: one instance, batch after batch, until all records are done or one is to be
    /// tried again.
    ///
    /// # Errors
    /// Where the stage did not start, trapped or went over a limit.
    ///
    /// # Panics
    /// Inside an async runtime.
    pub fn run(&self, case: &Case) -> Result<Run, Box<Stopped>> {
        let lines = Arc::new(Lines::default());
        let mut report = Report::default();
        let (runtime, _) = shared().expect("it gave this module");
        match runtime.block_on(self.run_steps(case, &lines, &mut report)) {
            Ok(run) => Ok(Run { report: Report { logs: lines.take(), ..report }, ..run }),
            Err((failure, first)) => Err(Box::new(Stopped {
                record: failure.record.map(|row| first + row as usize),
                fuel: failure.fuel,
                fault: failure.fault,
                report: Report { logs: lines.take(), ..report },
            })),
        }
    }

    async fn run_steps(&self, case: &Case, lines: &Arc<Lines>, report: &mut Report) -> Result<Run, (Failure, usize)> {
        let config = convert::config(case, self.limits);
        let log = Arc::clone(lines);
        let stage = self.module.stage(config, log).map_err(|fault| (Failure { fault, record: None, fuel: 0 }, 0))?;
        let buckets = Buckets::of(case);
        let stage = stage.with_buckets(buckets.granted()).with_secrets(convert::secrets(case));
        let mode = Mode::Confirm { seed: 0, time_ms: CLOCK_START_MS };
        let mut instance = stage.instantiate(mode).await.map_err(|failure| (failure, 0))?;
        let mut fuel = 0;
        let (mut state, mut done) = (Memories::new(self.state_bytes), 0);
        for step in case.steps() {
            match step {
                Step::Batch(rows) => {
                    let (first, end) = (rows.start, rows.end);
                    let batch = convert::batch(case, rows);
                    instance.with_state(state.of(batch.topic, batch.partition));
                    let processed = instance.process(&batch).await.map_err(|failure| (failure, first))?;
                    fuel += processed.fuel;
                    convert::collect(case, &batch, (first, false), &processed.outcome.outputs, report);
                    convert::reject(first, &processed.outcome.exceptions, report);
                    done = end;
                }
                Step::Between(Between::Tick { input, partition, now }) => {
                    instance.with_state(state.of(input, partition));
                    let ticked = instance.tick(input, partition, now).await.map_err(|failure| (failure, done))?;
                    fuel += ticked.fuel;
                    let moment = convert::moment(input, partition, now);
                    convert::collect(case, &moment, (done, true), &ticked.outputs, report);
                }
                Step::Between(Between::Restart) => {
                    instance = stage.instantiate(mode).await.map_err(|failure| (failure, done))?;
                }
            }
            if report.rejected.last().is_some_and(|rejected| rejected.retry) {
                break;
            }
        }
        (report.state, report.buckets) = (state.held(), buckets.held());
        let (init_fuel, memory_bytes) = (instance.init_fuel(), instance.memory_bytes());
        Ok(Run { report: Report::default(), fuel, init_fuel, memory_bytes })
    }

    /// Runs a case natively and in the sandbox, and gives the latter. Log lines may differ; outputs, rejections, state and the
    /// objects in buckets may not.
    ///
    /// # Panics
    /// Where the two differ, or where the stage did not survive.
    pub fn assert_agrees<S: Stage>(&self, case: &Case) -> Run {
        let run = self.run(case).unwrap_or_else(|stopped| panic!("in the sandbox {stopped}"));
        let native = case.run::<S>();
        native.assert_agrees(&run.report);
        assert_eq!(native.state, run.report.state, "state natively (left) differs from the sandbox (right)");
        assert_eq!(native.buckets, run.report.buckets, "objects natively (left) differ from the sandbox (right)");
        run
    }
}

/// The process's one engine, and the runtime that polls its guests.
fn shared() -> Result<&'static (Runtime, Engine)> {
    static SHARED: OnceLock<std::result::Result<(Runtime, Engine), String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    shared.as_ref().map_err(|error| anyhow::anyhow!("the sandbox cannot be started: {error}"))
}

fn start() -> Result<(Runtime, Engine)> {
    let program = build::compiler()?;
    let cache = program.with_file_name("bulkhead-harness-cache");
    let mut config = EngineConfig::new(cache, CompilerCommand { program, args: Vec::new() });
    config.pool = PoolSizes { instances: INSTANCES_MAX, calls: INSTANCES_MAX, ..PoolSizes::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let engine = runtime.block_on(async { Engine::new(config) })?;
    Ok((runtime, engine))
}

/// The log lines of a run.
#[derive(Default)]
struct Lines(Mutex<Vec<(Level, String)>>);

impl Lines {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl GuestLog for Lines {
    fn write(&self, level: bulkhead_engine::Level, message: &str) {
        let line = (convert::level(level), message.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
