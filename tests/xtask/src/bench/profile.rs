//! Where an engine's time goes, by `perf`: by thread, by library and by function.
//!
//! Must never: run during a measurement, since sampling costs time itself.

use crate::command::{program, target};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Samples a second: enough for 0.1 % over some seconds, and not a round number, so that nothing beats with it.
const FREQUENCY: &str = "997";
/// Lines of each list.
const LINES: usize = 30;

/// The same command, run under `perf record`, and where it will write.
///
/// # Errors
/// Where there is no `perf` that works.
pub(crate) fn wrap(command: &[String]) -> Result<(Vec<String>, PathBuf)> {
    ensure!(
        program("perf").args(["record", "-o", "/dev/null", "true"]).succeeds(),
        "`perf record` does not work here: on Debian run `sudo apt-get install linux-perf`, and allow it with \
         `sudo sysctl kernel.perf_event_paranoid=1` where this is not root"
    );
    let file = target().join("bench/perf.data");
    let words = ["perf", "record", "--quiet", "-F", FREQUENCY, "-o", &file.display().to_string(), "--"];
    Ok((words.map(str::to_owned).into_iter().chain(command.iter().cloned()).collect(), file))
}

/// Prints what `perf` recorded.
///
/// # Errors
/// Where it recorded nothing.
pub(crate) fn print(file: &std::path::Path) -> Result<()> {
    for (title, keys) in [("by thread", "comm"), ("by library", "dso"), ("by function", "symbol,dso")] {
        let report = program("perf")
            .args(["report", "--stdio", "--no-children", "--percent-limit", "0.3", "--sort", keys, "-i"])
            .arg(file)
            .output()
            .context("perf could not read what it recorded")?;
        println!("\n{title}");
        let lines = report.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.take(LINES).for_each(|line| println!("{}", line.trim_end_matches([' ', '-'])));
    }
    Ok(())
}
