//! `bulkhead run`: a stage on a file of records, on this machine, with the host's engine and limits.
//!
//! The sandbox is the deterministic one that also confirms dead letters: fixed clock, seeded random numbers. So the same records burn the
//! same fuel on every machine. A record that fails ends its instance, as on a host; the records after it go to a fresh one.
//! State begins empty, has the host's layers and limits, and goes with the command; when ticks come is in [`clock`].
//! Must never: write anything but the flame graph that was asked for, compiled code and a stage's scratch files in the user's cache folder, and a
//! large state in a folder for temporary files.

mod clock;
mod flame;
mod input;
mod local;
mod report;
mod stage;

use super::config::{Connection, Settings};
use super::failure::Complaint;
use super::output::Format;
use super::secret::SecretFile;
use anyhow::Context;
use bulkhead_core::limits::{BatchLimits, TICK_MS_MAX, TICK_MS_MIN};
use bulkhead_core::name::{ModuleDigest, PipelineName, StageName};
use bulkhead_engine::{CompilerCommand, Engine, EngineConfig, PoolSizes, Profile};
use clap::Args;
use input::Step;
use report::Report;
use stage::Told;
use std::path::PathBuf;
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
    /// Each line is a JSON object with key, value, headers, timestamp, offset, partition and input; otherwise a line is a value. A line
    /// `{"tick": {"now": 60000}}`, with input and partition where they are not 0, tells the stage the time, and `{"restart": true}` drops its
    /// instance
    #[arg(long)]
    ndjson: bool,
    /// Take settings, limits, state, inputs and outputs from this manifest
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
    /// Bytes of state in each partition at most, where there is no manifest to grant it; otherwise 64 MiB
    #[arg(long, value_name = "BYTES", conflicts_with = "manifest")]
    state_bytes: Option<u64>,
    /// Milliseconds between two ticks, instead of the manifest's or 1,000; 0 for none but those in the records. The clock stands at the time
    /// of the latest record: a partition is told before a batch, once, if the records have moved the clock so far
    #[arg(long, value_name = "MILLISECONDS", value_parser = tick_ms)]
    tick_ms: Option<u64>,
    /// How long the clock goes on after the last record, with ticks as often; otherwise for one tick
    #[arg(long, value_name = "MILLISECONDS")]
    quiet_ms: Option<u64>,
    /// Show at the end what the state holds
    #[arg(long)]
    show_state: bool,
    /// A secret that the stage is granted, by the project's name for it (with no manifest, the stage's), and the file with its value; can be
    /// given again
    #[arg(long = "secret", value_name = "NAME=FILE")]
    secrets: Vec<SecretFile>,
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
    let told = Told::new(&arguments)?;
    let inputs = told.config.inputs.len();
    let batches = input::Batches::open(&arguments.records, arguments.ndjson, arguments.batch, inputs)?;
    let profile = arguments.flame.is_some().then(Arc::<Profile>::default);
    let report = play(&arguments, told, batches, profile.clone(), format).await?;
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
    told: Told,
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
    let mut report = Report::new(format, told.config.outputs.clone())?;
    let stage = module.stage(told.config, report.log()).map_err(|fault| local::complaint(&fault))?;
    let stage = stage.with_secrets(told.secrets);
    let mut local = local::Local::new(stage, told.state_bytes);
    let mut clock = clock::Clock::new(if local.ticks() { told.tick_ms } else { 0 });
    while let Some(step) = batches.next()? {
        match step {
            Step::Batch(first, batch) => {
                if let Some(moment) = clock.before(&batch) {
                    local.tick(moment, &mut report).await?;
                }
                clock.after(&batch);
                local.run(first, &batch, &mut report).await?;
            }
            Step::Tick(moment) => {
                clock.told(moment);
                local.tick(moment, &mut report).await?;
            }
            Step::Restart => local.restart(),
        }
    }
    for moment in clock.rest(arguments.quiet_ms.unwrap_or(told.tick_ms)) {
        local.tick(moment, &mut report).await?;
    }
    if let Some(stores) = local.stores().filter(|_| arguments.show_state) {
        report.state(stores)?;
    }
    report.end(local.totals(), local.stores().map_or(0, bulkhead_flow::LocalStores::bytes))?;
    Ok(report)
}

/// As often as a manifest may ask for, or never.
fn tick_ms(text: &str) -> Result<u64, String> {
    let found = text.parse().ok().filter(|ms| *ms == 0 || (TICK_MS_MIN..=TICK_MS_MAX).contains(ms));
    found.ok_or_else(|| format!("write {TICK_MS_MIN} to {TICK_MS_MAX}, or 0 for none"))
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
