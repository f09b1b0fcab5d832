//! Builds every stage of the repository for WebAssembly.
//!
//! A stage is a crate that gives a `cdylib`; nothing else in the repository does.
//! Must never: need a list of stages that somebody has to keep.

use crate::command::{cargo, target};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

const TARGET: &str = "wasm32-wasip2";
/// The Cargo profile of stages, in the root Cargo.toml: small and fast code whatever the host's profile is.
const PROFILE: &str = "guest";

/// Builds all stages and gives their files, sorted.
///
/// # Errors
/// Where one does not build.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    let stages = stages()?;
    ensure!(!stages.is_empty(), "there is no stage in this workspace");
    let mut arguments = vec!["build", "--target", TARGET, "--profile", PROFILE];
    for stage in &stages {
        arguments.extend(["--package", &stage.package]);
    }
    cargo(arguments).run()?;
    let folder = folder();
    Ok(stages.iter().map(|stage| folder.join(format!("{}.wasm", stage.file))).collect())
}

/// Where [`build`] puts the files.
pub(crate) fn folder() -> PathBuf {
    target().join(TARGET).join(PROFILE)
}

/// Prints the size of each file.
///
/// # Errors
/// Where one is not there.
pub(crate) fn print_sizes(files: &[PathBuf]) -> Result<()> {
    for file in files {
        let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        println!("{:>9.1} KiB  {}", bytes as f64 / 1024.0, shown(file));
    }
    Ok(())
}

fn shown(file: &Path) -> String {
    file.strip_prefix(crate::command::root()).unwrap_or(file).display().to_string()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stage {
    package: String,
    file: String,
}

fn stages() -> Result<Vec<Stage>> {
    let metadata = cargo(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    parse(&metadata)
}

fn parse(metadata: &str) -> Result<Vec<Stage>> {
    let metadata: serde_json::Value = serde_json::from_str(metadata).context("cargo metadata is not JSON")?;
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut stages = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            if list(&target["crate_types"]).iter().any(|kind| kind == "cdylib") {
                stages.push(Stage { package: text(&package["name"]), file: text(&target["name"]).replace('-', "_") });
            }
        }
    }
    stages.sort();
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_the_crates_that_give_a_cdylib() {
        let metadata = r#"{"packages": [
            {"name": "host", "targets": [{"name": "host", "crate_types": ["lib"]}]},
            {"name": "price-stage", "targets": [{"name": "price_stage", "crate_types": ["cdylib", "rlib"]}]}
        ]}"#;
        let expected = Stage { package: "price-stage".to_owned(), file: "price_stage".to_owned() };
        assert_eq!(parse(metadata).unwrap(), [expected]);
    }
}
