//! Compiled code on disk: one file for each digest and fingerprint, authenticated before it is used.
//!
//! Loading compiled code is trusting it with the process. So each file begins with a MAC over its digest, its fingerprint and the code, under a
//! key that only the host's user can read; a file that someone else wrote, or that rotted, is removed and made anew.
//! Must never: give back code whose MAC is wrong, or follow a path out of its folder.

mod sweep;

use crate::config::EngineConfig;
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::name::ModuleDigest;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the MAC is for, so that it can never be mistaken for another.
const PURPOSE: &[u8] = b"bulkhead compiled code 1";
const MAC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

/// The folder of compiled code.
pub(crate) struct Cache {
    dir: Dir,
    key: [u8; KEY_BYTES],
    fingerprint: [u8; 32],
    entry_bytes_max: u64,
    bytes_max: u64,
}

impl Cache {
    /// # Ambient authority
    /// Opens the configured folder and key, by path.
    pub(crate) fn open(config: &EngineConfig, fingerprint: [u8; 32]) -> Result<Self, HostFault> {
        let failed = |path: &Path, error: &io::Error| {
            HostFault::new(Code::ConfigInvalid, format!("the cache of compiled code, {}: {error}", path.display()))
        };
        let folder = config.cache_dir.as_path();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(folder, &error))?;
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).map_err(|error| failed(folder, &error))?;
        let path = config.cache_key.clone().unwrap_or_else(|| beside(folder, ".key"));
        let key = open_key(&path).map_err(|error| failed(&path, &error))?;
        let entry_bytes_max = config.compile.output_bytes + MAC_BYTES as u64;
        Ok(Self { dir, key, fingerprint, entry_bytes_max, bytes_max: config.cache_bytes_max })
    }

    /// The code of a module, or `None` where there is none that can be trusted. Blocks.
    pub(crate) fn get(&self, digest: &ModuleDigest) -> Option<Vec<u8>> {
        let name = self.name(digest);
        let file = match self.dir.open(&name) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code cannot be opened and is made anew");
                return None;
            }
        };
        let file = file.into_std();
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::warn!(%digest, %error, "compiled code cannot be marked as used and may be swept early");
        }
        let mut entry = Vec::new();
        if let Err(error) = file.take(self.entry_bytes_max + 1).read_to_end(&mut entry) {
            tracing::warn!(%digest, %error, "compiled code cannot be read and is made anew");
            return None;
        }
        if self.authentic(digest, &entry) {
            entry.drain(..MAC_BYTES);
            return Some(entry);
        }
        self.reject(digest, "its MAC is wrong");
        None
    }

    /// Removes an entry that must not be used.
    pub(crate) fn reject(&self, digest: &ModuleDigest, why: &str) {
        tracing::warn!(code = Code::CacheRejected.id(), %digest, why, "compiled code was rejected and is made anew");
        if let Err(error) = self.dir.remove_file(self.name(digest)) {
            tracing::warn!(%digest, %error, "rejected code cannot be removed; it stays unused");
        }
    }

    /// Keeps a module's code. Blocks. A failure costs another compilation later, so it is no error.
    pub(crate) fn put(&self, digest: &ModuleDigest, code: &[u8]) {
        if let Err(error) = self.write(digest, code) {
            tracing::warn!(%digest, %error, "compiled code cannot be kept");
        }
        if let Err(error) = sweep::sweep(&self.dir, self.bytes_max) {
            tracing::warn!(%error, "the cache of compiled code cannot be swept and may grow");
        }
    }

    /// Removes the code of all modules but these, whatever made it, half-written code too. Blocks.
    pub(crate) fn keep_only(&self, digests: &BTreeSet<ModuleDigest>) {
        let kept: BTreeSet<String> = digests.iter().map(ModuleDigest::hex).collect();
        if let Err(error) =
            sweep::keep_only(&self.dir, |name| name.split('.').next().is_some_and(|hex| kept.contains(hex)))
        {
            tracing::warn!(%error, "compiled code that nobody uses cannot be removed and stays");
        }
    }

    fn write(&self, digest: &ModuleDigest, code: &[u8]) -> io::Result<()> {
        let name = self.name(digest);
        let temporary = format!("{name}.{:016x}{}", rand::random::<u64>(), sweep::UNFINISHED);
        let written = self.dir.create(&temporary).and_then(|mut file| {
            file.write_all(&self.mac(digest, code).finalize().into_bytes())?;
            file.write_all(code)?;
            file.sync_all()
        });
        let kept = written.and_then(|()| self.dir.rename(&temporary, &self.dir, &name));
        if kept.is_err() {
            // Best effort: the failure to report is the first one.
            _ = self.dir.remove_file(&temporary);
        }
        kept
    }

    fn name(&self, digest: &ModuleDigest) -> String {
        format!("{}.{}", digest.hex(), hex::encode(&self.fingerprint[..8]))
    }

    fn authentic(&self, digest: &ModuleDigest, entry: &[u8]) -> bool {
        entry.split_at_checked(MAC_BYTES).is_some_and(|(mac, code)| self.mac(digest, code).verify_slice(mac).is_ok())
    }

    fn mac(&self, digest: &ModuleDigest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length of key will do");
        for part in [PURPOSE, digest.as_bytes(), &self.fingerprint, code] {
            mac.update(part);
        }
        mac
    }
}

/// What lies by default beside the folder, not in it: the key, and scratch files.
pub(crate) fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().map_or_else(|| OsString::from("cache"), OsString::from);
    name.push(ending);
    folder.with_file_name(name)
}

/// Reads the key, or makes one. It appears whole or not at all, so that two hosts that start together have the same.
fn open_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match read_key(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        done => return done,
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{:016x}.new", rand::random::<u64>()));
    let temporary = PathBuf::from(temporary);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&rand::random::<[u8; KEY_BYTES]>())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read_key(path),
    }
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut file = std::fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "the key is open to others; `chmod 600` it or remove it",
        ));
    }
    let mut key = [0; KEY_BYTES];
    file.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
