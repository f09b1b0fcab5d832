//! Folders for one test's files, under `target/testbed`.
//!
//! Must never: remove what a test that failed left behind; its logs say why.

use crate::binary::target;
use crate::wait::failing;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A new folder, removed on drop unless the thread's test fails.
#[derive(Debug)]
pub struct Folder(Option<TempDir>);

impl Folder {
    /// Makes one; its name begins with `what`.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn new(what: &str) -> Result<Self> {
        let parent = target().join("testbed");
        std::fs::create_dir_all(&parent).with_context(|| format!("making {}", parent.display()))?;
        let made = tempfile::Builder::new().prefix(&format!("{what}-")).tempdir_in(&parent)?;
        Ok(Self(Some(made)))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Where something in it is.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Keeps it, and says where it is.
    pub fn keep(&mut self) -> PathBuf {
        self.0.take().map(TempDir::keep).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if failing() {
            let kept = self.keep();
            if !kept.as_os_str().is_empty() {
                eprintln!("kept for a look: {}", kept.display());
            }
        }
    }
}
