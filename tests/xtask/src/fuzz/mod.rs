//! `cargo xtask fuzz`: the targets of tests/fuzz, guided by coverage, with figures of what they ran.
//!
//! libFuzzer is a crate and the stable compiler can instrument, so nothing need be installed. Only the project's own crates are instrumented
//! ([`coverage`]): what they depend on stays as every other build has it, and need not be built again.
//! What a run finds on its way is kept in `target/fuzz`, and the next begins with it; an input that fails is kept there too, and named.
//! Must never: call a target clean that did not run as often as was asked.

pub(crate) mod coverage;
mod options;
mod report;

use self::options::{Amount, Options};
use self::report::Report;
use crate::command::{Program, cargo, program, root, target};
use crate::setup;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::PathBuf;

/// Seconds that one input may take before it counts as a failure.
const INPUT_SECONDS_MAX: u32 = 10;
/// MiB that the process may hold before its input counts as a failure.
const MEMORY_MIB_MAX: u32 = 2_048;

/// Runs what the arguments say.
///
/// # Errors
/// Where an input fails, or a target ran less than was asked.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let targets = targets()?;
    let Some(options) = options::parse(arguments, &targets)? else {
        println!("{}", options::HELP);
        return Ok(());
    };
    setup::run(setup::Needs::Building)?;
    let chosen: Vec<&String> =
        targets.iter().filter(|name| options.target.as_ref().is_none_or(|only| only == *name)).collect();
    build(&chosen)?;
    if let (Some(input), [only]) = (&options.input, chosen.as_slice()) {
        return started(only).arg(root().join(input)).run();
    }
    println!("{}", Report::HEADER);
    let mut failed = Vec::new();
    for name in chosen {
        let report = fuzz(name, &options)?;
        println!("{report}");
        if let Some(why) = report.failure(&options.amount) {
            failed.push(format!("{name}: {why}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// The names of the targets: their files'.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("tests/fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned)).collect();
    names.sort();
    if names.is_empty() {
        bail!("there is no target in {}", folder.display());
    }
    Ok(names)
}

fn build(names: &[&String]) -> Result<()> {
    // All of the workspace, for the features that all other commands build with.
    let mut cargo = cargo(["build", "--workspace", "--features", "bulkhead-fuzz/libfuzzer"]);
    // Of the project's own crates alone; their overflow checks and assertions stay.
    cargo = cargo.args(["--config", "profile.dev.opt-level=2"]);
    for name in names {
        cargo = cargo.args(["--bin", name.as_str()]);
    }
    coverage::instrument(cargo)?.run()
}

fn started(name: &str) -> Program {
    program(target().join("debug").join(name))
}

fn fuzz(name: &str, options: &Options) -> Result<Report> {
    let folder = target().join("fuzz").join(name);
    let (corpus, crashes) = (folder.join("corpus"), folder.join("failed"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&crashes)?;
    let own = root().join("tests/fuzz");
    let words = own.join("words").join(format!("{name}.dict"));
    let mut fuzzer = started(name)
        .arg(&corpus)
        .arg(own.join("seeds").join(name))
        .args([match options.amount {
            Amount::Runs(runs) => format!("-runs={runs}"),
            Amount::Seconds(seconds) => format!("-max_total_time={seconds}"),
        }])
        .args([format!("-timeout={INPUT_SECONDS_MAX}"), format!("-rss_limit_mb={MEMORY_MIB_MAX}")])
        .args([format!("-artifact_prefix={}/", crashes.display()), "-print_final_stats=1".to_owned()]);
    if words.exists() {
        fuzzer = fuzzer.arg(format!("-dict={}", words.display()));
    }
    let output = fuzzer.into_std().output().with_context(|| format!("running the target `{name}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let log: PathBuf = folder.join("log");
    fs::write(&log, said.as_bytes())?;
    Ok(Report::read(name, &said, output.status.success(), log))
}
