//! Exactly once under fire: three real brokers, one control, workers that come, go and are killed, a partition leader that is killed,
//! and every output compared with one computed outside.
//!
//! Exit codes: 0 nothing lost, doubled, changed or out of order; 1 otherwise.
//! Must never: pass because less happened than was asked for.

#![forbid(unsafe_code)]

mod events;
mod fleet;
mod options;
mod report;
mod scene;

use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&options::Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> Result<bool> {
    let mut scene = scene::Scene::set(options)?;
    let result = scene.play();
    if result.is_err() {
        eprintln!("fire: logs are kept in {}", scene.keep_folder().display());
    }
    let played = result?;
    let clean = report::print(options, &played);
    if !clean {
        println!("logs are kept in {}", scene.keep_folder().display());
    }
    Ok(clean)
}
