//! A shared lane with a hostile neighbour: what one tenant's bad outputs cost the others that share its transactions.
//!
//! Three real brokers, one worker. Three victims get a steady stream; a fourth tenant attacks in turn. For each attack: the victims'
//! longest silence, what the attacker's own pipeline says, and whether it recovers once its topic is back.
//! Exit codes: 0 the victims lost and doubled nothing and every attacker's records are accounted for; 1 otherwise.
//! Must never: pass an attack that did not take place.

#![forbid(unsafe_code)]

mod attack;
mod neighbour;
mod report;
mod scene;
mod victim;

use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

/// A shared lane with a hostile neighbour.
#[derive(Debug, Clone, Parser)]
#[command(name = "lane")]
struct Options {
    /// Seconds that each attack is watched
    #[arg(long, default_value_t = 10)]
    window_s: u32,
    /// Records a second of each tenant
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How the worker joins its groups
    #[arg(long, default_value = "consumer", value_parser = ["consumer", "classic"])]
    protocol: String,
    /// Only this attack, by the start of its name
    #[arg(long)]
    only: Option<String>,
    /// The release of Kafka; from 4.1 to 4.4.0 a broker that stops may cost outputs of the partitions that it alone has (KAFKA-20734)
    #[arg(long, default_value = "4.0.2")]
    kafka: String,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let mut scene = scene::Scene::set(options)?;
    let result = scene.play();
    if result.is_err() {
        eprintln!("lane: logs are kept in {}", scene.keep_folder().display());
    }
    let played = result?;
    let clean = report::print(options, &played);
    if !clean {
        println!("logs are kept in {}", scene.keep_folder().display());
    }
    Ok(clean)
}
