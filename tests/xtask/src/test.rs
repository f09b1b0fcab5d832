//! The second command: every check and every test, with what they need fetched first.
//!
//! Its last line is `N passed, N failed`: tests, runs of schemathesis among them, and each step that failed without one. It
//! exits with a failure exactly where the second number is not 0.
//! Must never: skip something without saying so, or let a step that failed go unnoticed.

use crate::command::{cargo, target};
use crate::steps::Steps;
use crate::tally::{Show, Tally};
use crate::{data, monitoring, schemathesis, services, setup, wasm};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::process::ExitCode;

/// Runs everything; with arguments, only the tests that `cargo test` chooses by them.
///
/// # Errors
/// None of its own: what fails is told, counted and in the exit code.
pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let mut steps = Steps::default();
    let mut tally = Tally::default();
    if steps.run("setup", || setup::run(setup::Needs::Everything)).is_some() {
        if arguments.is_empty() {
            check(&mut steps);
        }
        steps.run("fetch the flights", data::fetch);
        steps.run("build the stages", || wasm::print_sizes(&wasm::build()?));
        // All targets in one go, as the tests want them: programs built apart would share fewer of their dependencies.
        if steps.run("build", || cargo(["build", "--workspace", "--all-targets"]).run()).is_some() {
            steps.run("install Kafka", services::install);
            steps.run("install the S3 server", services::install_s3);
            steps.run("install Keycloak", services::install_keycloak);
            if arguments.is_empty() {
                steps.run("alert rules", || monitoring::check(&services::install_prometheus()?));
            }
            tally = steps.run("test", || tests(arguments)).unwrap_or_default();
            if arguments.is_empty() {
                let asked = steps.run("requests from the API's description", schemathesis::test).unwrap_or_default();
                tally = tally + asked;
            }
        }
    }
    println!("{}", steps.summary());
    let failed = tally.failed + steps.failed() as u64;
    println!("{} passed, {failed} failed", tally.passed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the checks alone.
///
/// # Errors
/// None of its own, as [`run`].
pub(crate) fn lint() -> Result<ExitCode> {
    let mut steps = Steps::default();
    if steps.run("setup", || setup::run(setup::Needs::Everything)).is_some() {
        check(&mut steps);
    }
    println!("{}", steps.summary());
    Ok(if steps.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(steps: &mut Steps) {
    steps.run("formatting", || cargo(["fmt", "--all", "--check"]).run());
    steps.run("clippy", || cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run());
    steps.run("documentation", || cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run());
}

/// Suites that wait for most of their time, for brokers that start, sessions that run out and groups that settle.
const WAITING: [&str; 4] = ["embedded", "held_up", "kafka", "moved_group"];

/// All tests; those that mostly wait at the same time as the others. More at a time would not be faster: the others keep the processors busy.
fn tests(arguments: &[&str]) -> Result<Tally> {
    if !arguments.is_empty() {
        return Tally::of(suites(arguments), Show::Lines);
    }
    let (waiting, others): (Vec<_>, Vec<_>) =
        test_programs()?.into_iter().partition(|name| WAITING.contains(&name.as_str()));
    let named = |names: Vec<String>| names.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Tally::of(suites(&named(waiting)), Show::Programs));
        let others = [vec!["--lib".to_owned(), "--bins".to_owned()], named(others)].concat();
        let others = Tally::of(suites(&others), Show::Lines)? + Tally::of(suites(&["--doc"]), Show::Lines)?;
        Ok(others + waiting.join().expect("it does not panic")?)
    })
}

/// The names of all test programs, but for those within libraries and programs.
fn test_programs() -> Result<BTreeSet<String>> {
    let metadata = cargo(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
    let suites = targets.filter(|target| target["kind"][0] == "test").filter_map(|target| target["name"].as_str());
    Ok(suites.map(str::to_owned).collect())
}

fn suites<S: AsRef<OsStr>>(arguments: &[S]) -> std::process::Command {
    // Two for each processor, as they wait for a server that starts or a lease that runs out.
    let threads = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let command = cargo(["test", "--workspace", "--no-fail-fast"])
        .args(arguments)
        // Tests that run the host take the one that was just built; building it apart would choose other features.
        .env("BULKHEAD_BIN", target().join("debug/bulkhead"))
        .env("RUST_TEST_THREADS", threads.to_string())
        .env("BULKHEAD_COMPILER", target().join("debug/bulkhead-harness-compiler"));
    command.into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_suite_is_forgotten() {
        let programs = test_programs().unwrap();
        for name in WAITING.iter().chain(&["all", "architecture", "postgres", "own_schema", "own_database", "vault"]) {
            assert!(programs.contains(*name), "{name} is not in {programs:?}");
        }
    }
}
