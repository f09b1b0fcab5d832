//! `bulkhead run`: a stage on a file of records, on this machine, with the host's engine and limits.
//!
//! The sandbox is the deterministic one that also confirms dead letters: fixed clock, seeded random numbers. So the same records burn the
//! same fuel on every machine. A record that fails ends its instance, as on a host; the records after it go to a fresh one.
//! Must never: write anything but the flame graph that was asked for and compiled code in the user's cache folder.

mod flame;
mod input;
mod local;
mod report;

use super::config::{Connection, Settings};
use super::failure::Complaint;
use super::output::Format;
use anyhow::Context;
use bulkhead_core::code::Code;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest;
use bulkhead_core::name::{ModuleDigest, PipelineName, StageName};
use bulkhead_engine::{CompilerCommand, Engine, EngineConfig, PoolSizes, Profile, StageConfig};
use clap::Args;
use report::Report;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Instances at a time.
const INSTANCES_MAX: u32 = 4;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The component, built for wasm32-wasip2
    module: PathBuf,
    /// The records: a file, or `-` for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    records: PathBuf,
    /// Each line is a JSON object with key, value, headers, timestamp, offset, partition and input; otherwise a line is a value
    #[arg(long)]
    ndjson: bool,
    /// Take settings, limits, inputs and outputs from this manifest
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["settings", "inputs", "ports", "pipeline", "stage_name"])]
    manifest: Option<PathBuf>,
    /// Which stage of the manifest, where it has several
    #[arg(long, value_name = "NAME", requires = "manifest")]
    stage: Option<StageName>,
    /// The stage's settings as JSON: what `config` is in a manifest
    #[arg(long, value_name = "JSON", default_value = "null")]
    settings: String,
    /// Names of the inputs
    #[arg(long, value_delimiter = ',', default_value = "in", value_name = "NAMES")]
    inputs: Vec<String>,
    /// Names of the outputs
    #[arg(long, value_delimiter = ',', default_value = "out", value_name = "NAMES")]
    ports: Vec<String>,
    /// The pipeline's name, as the stage is told it
    #[arg(long, default_value = "local", value_name = "NAME")]
    pipeline: PipelineName,
    /// The stage's name, as it is told it
    #[arg(long, default_value = "stage", value_name = "NAME")]
    stage_name: StageName,
    /// Records of a batch at most. In batches of one, a record's fuel has that of the call itself in it; in larger ones only the total is known
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(BatchLimits::MAX.records)), value_name = "RECORDS")]
    batch: u32,
    /// Fuel of one record at most, instead of the manifest's or 50,000,000
    #[arg(long, value_name = "FUEL")]
    fuel_per_record: Option<u64>,
    /// Bytes of memory at most, instead of the manifest's or 64 MiB
    #[arg(long, value_name = "BYTES")]
    memory_bytes: Option<u64>,
    /// Draw where the fuel goes: a flame graph as SVG. A stack is sampled each 100 fuel, at the next function entry or loop head, and all
    /// fuel since the sample before is charged to it
    #[arg(long, value_name = "FILE")]
    flame: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Runs the command.
///
/// # Errors
/// Where the host would refuse the module, the stage does not start, or a file cannot be read.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let format = Settings::of(&arguments.connection)?.output;
    let config = stage_config(&arguments)?;
    let batches = input::Batches::open(&arguments.records, arguments.ndjson, arguments.batch, config.inputs.len())?;
    let profile = arguments.flame.is_some().then(Arc::<Profile>::default);
    let report = play(&arguments, config, batches, profile.clone(), format).await?;
    if let (Some(file), Some(profile)) = (&arguments.flame, profile) {
        let unseen = report.fuel().saturating_sub(profile.fuel());
        flame::draw(file, &arguments.module, &profile, unseen)?;
        if format == Format::Table {
            let (samples, name) = (profile.samples(), file.display());
            super::output::line(&format!("{name}: a flame graph of {samples} samples"))?;
        }
    }
    Ok(())
}

async fn play(
    arguments: &Arguments,
    config: StageConfig,
    mut batches: input::Batches,
    profile: Option<Arc<Profile>>,
    format: Format,
) -> anyhow::Result<Report> {
    let wasm = bytes::Bytes::from(super::read_bytes(&arguments.module)?);
    let engine = engine(profile)?;
    let refused = |error: bulkhead_engine::Refusal| Complaint::new(error.code, error.detail);
    let digest = ModuleDigest::of(&wasm);
    let spinner = super::progress::waiting("compiling".to_owned());
    let inspected = engine.inspect(wasm.clone()).await;
    spinner.finish_and_clear();
    inspected.map_err(refused)?;
    let module = engine.load(digest, async || Ok(wasm)).await.context("loading the module")?;
    let mut report = Report::new(format, config.outputs.clone())?;
    let limits = config.limits;
    let stage = module.stage(config, report.log()).map_err(|fault| local::complaint(&fault))?;
    let mut local = local::Local::new(stage, limits);
    while let Some((first, batch)) = batches.next()? {
        local.run(first, batch, &mut report).await?;
    }
    report.end(local.totals())?;
    Ok(report)
}

/// What the stage is told and may use: the manifest's, or what the flags say.
fn stage_config(arguments: &Arguments) -> anyhow::Result<StageConfig> {
    let mut config = match &arguments.manifest {
        Some(file) => of_manifest(file, arguments.stage.as_ref())?,
        None => StageConfig {
            pipeline: arguments.pipeline.to_string(),
            stage: arguments.stage_name.to_string(),
            inputs: arguments.inputs.clone(),
            outputs: arguments.ports.clone(),
            settings: arguments.settings.clone(),
            limits: bulkhead_core::limits::StageLimits::default(),
            grants: bulkhead_core::grant::Grants::default(),
        },
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(&config.settings).is_err() {
        return Err(Complaint::new(Code::LocalFailure, "--settings is not JSON").into());
    }
    config.limits.fuel_per_record = arguments.fuel_per_record.unwrap_or(config.limits.fuel_per_record);
    config.limits.memory_bytes = arguments.memory_bytes.unwrap_or(config.limits.memory_bytes);
    Ok(config)
}

fn of_manifest(file: &Path, stage: Option<&StageName>) -> anyhow::Result<StageConfig> {
    let text = super::read_text(file)?;
    let spec = manifest::parse(&text).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Complaint::new(Code::ManifestInvalid, format!("{}: {}", file.display(), all.join("; ")))
    })?;
    let found = match (stage, &spec.stages[..]) {
        (Some(name), stages) => stages.iter().find(|stage| stage.name == *name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let names = || spec.stages.iter().map(|stage| stage.name.to_string()).collect::<Vec<_>>().join(", ");
    let detail = || format!("name one of the manifest's stages with --stage: {}", names());
    let stage = found.ok_or_else(|| Complaint::new(Code::LocalFailure, detail()))?;
    Ok(bulkhead_flow::stage_config(&spec, stage))
}

/// The sandbox, with this very program as its compiler. Code for profiling is other code, and is kept apart.
fn engine(profile: Option<Arc<Profile>>) -> anyhow::Result<Engine> {
    let program = std::env::current_exe().context("finding this program")?;
    let compiler = CompilerCommand { program, args: vec![crate::arguments::COMPILER.into()] };
    let folder = super::cache_folder()?.join(if profile.is_some() { "profiling" } else { "code" });
    let mut config = EngineConfig::new(folder, compiler);
    config.pool = PoolSizes { instances: INSTANCES_MAX, calls: INSTANCES_MAX, ..PoolSizes::default() };
    Ok(match profile {
        Some(profile) => Engine::profiling(config, profile)?,
        None => Engine::new(config)?,
    })
}
