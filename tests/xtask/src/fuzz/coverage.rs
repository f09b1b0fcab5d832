//! Instrumenting the project's own crates, with the stable compiler: this program stands in for rustc and adds the flags.
//!
//! Cargo calls the program in `RUSTC_WORKSPACE_WRAPPER` for crates of the workspace alone, and keeps what they become apart from what they
//! are without it.
//! Must never: change how anything is compiled that does not end in a program with libFuzzer: the symbols are its own.

use crate::command::Program;
use anyhow::{Context, Result};
use std::process::{Command, ExitCode};

/// Says that this program is to be rustc.
const STAND_IN: &str = "BULKHEAD_FUZZ_COVERAGE";
/// Counters at each edge, and what numbers and texts are compared with, for libFuzzer.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Has Cargo compile through this program.
///
/// # Errors
/// Where this program does not know where it is.
pub(super) fn instrument(cargo: Program) -> Result<Program> {
    let own = std::env::current_exe().context("finding this program")?;
    Ok(cargo.env("RUSTC_WORKSPACE_WRAPPER", own).env(STAND_IN, "1"))
}

/// Is rustc, where Cargo called this program for it: the arguments are rustc's path and its own.
pub(crate) fn stand_in(arguments: &[String]) -> Option<ExitCode> {
    std::env::var_os(STAND_IN)?;
    let (rustc, rest) = arguments.split_first()?;
    let flags: &[&str] = if ends_in_libfuzzer(rest) { &FLAGS } else { &[] };
    let status = Command::new(rustc).args(rest).args(flags).status();
    Some(match status.ok().and_then(|status| status.code()) {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Whether a crate is linked into one of the programs. What runs while compiling is not, and a question about the compiler has no crate.
fn ends_in_libfuzzer(arguments: &[String]) -> bool {
    let after = |name: &str| {
        let mut pairs = arguments.windows(2).filter(|pair| pair[0] == name);
        pairs.next().map(|pair| pair[1].as_str())
    };
    let Some(name) = after("--crate-name") else { return false };
    !name.starts_with("build_script_") && after("--crate-type") != Some("proc-macro")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_while_compiling_is_left_alone() {
        let of = |text: &str| ends_in_libfuzzer(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(of("--crate-name bulkhead_core --edition=2024 src/lib.rs --crate-type lib"));
        assert!(of("--crate-name columns fuzz_targets/columns.rs --crate-type bin"));
        assert!(!of("--crate-name build_script_build build.rs --crate-type bin"));
        assert!(!of("--crate-name bulkhead_sdk_macros src/lib.rs --crate-type proc-macro"));
        assert!(!of("-vV"));
    }
}
