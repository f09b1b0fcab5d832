//! The programs under test, built once a process: the bulkhead binary and the stages of the workspace.
//!
//! `BULKHEAD_BIN` names a binary to take instead of building one. Otherwise the profile is this program's own: what runs with
//! optimisation tests an optimised host.
//! Must never: take a stale binary without being told to; cargo decides whether there is something to build.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names a bulkhead binary to use as it is.
const BINARY_VARIABLE: &str = "BULKHEAD_BIN";
const WASM_TARGET: &str = "wasm32-wasip2";
/// The Cargo profile of stages, in the root Cargo.toml.
const GUEST_PROFILE: &str = "guest";

static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
static STAGES: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();

/// The folder of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().unwrap_or(here)
}

/// Where Cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The bulkhead binary.
///
/// # Errors
/// Where it does not build.
pub fn bulkhead() -> Result<&'static Path> {
    let built = BINARY.get_or_init(|| build_binary().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("no bulkhead binary: {error}"))
}

fn build_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return Path::new(&path).canonicalize().with_context(|| format!("{BINARY_VARIABLE} names no file"));
    }
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let artifacts = build(&["--workspace", "--bin", "bulkhead", "--profile", profile])?;
    let executable = artifacts.iter().find_map(|artifact| artifact["executable"].as_str());
    Ok(PathBuf::from(executable.context("cargo named no executable")?))
}

/// The component of a stage, by its package's name, for instance `flights-enrich`. All stages of the workspace are built at the first
/// call.
///
/// # Errors
/// Where they do not build, or none has this name.
pub fn stage(package: &str) -> Result<&'static Path> {
    let built = STAGES.get_or_init(|| build_stages().map_err(|error| format!("{error:#}")));
    let stages = built.as_ref().map_err(|error| anyhow::anyhow!("no stages: {error}"))?;
    let Some(path) = stages.get(package) else {
        bail!("no stage is called `{package}`; there are {}", stages.keys().cloned().collect::<Vec<_>>().join(", "))
    };
    Ok(path)
}

fn build_stages() -> Result<BTreeMap<String, PathBuf>> {
    let said = run(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&said).context("cargo metadata is not JSON")?;
    let names = stages_of(&metadata);
    let mut arguments = vec!["--target", WASM_TARGET, "--profile", GUEST_PROFILE];
    names.iter().for_each(|name| arguments.extend(["--package", name]));
    let mut stages = BTreeMap::new();
    for artifact in build(&arguments)? {
        let files = list(&artifact["filenames"]).iter().filter_map(Value::as_str);
        let Some(wasm) = files.map(PathBuf::from).find(|file| file.extension().is_some_and(|e| e == "wasm")) else {
            continue;
        };
        let name = artifact["target"]["name"].as_str().unwrap_or_default().replace('_', "-");
        stages.insert(name, wasm);
    }
    Ok(stages)
}

/// Packages that give a `cdylib`: in this workspace, only stages do.
fn stages_of(metadata: &Value) -> Vec<String> {
    let gives = |target: &Value| list(&target["crate_types"]).iter().any(|kind| kind == "cdylib");
    let packages = list(&metadata["packages"]).iter().filter(|package| list(&package["targets"]).iter().any(gives));
    packages.filter_map(|package| package["name"].as_str()).map(str::to_owned).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Builds and gives cargo's messages about what it built.
fn build(arguments: &[&str]) -> Result<Vec<Value>> {
    let said = run(cargo().arg("build").args(arguments).args(["--message-format", "json-render-diagnostics"]))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter(|message| message["reason"] == "compiler-artifact").collect())
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`cargo {}` ended with {}", words.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_stage_is_found_by_its_name() {
        for name in ["flights-enrich", "flights-classify", "weather-alerts"] {
            let bytes = std::fs::read(stage(name).unwrap()).unwrap();
            assert!(bytes.starts_with(b"\0asm"), "{name}");
        }
        let unknown = stage("nobody").unwrap_err().to_string();
        assert!(unknown.contains("flights-enrich"), "{unknown}");
    }
}
