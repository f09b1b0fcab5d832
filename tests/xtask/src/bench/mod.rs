//! The benchmarks. Each builds what it measures, measures on this machine, and prints a table with what it was measured with.
//!
//! Must never: print a number that was not measured in this run, or judge one.

mod broker;
mod engine;
mod options;
mod peers;
mod profile;
mod table;

use crate::command::cargo;
use crate::setup;
use anyhow::{Result, bail};

/// Runs the benchmark that the first argument names.
///
/// # Errors
/// Where there is none of that name, or it fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["abi", more @ ..] => {
            setup::run(setup::Needs::Building)?;
            cargo(["bench", "--package", "bulkhead-engine", "--bench", "abi", "--"]).args(more).run()
        }
        ["peers", more @ ..] => match options::parse(more)? {
            Some(options) => peers::run(&options),
            None => {
                println!("{}", options::HELP);
                Ok(())
            }
        },
        _ => bail!("name a benchmark: abi or peers"),
    }
}
