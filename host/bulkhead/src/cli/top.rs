//! `bulkhead top`: what pipelines do at the moment, the one that burns most first; with `--all`, what tenants do.
//!
//! Must never: ask more often than workers report.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items};
use clap::Args;
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Show it once and end; so does standard output that is no terminal
    #[arg(long)]
    once: bool,
    /// Seconds between two looks, at least 1
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// A line for each stage
    #[arg(long, conflicts_with = "all")]
    stages: bool,
    /// What each tenant does, for platform admins
    #[arg(long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let path = if arguments.all { "/api/v1/top".to_owned() } else { session.of_tenant("/top")? };
    // Of a stream of JSON, each look is a line; a table that is no screen's ends with the first.
    let once = arguments.once || (!session.is_json() && !std::io::stdout().is_terminal());
    loop {
        let answer = session.get(&path).await?;
        if !once && !session.is_json() {
            // Clears the screen and goes to its corner.
            output::line("\u{1b}[2J\u{1b}[H")?;
        }
        session.show(&answer, || table(&answer, arguments))?;
        if once {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(arguments.every)).await;
    }
}

fn table(answer: &Value, arguments: &Arguments) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for line in items(answer) {
        let name = match arguments.all {
            true => cell(&line["tenant"]),
            false => format!("{}/{}", cell(&line["project"]), cell(&line["pipeline"])),
        };
        let bytes = |name: &str| output::size(line[name].as_u64().unwrap_or_default());
        rows.push(row(name.clone(), line, [cell(&line["lag"]), bytes("memoryBytes"), bytes("stateBytes")]));
        if let Some(stages) = line["stages"].as_object().filter(|_| arguments.stages) {
            rows.extend(stages.iter().map(|(stage, rate)| row(format!("  {name}/{stage}"), rate, Default::default())));
        }
    }
    let who = if arguments.all { "TENANT" } else { "PIPELINE" };
    let headings = [who, "FUEL/S", "RECORDS IN/S", "OUT/S", "FAULTS/S", "LAG", "MEMORY", "STATE"];
    output::table(&headings, rows, "no worker runs a pipeline")
}

fn row(name: String, rate: &Value, rest: [String; 3]) -> Vec<String> {
    let rates = ["fuelPerSecond", "recordsInPerSecond", "recordsOutPerSecond", "faultsPerSecond"];
    std::iter::once(name).chain(rates.map(|name| cell(&rate[name]))).chain(rest).collect()
}
