//! Where instances' folders lie: below one folder of this process, in a folder that processes share.
//!
//! `<scratch_dir>/<process>/<instance>/`, each name random and without meaning, each for its owner alone. A process holds a lock on its
//! folder, which the system lets go when the process ends however it ends; so whoever starts next removes what is not locked. An instance
//! reserves its bytes and handles before it starts, of what the process lends in all: a disk that is full would stop everybody.
//! Must never: remove the folder of a process that lives, or follow a link.

use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::limits::SCRATCH_OPEN_MAX;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tries to find a name, where another process sweeps at the same time.
const NAMES_TRIED_MAX: u32 = 100;

/// What an engine lends of scratch files.
pub(crate) struct Scratch {
    path: PathBuf,
    bytes_max: u64,
    own: Mutex<Option<Arc<Own>>>,
}

/// The folder of this process. Removed when the last instance and the engine are gone.
pub(super) struct Own {
    root: Dir,
    name: String,
    dir: Dir,
    /// Held for its lock.
    _locked: std::fs::File,
    lent: Mutex<Lent>,
}

struct Lent {
    bytes_left: u64,
    handles_left: usize,
}

/// What an instance has reserved, and its folder. Both are given back when it is dropped.
pub(super) struct Reserved {
    own: Arc<Own>,
    name: String,
    bytes: u64,
    pub(super) dir: Dir,
}

impl Scratch {
    /// For instances below `path`, which is made when the first one needs it; what dead processes left there is removed meanwhile.
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        let swept = path.clone();
        // Many files may have been left, and nobody need wait for them.
        let sweeping = std::thread::Builder::new().name("scratch-sweep".to_owned()).spawn(move || {
            if let Err(error) = sweep(&swept) {
                tracing::warn!(path = %swept.display(), %error, "scratch files of dead processes cannot be removed");
            }
        });
        if let Err(error) = sweeping {
            tracing::warn!(%error, "no thread to remove scratch files of dead processes");
        }
        Self { path, bytes_max, own: Mutex::default() }
    }

    /// A fresh, empty folder. Blocks.
    pub(super) fn lend(&self, bytes: u64) -> Result<Reserved, HostFault> {
        let own = self.own().map_err(|error| unavailable(&format!("{}: {error}", self.path.display())))?;
        own.reserve(bytes)?;
        match own.make() {
            Ok((name, dir)) => Ok(Reserved { own, name, bytes, dir }),
            Err(error) => {
                own.give_back(bytes);
                Err(unavailable(&error))
            }
        }
    }

    fn own(&self) -> io::Result<Arc<Own>> {
        let mut own = self.own.lock();
        if let Some(own) = own.as_ref() {
            return Ok(Arc::clone(own));
        }
        let made = Arc::new(Own::make_in(&self.path, self.bytes_max)?);
        *own = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl Own {
    /// # Ambient authority
    /// Opens the configured folder by path, and raises this process's limit of descriptors.
    fn make_in(path: &Path, bytes_max: u64) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let root = Dir::open_ambient_dir(path, ambient_authority())?;
        let lent = Mutex::new(Lent { bytes_left: bytes_max, handles_left: handles() });
        for _ in 0..NAMES_TRIED_MAX {
            let name = random_name();
            root.create_dir_with(&name, &private())?;
            // One that sweeps may have taken it for a dead one's.
            let Ok(dir) = root.open_dir(&name) else { continue };
            let Ok(locked) = lockable(&dir) else { continue };
            if flock(&locked, FlockOperation::NonBlockingLockExclusive).is_ok() && root.is_dir(&name) {
                return Ok(Self { root, name, dir, _locked: locked, lent });
            }
        }
        Err(io::Error::new(ErrorKind::WouldBlock, "no name is free"))
    }

    fn reserve(&self, bytes: u64) -> Result<(), HostFault> {
        let mut lent = self.lent.lock();
        let Some(bytes_left) = lent.bytes_left.checked_sub(bytes) else {
            return Err(unavailable(&format!("{} bytes are left, {bytes} are wanted", lent.bytes_left)));
        };
        let Some(handles_left) = lent.handles_left.checked_sub(SCRATCH_OPEN_MAX) else {
            return Err(unavailable(&format!("{} file descriptors are left", lent.handles_left)));
        };
        *lent = Lent { bytes_left, handles_left };
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        let mut lent = self.lent.lock();
        lent.bytes_left += bytes;
        lent.handles_left += SCRATCH_OPEN_MAX;
    }

    fn make(&self) -> io::Result<(String, Dir)> {
        let name = random_name();
        self.dir.create_dir_with(&name, &private())?;
        let dir = self.dir.open_dir(&name)?;
        Ok((name, dir))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let removed = empty(&self.dir).and_then(|()| self.root.remove_dir(&self.name));
        if let Err(error) = removed {
            tracing::warn!(%error, "scratch files cannot be removed; the next start does it");
        }
    }
}

impl Drop for Reserved {
    /// Blocks.
    fn drop(&mut self) {
        let removed = empty(&self.dir).and_then(|()| self.own.dir.remove_dir(&self.name));
        match removed {
            Ok(()) => self.own.give_back(self.bytes),
            // What is still on the disk stays reserved.
            Err(error) => tracing::warn!(%error, "an instance's scratch files cannot be removed"),
        }
    }
}

/// Removes everything in a folder. What lies deep is brought up first: a guest may have nested folders deeper than a path or a stack goes.
fn empty(dir: &Dir) -> io::Result<()> {
    let mut brought_up = 0_u64;
    loop {
        let mut found = false;
        for entry in dir.entries()? {
            found = true;
            let (entry, name) = entry.map(|entry| (entry.file_type(), entry.file_name()))?;
            if !entry?.is_dir() {
                dir.remove_file(&name)?;
            } else if dir.remove_dir(&name).is_err() {
                let folder = dir.open_dir(&name)?;
                for inner in folder.entries()? {
                    let inner = inner?;
                    if inner.file_type()?.is_dir() {
                        brought_up += 1;
                        // Not to be guessed by a guest, whose own names are here too.
                        let free = format!("{}-{brought_up}", random_name());
                        folder.rename(inner.file_name(), dir, free)?;
                    } else {
                        folder.remove_file(inner.file_name())?;
                    }
                }
                drop(folder);
                dir.remove_dir(&name)?;
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Removes the folders of processes that are no more.
fn sweep(path: &Path) -> io::Result<()> {
    let root = match Dir::open_ambient_dir(path, ambient_authority()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for entry in root.entries()? {
        let name = entry?.file_name();
        let Ok(dir) = root.open_dir(&name) else { continue };
        let Ok(lock) = lockable(&dir) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        match empty(&dir).and_then(|()| root.remove_dir(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The folder, opened so that it can be locked: a [`Dir`] is only good for paths.
fn lockable(dir: &Dir) -> io::Result<std::fs::File> {
    Ok(dir.open(".")?.into_std())
}

/// How folders are made: for their owner alone.
pub(super) fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Handles for all instances together: half of what the process may open. Its limit is raised as far as it goes: systems start processes
/// with one for programs of another age.
fn handles() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)) / 2
}

/// What a worker says where it cannot lend.
pub(super) fn unavailable(cause: &impl ToString) -> HostFault {
    HostFault::new(Code::ScratchUnavailable, format!("scratch files: {}", cause.to_string()))
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
