//! Where a master key is, as an operator writes it: `file:/path`, `env:NAME` or `command:/path/to/program`.
//!
//! Must never: hold the key itself.

use crate::command::CommandMaster;
use crate::error::VaultError;
use crate::local::LocalMaster;
use crate::master::MasterKey;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MasterKeySource {
    /// The file `keys/master.key` of the data folder, made at first start.
    #[default]
    DataFolder,
    /// This file, which must be there.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This program, which speaks to a key service: see [`CommandMaster`].
    Command(PathBuf),
}

/// A text that says no place of a master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write file:/path, env:NAME or command:/path/to/program")]
pub struct MasterKeySourceError;

impl FromStr for MasterKeySource {
    type Err = MasterKeySourceError;
    fn from_str(text: &str) -> Result<Self, MasterKeySourceError> {
        match text.split_once(':') {
            Some((_, "")) | None => Err(MasterKeySourceError),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("env", name)) => Ok(Self::Environment(name.to_owned())),
            Some(("command", path)) => Ok(Self::Command(path.into())),
            // Whatever else stands there may be the key itself, so it is not repeated.
            Some(_) => Err(MasterKeySourceError),
        }
    }
}

impl MasterKeySource {
    /// The master key, for a process with this data folder.
    ///
    /// # Errors
    /// [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable).
    pub fn open(&self, data_dir: &Path) -> Result<Arc<dyn MasterKey>, VaultError> {
        Ok(match self {
            Self::DataFolder => {
                let folder = data_dir.join("keys");
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
                    VaultError::master(format!("cannot make the folder `{}`: {error}", folder.display()))
                })?;
                Arc::new(LocalMaster::file_or_new(&folder.join("master.key"))?)
            }
            Self::File(path) => Arc::new(LocalMaster::file(path)?),
            Self::Environment(name) => Arc::new(LocalMaster::environment(name)?),
            Self::Command(program) => Arc::new(CommandMaster::open(program, Vec::new())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_of_three_and_a_key_is_none() {
        assert_eq!("file:/a/b:c".parse(), Ok(MasterKeySource::File("/a/b:c".into())));
        assert_eq!("env:MASTER".parse(), Ok(MasterKeySource::Environment("MASTER".to_owned())));
        assert_eq!("command:/usr/bin/kms".parse(), Ok(MasterKeySource::Command("/usr/bin/kms".into())));
        for bad in ["", "file", "file:", "/a/b", "key:00ff", &"5e".repeat(32)] {
            assert_eq!(bad.parse::<MasterKeySource>(), Err(MasterKeySourceError), "{bad}");
        }
        assert!(!MasterKeySourceError.to_string().contains("00ff"));
    }
}
