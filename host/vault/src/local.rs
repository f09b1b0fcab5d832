//! A master key in this process's memory, from a file or from an environment variable.
//!
//! A file is made at first start with mode 0600, whole or not at all, and refused where group or others may read it. Both hold the key as
//! 64 hex digits.
//! Must never: be used from a file that others can read, or make a second key where there is one.

use crate::aead;
use crate::error::VaultError;
use crate::key::{DataKey, KEY_BYTES};
use crate::master::{MasterKey, MasterKeyId};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// See the module's documentation.
#[derive(Clone)]
pub struct LocalMaster {
    key: DataKey,
    id: MasterKeyId,
}

impl std::fmt::Debug for LocalMaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalMaster").field(&self.id.to_string()).finish()
    }
}

impl LocalMaster {
    fn new(key: DataKey) -> Self {
        let id = MasterKeyId::of("bulkhead.master-key.local", key.expose());
        Self { key, id }
    }

    /// A new key, in no file.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        DataKey::generate().map(Self::new)
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable) where it cannot be read or holds no key, or where group or
    /// others may read it.
    pub fn file(path: &Path) -> Result<Self, VaultError> {
        let refused =
            |error: io::Error| VaultError::master(format!("cannot read the master key `{}`: {error}", path.display()));
        let mode = fs::metadata(path).map_err(refused)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::master(format!(
                "the master key `{0}` has mode {1:03o}: others may have read it. Rotate it, or run `chmod 600 {0}` if you know \
                 that nobody has",
                path.display(),
                mode & 0o777
            )));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(refused)?);
        Self::parse(&text)
            .ok_or_else(|| VaultError::master(format!("`{}` holds no master key: 64 hex digits", path.display())))
    }

    /// The key in a file that is made, with a new key, where there is none. The folder must be there.
    ///
    /// # Errors
    /// As [`LocalMaster::file`]; where it cannot be made.
    pub fn file_or_new(path: &Path) -> Result<Self, VaultError> {
        let refused =
            |error: io::Error| VaultError::master(format!("cannot make the master key `{}`: {error}", path.display()));
        if !path.try_exists().map_err(refused)? {
            Self::generate()?.write(path).map_err(refused)?;
        }
        Self::file(path)
    }

    /// The key in an environment variable.
    ///
    /// # Errors
    /// [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable) where it is not set or holds no key.
    pub fn environment(name: &str) -> Result<Self, VaultError> {
        let text = std::env::var(name).map(Zeroizing::new);
        let text = text.map_err(|_| VaultError::master(format!("the environment variable `{name}` is not set")))?;
        Self::parse(&text).ok_or_else(|| {
            VaultError::master(format!("`{name}` in the environment holds no master key: 64 hex digits"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), &mut *bytes).ok()?;
        DataKey::take(&mut *bytes).ok().map(Self::new)
    }

    /// Writes the key beside `path` and links it there, so that two processes that start together end up with one key, and no reader
    /// ever sees half of one. A file that is there stays.
    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let text = Zeroizing::new(format!("{}\n", &*Zeroizing::new(hex::encode(self.key.expose()))));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }
}

impl MasterKey for LocalMaster {
    fn id(&self) -> MasterKeyId {
        self.id
    }

    fn wrap(&self, place: &[u8], key: &DataKey) -> Result<Vec<u8>, VaultError> {
        let mut wrapped = Vec::new();
        aead::seal(&self.key, place, key.expose(), &mut wrapped)?;
        Ok(wrapped)
    }

    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<DataKey, VaultError> {
        let opened = aead::open(&self.key, place, wrapped);
        let mut opened = opened.ok_or_else(|| {
            VaultError::unwrap("a tenant's key was changed, or belongs to another tenant or master key")
        })?;
        DataKey::take(&mut opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::code::Code;

    #[test]
    fn a_file_is_made_once_and_is_only_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = LocalMaster::file_or_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(LocalMaster::file_or_new(&path).unwrap().id(), first.id());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = LocalMaster::file_or_new(&path).unwrap_err();
        assert_eq!(refused.code, Code::MasterKeyUnusable);
        assert!(refused.message.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        for bad in ["", "zz", &"a".repeat(63), &"a".repeat(66), &"g".repeat(64)] {
            fs::write(&path, bad).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let refused = LocalMaster::file(&path).unwrap_err();
            assert!(bad.is_empty() || bad == "zz" || !refused.message.contains(bad), "{refused}");
        }
        assert!(LocalMaster::environment("BULKHEAD_TEST_NO_SUCH_VARIABLE").is_err());
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let master = LocalMaster::parse(&"5e".repeat(32)).unwrap();
        let shown = format!("{master:?} {:?}", master.key);
        assert!(!shown.contains("5e5e") && !shown.contains("94, 94"), "{shown}");
    }
}
