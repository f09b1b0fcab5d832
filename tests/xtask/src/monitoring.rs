//! What operators are given for Prometheus, checked by Prometheus' own tool: the rules' form, and that they fire when they should.
//!
//! That every metric they and the dashboards name is one of the code's is a test of the workspace's rules (tests/architecture/metrics.rs).
//! Must never: pass where there is nothing to check.

use crate::command::{cargo, program, root, target};
use crate::setup;
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// Runs `promtool check rules` and `promtool test rules`; `programs` is the folder with promtool.
///
/// # Errors
/// Where a rule is malformed, or a test of one fails.
pub(crate) fn check(programs: &Path) -> Result<()> {
    let folder = root().join("deploy/prometheus");
    for (verb, files) in [("check", "rules"), ("test", "tests")] {
        program(programs.join("promtool")).args([verb, "rules"]).args(files_of(&folder.join(files))?).run()?;
    }
    Ok(())
}

/// Draws the dashboards into a folder.
///
/// # Errors
/// Where the host does not build, or a panel has nothing to show.
pub(crate) fn draw(folder: &str) -> Result<()> {
    setup::run(setup::Needs::Everything)?;
    cargo(["build", "--workspace", "--all-targets"]).run()?;
    let folder = std::path::absolute(folder)?;
    let test = ["test", "--workspace", "--test", "all", "--", "dashboards::", "--nocapture"];
    cargo(test).env("BULKHEAD_BIN", target().join("debug/bulkhead")).env("BULKHEAD_DASHBOARDS", folder).run()
}

/// The YAML files of a folder.
fn files_of(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path().display().to_string()).collect();
    files.retain(|file| Path::new(file).extension().is_some_and(|end| end == "yml"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no rules", folder.display());
    Ok(files)
}
