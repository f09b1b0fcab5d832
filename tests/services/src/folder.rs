//! Where services are installed and where they run.
//!
//! Must never: remove a folder of a process that still runs.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the folder for installed services instead of `target/services`.
pub(crate) const FOLDER_VARIABLE: &str = "BULKHEAD_SERVICES_DIR";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The folder for installed services and running ones.
pub(crate) fn services() -> PathBuf {
    match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/services"),
    }
}

/// A new folder for one run of a service, removed on drop. What earlier processes left behind when they were killed goes now.
#[derive(Debug)]
pub(crate) struct RunFolder(PathBuf);

impl RunFolder {
    pub(crate) fn new() -> Result<Self> {
        let runs = services().join("run");
        std::fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
        sweep(&runs);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = runs.canonicalize()?.join(name);
        // A folder of this name can only be a dead process's, whose id this one was given again.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A test that fails wants the brokers' logs.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn sweep(runs: &Path) {
    let Ok(entries) = std::fs::read_dir(runs) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if process.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
