//! The real services of tests and benchmarks, which the crate bulkhead-test-services installs.
//!
//! Must never: install anything itself.

use crate::command::{program, target};
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Installs the S3 server where it is missing. The host must have been built.
///
/// # Errors
/// Where it cannot be fetched and built.
pub(crate) fn install_s3() -> Result<()> {
    program(target().join("debug/bulkhead-test-services")).args(["install", "s3"]).output().map(drop)
}

/// Installs Keycloak where it is missing. The host must have been built.
///
/// # Errors
/// Where it cannot be fetched.
pub(crate) fn install_keycloak() -> Result<()> {
    program(target().join("debug/bulkhead-test-services")).args(["install", "keycloak"]).output().map(drop)
}

/// Fetches Prometheus where it is missing and gives the folder of its programs. The host must have been built.
///
/// # Errors
/// Where it cannot be fetched.
pub(crate) fn install_prometheus() -> Result<PathBuf> {
    let said = program(target().join("debug/bulkhead-test-services")).args(["install", "prometheus"]).output()?;
    let folder = said.lines().last().context("the installer did not say where Prometheus is")?;
    Ok(PathBuf::from(folder.trim()))
}

/// Installs Kafka where it is missing and gives the folder of its jars. The host must have been built.
///
/// # Errors
/// Where it cannot be fetched.
pub(crate) fn install() -> Result<PathBuf> {
    let said = program(target().join("debug/bulkhead-test-services")).args(["install", "kafka"]).output()?;
    let folder = said.lines().last().context("the installer did not say where Kafka is")?;
    Ok(PathBuf::from(folder.trim()))
}
