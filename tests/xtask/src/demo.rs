//! The first command: builds the host and the stages, and lets the host show its main job.
//!
//! Must never: show anything itself. What is shown is what `bulkhead demo` does.

use crate::command::{cargo, program, root, target};
use crate::{setup, wasm};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// Builds, then becomes `bulkhead demo`, so that signals reach it directly. `arguments` are for it.
///
/// # Errors
/// Where something is missing or does not build.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    setup::run(setup::Needs::Building)?;
    println!("building the host and the stages; the first time takes some minutes");
    // As a part of the workspace, so that the tests later find its dependencies built as they need them.
    cargo(["build", "--workspace", "--bin", "bulkhead"]).run()?;
    wasm::build()?;
    let mut demo = program(target().join("debug/bulkhead"))
        .arg("demo")
        .arg("--stages")
        .arg(wasm::folder())
        .arg("--examples")
        .arg(root().join("examples"))
        .args(arguments)
        .into_std();
    Err(demo.stdin(Stdio::inherit()).exec()).context("cannot run the host that was just built")
}
