//! Builds a stage's component with the cargo that runs the tests.
//!
//! What it promises: what runs is built from the sources as they are now; cargo decides what is still fresh.
//! Must never: hand the test run's own flags to the compiler; they are for another target.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Settings of the outer cargo that do not hold for an inner one.
const NOT_INHERITED: [&str; 5] =
    ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"];

/// Compiles the crate in this folder to a component with the profile `guest`, and says where it is.
pub(crate) fn component(folder: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--manifest-path").arg(folder.join("Cargo.toml"));
    cargo.args([
        "--lib",
        "--target",
        "wasm32-wasip2",
        "--profile",
        "guest",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.args(["--config", "profile.guest.inherits=\"release\""]);
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    let output = cargo.stdin(Stdio::null()).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let mut found = None;
    for message in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(message).context("cargo's messages are not JSON")?;
        let files = message["filenames"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        found = files.map(PathBuf::from).rfind(|file| file.extension().is_some_and(|e| e == "wasm")).or(found);
    }
    found.context("cargo built no component; a stage needs `crate-type = [\"cdylib\", \"rlib\"]`")
}
