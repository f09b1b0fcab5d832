//! The worker's memory of its assignment: a file, replaced whole, so that a crash leaves the old or the new one.
//!
//! Must never: be needed while control answers.

use anyhow::Context;
use bulkhead_core::assignment::Assignment;
use std::fs::File;
use std::io::Write;
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
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { path: folder.join("assignment.json") })
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
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(assignment)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}
