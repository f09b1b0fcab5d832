//! The benchmarks. Each builds what it measures, measures on this machine, and prints a table with what it was measured with.
//!
//! All build the whole workspace's features: of one package alone they differ, and wasmtime would be built again for each benchmark.
//! Must never: print a number that was not measured in this run, or judge one.

mod broker;
mod engine;
mod options;
mod peers;
mod profile;
mod table;

use crate::command::{Program, cargo, program, target};
use crate::{data, setup};
use anyhow::{Result, bail};

/// Records of the bill's benchmark where nobody says how many: some minute of work on each log.
const BILL_RECORDS: &str = "3000";

/// Runs the benchmark that the first argument names.
///
/// # Errors
/// Where there is none of that name, or it fails.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["abi", more @ ..] => {
            setup::run(setup::Needs::Building)?;
            cargo(["bench", "--workspace", "--bench", "abi", "--"]).args(more).run()
        }
        ["anomalies", more @ ..] => {
            setup::run(setup::Needs::Building)?;
            let days = more.first().copied().unwrap_or("20");
            let test = ["test", "--workspace", "--lib", "--", "ten_things_that_go_wrong", "--nocapture"];
            cargo(test).env("BULKHEAD_ANOMALY_DAYS", days).run()
        }
        ["storm"] => {
            setup::run(setup::Needs::Building)?;
            cargo(["build", "--workspace", "--all-targets"]).run()?;
            let test = ["test", "--workspace", "--test", "all", "--", "storm::", "--nocapture"];
            let binary = target().join("debug/bulkhead");
            cargo(test).env("BULKHEAD_BIN", binary).env("BULKHEAD_STORM_SECONDS", "20").run()
        }
        ["delays"] => {
            setup::run(setup::Needs::Everything)?;
            let archive = data::fetch()?;
            cargo(["build", "--workspace", "--all-targets"]).run()?;
            let test = ["test", "--workspace", "--test", "all", "--", "delays::", "--nocapture"];
            let binary = target().join("debug/bulkhead");
            cargo(test).env("BULKHEAD_BIN", binary).env("BULKHEAD_DELAYS_ARCHIVE", archive).run()
        }
        ["fire", more @ ..] => {
            setup::run(setup::Needs::Everything)?;
            let archive = data::fetch()?;
            fire("fire")?.args(more).env("BULKHEAD_FLIGHTS_ARCHIVE", archive).run()
        }
        ["lane", more @ ..] => {
            setup::run(setup::Needs::Everything)?;
            fire("lane")?.args(more).run()
        }
        ["peers", more @ ..] => match options::parse(more)? {
            Some(options) => peers::run(&options),
            None => {
                println!("{}", options::HELP);
                Ok(())
            }
        },
        ["state", more @ ..] => {
            setup::run(setup::Needs::Building)?;
            cargo(["bench", "--workspace", "--bench", "state", "--"]).args(more).run()
        }
        ["bill", more @ ..] => {
            setup::run(setup::Needs::Everything)?;
            cargo(["build", "--workspace", "--all-targets"]).run()?;
            let test = ["test", "--workspace", "--test", "all", "--", "usage::", "--nocapture", "--test-threads=1"];
            let records = more.first().copied().unwrap_or(BILL_RECORDS);
            let binary = target().join("debug/bulkhead");
            cargo(test).env("BULKHEAD_BIN", binary).env("BULKHEAD_BILL_RECORDS", records).run()
        }
        ["erasure"] => {
            setup::run(setup::Needs::Building)?;
            cargo(["build", "--workspace", "--all-targets"]).run()?;
            let test = ["test", "--workspace", "--test", "all", "--", "erasure", "--nocapture", "--test-threads=1"];
            let binary = target().join("debug/bulkhead");
            cargo(test).env("BULKHEAD_BIN", binary).env("BULKHEAD_ERASURE_TENANTS", "50").run()
        }
        ["limits"] => {
            setup::run(setup::Needs::Building)?;
            cargo(["build", "--workspace", "--all-targets"]).run()?;
            let test = ["test", "--workspace", "--test", "all", "--", "limits::a_tenant", "--nocapture"];
            let binary = target().join("debug/bulkhead");
            cargo(test).env("BULKHEAD_BIN", binary).env("BULKHEAD_LIMITS_PROBES", "200").run()
        }
        _ => {
            bail!("name a benchmark: abi, anomalies, bill, delays, erasure, fire, lane, limits, peers, state or storm")
        }
    }
}

/// A program of tests/fire. It builds the host in its own profile, so both are optimised.
fn fire(name: &str) -> Result<Program> {
    cargo(["build", "--release", "--workspace", "--bin", name]).run()?;
    Ok(program(target().join("release").join(name)))
}
