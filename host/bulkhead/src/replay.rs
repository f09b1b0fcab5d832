//! `bulkhead deadletter replay --local`: a dead letter's record, run again on this machine by the same engine.
//!
//! A verdict was found on a run of the record alone, on a fresh instance with seeded random numbers and virtual clocks. That run depends
//! on nothing but the record, its place in the log, the module and the stage's configuration, so it ends the same here, with the same
//! fuel. What a stage keeps between records is not part of it.
//! Must never: write to the log, or run bytes whose digest is not the letter's.

use crate::client::{Client, accepted};
use anyhow::{Context, ensure};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::fault::Fault;
use bulkhead_core::name::ModuleDigest;
use bulkhead_core::replay::Bundle;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::secret::Secrets;
use bulkhead_engine::{CompilerCommand, Engine, EngineConfig, GuestLog, Level, Module, PoolSizes};
use bulkhead_flow::{Alone, StageRun};
use parking_lot::Mutex;
use reqwest::Method;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

/// Instances that one record needs at a time, with room for what is not given back at once.
const INSTANCES: u32 = 8;

/// Which dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) project: &'a str,
    pub(crate) pipeline: &'a str,
    /// `PARTITION-OFFSET`.
    pub(crate) id: &'a str,
}

/// What a run of the record alone came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The stage that could not handle it.
    pub(crate) stage: String,
    /// Why.
    pub(crate) code: Code,
    /// The same in words.
    pub(crate) message: String,
    /// Fuel of that stage's run; `None` where the letter has none.
    pub(crate) fuel: Option<u64>,
}

/// Both verdicts.
#[derive(Debug, Clone)]
pub(crate) struct Replayed {
    /// What the dead letter says.
    pub(crate) said: Verdict,
    /// What this machine found; `None` where the record passed.
    pub(crate) found: Option<Verdict>,
    /// The frames of the fault found here, innermost first.
    pub(crate) backtrace: Vec<String>,
    /// What the stages logged here, `LEVEL message`.
    pub(crate) lines: Vec<String>,
}

impl Replayed {
    /// As programs read it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let verdict = |verdict: &Verdict| {
            let Verdict { stage, code, message, fuel } = verdict;
            serde_json::json!({"stage": stage, "code": code, "message": message, "fuel": fuel})
        };
        let found = self.found.as_ref().map(verdict);
        let (same, backtrace, lines) = (self.same(), &self.backtrace, &self.lines);
        serde_json::json!({"same": same, "said": verdict(&self.said), "found": found, "backtrace": backtrace, "lines": lines})
    }

    /// Whether this machine came to what the dead letter says: stage, code and, where the letter has it, fuel.
    pub(crate) fn same(&self) -> bool {
        self.found.as_ref().is_some_and(|found| {
            let fuel = self.said.fuel.is_none() || found.fuel == self.said.fuel;
            fuel && (&found.stage, found.code) == (&self.said.stage, self.said.code)
        })
    }
}

/// Fetches a dead letter with its modules and runs it here, with these secrets: a bundle never holds any. Compiled code is kept in `data_dir`.
///
/// # Errors
/// Where control refuses, a module is gone, or a stage does not start.
pub(crate) async fn local(
    client: &Client,
    letter: Letter<'_>,
    data_dir: &Path,
    secrets: &Secrets,
) -> anyhow::Result<Replayed> {
    let project = format!("/api/v1/tenants/{}/projects/{}", letter.tenant, letter.project);
    let path = format!("{project}/pipelines/{}/dead-letters/{}/bundle", letter.pipeline, letter.id);
    let bundle: Bundle = accepted(client.request(Method::GET, &path)?.send().await?).await?.json().await?;
    ensure!(
        bundle.letter.complete,
        "{}: parts of this record did not fit its dead-letter topic, so it cannot be run as it was",
        Code::LetterIncomplete
    );
    let mut modules = HashMap::new();
    for stage in &bundle.spec.stages {
        if let Entry::Vacant(place) = modules.entry(stage.module) {
            let path = format!("{project}/modules/{}/content", stage.module);
            let fetched = accepted(client.request(Method::GET, &path)?.send().await?).await;
            let fetched = fetched.with_context(|| format!("fetching the module of stage `{}`", stage.name))?;
            place.insert(fetched.bytes().await?);
        }
    }
    run_bundle(&engine(data_dir)?, bundle, modules, secrets).await
}

/// A sandbox for a few instances.
fn engine(data_dir: &Path) -> anyhow::Result<Engine> {
    crate::serve::make_private(data_dir)?;
    let program = std::env::current_exe().context("finding this program")?;
    let compiler = CompilerCommand { program, args: vec![crate::arguments::COMPILER.into()] };
    let mut config = EngineConfig::new(data_dir.join("code"), compiler);
    config.pool = PoolSizes { instances: INSTANCES, calls: INSTANCES, ..PoolSizes::default() };
    Ok(Engine::new(config)?)
}

async fn run_bundle(
    engine: &Engine,
    bundle: Bundle,
    bytes: HashMap<ModuleDigest, bytes::Bytes>,
    secrets: &Secrets,
) -> anyhow::Result<Replayed> {
    let mut modules: HashMap<ModuleDigest, Module> = HashMap::new();
    for (digest, bytes) in bytes {
        modules.insert(digest, engine.load(digest, async || Ok(bytes)).await.map_err(told)?);
    }
    let log = Arc::new(Lines::default());
    let scope = TenantScope::assume(bundle.tenant.clone());
    let alone = Alone {
        scope: &scope,
        project: &bundle.project,
        spec: &bundle.spec,
        modules: &modules,
        log: log.clone(),
        topic_limits: &bundle.topic_limits,
        secrets,
    };
    let runs = alone.run(record(&bundle)?).await.map_err(told)?;
    let lines = std::mem::take(&mut *log.0.lock());
    Ok(judge(&bundle, runs, lines))
}

fn told(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Guest(fault) => anyhow::anyhow!("{}: {}", fault.kind.code(), fault.message),
        Fault::Host(fault) => anyhow::anyhow!("{}: {}", fault.code, fault.message),
    }
}

/// The record where it lay in its source.
fn record(bundle: &Bundle) -> anyhow::Result<RecordBatch> {
    let source = &bundle.letter.source;
    let input = bundle.spec.inputs.iter().position(|input| input.topic == source.topic);
    let input = input.with_context(|| format!("the pipeline does not read `{}`", source.topic))?;
    let topic = u16::try_from(input).context("too many inputs")?;
    let mut batch = RecordBatch { topic, partition: source.partition, ..RecordBatch::default() };
    let headers =
        bundle.headers.iter().map(|header| (header.name.as_deref().unwrap_or_default(), header.value.as_deref()));
    batch.push(source.offset, bundle.timestamp, bundle.key.as_deref(), bundle.value.as_deref(), headers);
    Ok(batch)
}

fn judge(bundle: &Bundle, runs: Vec<StageRun>, lines: Vec<String>) -> Replayed {
    let letter = &bundle.letter;
    let said = Verdict {
        stage: letter.stage.to_string(),
        code: letter.code,
        message: letter.reason.clone(),
        fuel: letter.fuel,
    };
    // One that fails only in company passes alone, and its fuel is that of passing.
    let passed = || {
        let run = runs.iter().find(|run| run.stage == letter.stage && letter.fuel.is_none_or(|fuel| run.fuel == fuel));
        let run = run.or_else(|| runs.iter().find(|run| run.stage == letter.stage))?;
        let message = "passes alone".to_owned();
        Some(Verdict { stage: said.stage.clone(), code: Code::StateDependent, message, fuel: Some(run.fuel) })
    };
    let faulty = runs.last().and_then(|run| Some((run, run.fault.as_ref()?)));
    let found = match faulty {
        Some((run, fault)) => Some(Verdict {
            stage: run.stage.to_string(),
            code: fault.kind.code(),
            message: fault.message.clone(),
            fuel: Some(run.fuel),
        }),
        None if letter.code == Code::StateDependent => passed(),
        None => None,
    };
    let backtrace = faulty.map(|(_, fault)| fault.backtrace.clone()).unwrap_or_default();
    Replayed { said, found, backtrace, lines }
}

/// Keeps lines to be shown.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl GuestLog for Lines {
    fn write(&self, level: Level, message: &str) {
        self.0.lock().push(format!("{level:?} {message}"));
    }
}
