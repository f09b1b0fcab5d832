//! The worker's memory of its assignment: a file, replaced whole, so that a crash leaves the old or the new one.
//!
//! It holds the settings of all tenants' stages, so only this user can read it.
//! Must never: be needed while control answers.

use anyhow::Context;
use bulkhead_core::assignment::Assignment;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// See the module's documentation.
pub(crate) struct AssignmentFile {
    path: PathBuf,
}

impl AssignmentFile {
    /// The file of one slot, in a folder that is made where it is missing.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub(crate) fn open(data_dir: &Path, slot: &str) -> anyhow::Result<Self> {
        let folder = data_dir.join("worker").join(slot);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { path: folder.join("assignment.json") })
    }

    /// The folder that it is in.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// What was remembered, if anything.
    ///
    /// # Errors
    /// Where it is not readable.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Assignment>> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers this.
    ///
    /// # Errors
    /// Where it cannot be written; the old memory stays.
    pub(crate) fn write(&self, assignment: &Assignment) -> anyhow::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(assignment)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}
