//! Builds what a sandbox needs with the cargo that runs the tests: the stage's component, and the engine's compiler child.
//!
//! What it promises: what runs is built from the sources as they are now; cargo decides what is still fresh.
//! Must never: hand the test run's own flags to the compiler; they are for another target.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Settings of the outer cargo that do not hold for an inner one.
const NOT_INHERITED: [&str; 5] =
    ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"];

/// Compiles the crate in this folder to a component, and says where it is.
///
/// The profile is `guest`, which this workspace defines; elsewhere it is `release` until the crate's workspace defines it.
pub(crate) fn component(folder: &Path) -> Result<PathBuf> {
    let mut cargo = cargo(&folder.join("Cargo.toml"));
    cargo.args(["--lib", "--target", "wasm32-wasip2", "--profile", "guest"]);
    cargo.args(["--config", "profile.guest.inherits=\"release\""]);
    run(cargo, |path| path.extension().is_some_and(|extension| extension == "wasm"))
        .with_context(|| format!("the stage in {} has no component", folder.display()))
}

/// Environment variable that names a compiler child built already, for instance by a run of all tests: nothing is built then.
const COMPILER: &str = "BULKHEAD_COMPILER";

/// Builds the program that the engine starts to compile a component, and says where it is.
pub(crate) fn compiler() -> Result<PathBuf> {
    const NAME: &str = "bulkhead-harness-compiler";
    if let Some(program) = std::env::var_os(COMPILER) {
        return Ok(PathBuf::from(program));
    }
    let mut cargo = cargo(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    cargo.args(["--bin", NAME]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    run(cargo, |path| path.file_stem().is_some_and(|name| name == NAME)).context("the compiler child was not built")
}

fn cargo(manifest: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--manifest-path").arg(manifest).arg("--message-format=json-render-diagnostics");
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs cargo, and gives the last file it made that is wanted.
fn run(mut cargo: Command, wanted: fn(&Path) -> bool) -> Result<PathBuf> {
    let output = cargo.stdin(Stdio::null()).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let mut found = None;
    for message in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(message).context("cargo's messages are not JSON")?;
        let files = message["filenames"].as_array().into_iter().flatten();
        let mut files = files.filter_map(serde_json::Value::as_str).map(PathBuf::from);
        found = files.rfind(|file| wanted(file)).or(found);
    }
    match found {
        Some(file) => Ok(file),
        None => bail!("cargo built nothing of that kind; a stage needs `crate-type = [\"cdylib\", \"rlib\"]`"),
    }
}
