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
use anyhow::{Context, Result, bail};

/// Records of the bill's benchmark where nobody says how many: some minute of work on each log.
const BILL_RECORDS: &str = "3000";

/// Tenants of the benchmark of idle ones where nobody says how many.
const IDLE_TENANTS: &str = "10000";

/// What the benchmark of sizing takes where nobody says: records a second of each tenant, and how many tenants.
const SIZING_CASES: &str = "1x200,10x100,100x20";

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
        ["storm"] => test(setup::Needs::Building, "storm::", &[("BULKHEAD_STORM_SECONDS", "20")]),
        ["corpus", more @ ..] => {
            let filter = format!("corpus::{}", more.first().copied().unwrap_or_default());
            test(setup::Needs::Everything, &filter, &[("BULKHEAD_CORPUS_PROBES", "100")])
        }
        ["delays"] => {
            setup::run(setup::Needs::Everything)?;
            let archive = data::fetch()?;
            let archive = archive.to_str().context("the archive's path is no text")?;
            test(setup::Needs::Everything, "delays::", &[("BULKHEAD_DELAYS_ARCHIVE", archive)])
        }
        ["isolation", more @ ..] => {
            let kinds = more.first().copied().unwrap_or("all");
            let asked = [
                ("BULKHEAD_ISOLATION_ATTACKERS", "100"),
                ("BULKHEAD_ISOLATION_PROBES", "100"),
                ("BULKHEAD_ISOLATION_FUEL", "3e10"),
                ("BULKHEAD_ISOLATION_KINDS", kinds),
            ];
            test(setup::Needs::Everything, "isolation::", &asked)
        }
        ["sizing", more @ ..] => {
            let cases = more.first().copied().unwrap_or(SIZING_CASES);
            let asked = [("BULKHEAD_SIZING", cases), ("BULKHEAD_SIZING_SECONDS", "30")];
            test(setup::Needs::Everything, "sizing::", &asked)
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
            let records = more.first().copied().unwrap_or(BILL_RECORDS);
            test(setup::Needs::Everything, "usage::", &[("BULKHEAD_BILL_RECORDS", records)])
        }
        ["erasure"] => test(setup::Needs::Building, "erasure", &[("BULKHEAD_ERASURE_TENANTS", "50")]),
        ["idle", more @ ..] => {
            setup::run(setup::Needs::Building)?;
            // In one process with the test, and so as optimised as that is; what it measures is mostly memory and waiting.
            let tenants = more.first().copied().unwrap_or(IDLE_TENANTS);
            let test = ["test", "--workspace", "--test", "all", "--", "idle::", "--nocapture"];
            cargo(test).env("BULKHEAD_IDLE_TENANTS", tenants).run()
        }
        ["limits"] => test(setup::Needs::Building, "limits::a_tenant", &[("BULKHEAD_LIMITS_PROBES", "200")]),
        _ => {
            bail!(
                "name a benchmark: abi, anomalies, bill, corpus, delays, erasure, fire, idle, isolation, lane, limits, peers, \
                 sizing, state or storm"
            )
        }
    }
}

/// Runs tests of the suites by themselves, one after the other, with more of everything, on an optimised host.
fn test(needs: setup::Needs, filter: &str, asked: &[(&str, &str)]) -> Result<()> {
    setup::run(needs)?;
    cargo(["build", "--workspace", "--all-targets"]).run()?;
    cargo(["build", "--release", "--workspace", "--bin", "bulkhead"]).run()?;
    let test = ["test", "--workspace", "--test", "all", "--", filter, "--nocapture", "--test-threads=1"];
    let tests = cargo(test).env("BULKHEAD_BIN", target().join("release/bulkhead"));
    asked.iter().fold(tests, |tests, (name, value)| tests.env(name, value)).run()
}

/// A program of tests/fire. It builds the host in its own profile, so both are optimised.
fn fire(name: &str) -> Result<Program> {
    cargo(["build", "--release", "--workspace", "--bin", name]).run()?;
    Ok(program(target().join("release").join(name)))
}
