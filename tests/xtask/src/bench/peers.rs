//! The same work in native Rust, Kafka Streams, Flink and Bulkhead: one after another, on one broker, over one input topic.
//!
//! Everything is built before anything is measured. The figures are those of tests/peers/bench.py, which credits an engine only
//! for what its consumer group has committed.
//! Must never: compare runs of different machines, brokers or inputs.

use super::broker::Broker;
use super::engine::Engine;
use super::options::Options;
use super::profile;
use super::table::{Run, check_outputs, table};
use crate::command::{cargo, program, target};
use crate::{services, setup};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

const CLIENT: &str = "confluent-kafka==2.16.1";

/// Runs the engines and prints the table.
///
/// # Errors
/// Where something does not build or run, or an engine's outputs are wrong.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(setup::Needs::Everything)?;
    let python = python()?;
    let mut commands = Vec::new();
    for engine in &options.engines {
        println!("building {}", engine.name());
        commands.push((*engine, engine.build(options.threads)?));
    }
    cargo(["build", "--package", "bulkhead-test-services"]).run()?;
    let broker = Broker::start(&services::install()?)?;
    println!(
        "{} records, {} partitions, {} threads, exactly once; {} processors, one broker beside the engine",
        options.records,
        options.partitions,
        options.threads,
        std::thread::available_parallelism().map_or(1, usize::from),
    );
    remove_data_folders()?;
    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for (engine, command) in &commands {
            println!("round {round}: {}", engine.name());
            let line = measure(&python, &broker, options, *engine, command)?;
            println!("  {line}");
            runs.push(Run::parse(*engine, &line)?);
        }
    }
    println!("\n{}", table(&runs));
    check_outputs(&runs, options.records)?;
    if let Some(engine) = options.profile {
        let command = match commands.iter().find(|(built, _)| *built == engine) {
            Some((_, command)) => command.clone(),
            None => engine.build(options.threads)?,
        };
        let (command, file) = profile::wrap(&command)?;
        println!("profiling {}", engine.name());
        measure(&python, &broker, options, engine, &command)?;
        profile::print(&file)?;
    }
    Ok(())
}

fn measure(python: &Path, broker: &Broker, options: &Options, engine: Engine, command: &[String]) -> Result<String> {
    let (records, partitions) = (options.records.to_string(), options.partitions.to_string());
    let said = program(python)
        .arg("tests/peers/bench.py")
        .args(engine.follows().map(|group| format!("--follow={group}")))
        .args([broker.bootstrap(), &records, &partitions, engine.name(), "--"])
        .args(command)
        .env("TMPDIR", target().join("bench"))
        .output()
        .with_context(|| format!("{} did not do the work; its log is in target/bench", engine.name()))?;
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

/// Removes what runs of Bulkhead left, of this program or of an earlier one.
fn remove_data_folders() -> Result<()> {
    for entry in fs::read_dir(target().join("bench"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("data-") {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A Python with the Kafka client that bench.py uses, made once.
fn python() -> Result<PathBuf> {
    let venv = target().join("bench/venv");
    let python = venv.join("bin/python");
    if !program(&python).args(["-c", "import confluent_kafka"]).succeeds() {
        program("python3").args(["-m", "venv"]).arg(&venv).run()?;
        program(&python).args(["-m", "pip", "install", "--quiet", CLIENT]).run()?;
    }
    Ok(python)
}
