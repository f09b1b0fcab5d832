//! The data folder: who may read it, and that one process uses it.
//!
//! Promises that folders made here have mode 0700 and files 0600, whatever the umask, and that a second process is told so instead
//! of sharing. Must never: loosen the mode of something that is already there.

use bulkhead_core::code::Code;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock is waited for. One that ends gives it back at once; but a child that was started at that moment has it until it begins its own
/// program.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Why the data folder, the keys or the metadata cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct OpenError {
    /// The page that explains it.
    pub code: Code,
    /// What to do, for the operator.
    pub message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl OpenError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }

    pub(crate) fn because(
        code: Code,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self { code, message: format!("{}: {source}", message.into()), source: Some(source) }
    }

    fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self::because(Code::ConfigInvalid, format!("cannot {what} `{}`", path.display()), source)
    }
}

/// The folder, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl Folder {
    /// Makes the folder where needed and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        make_private_dir(path)?;
        let lock_path = path.join("control.lock");
        let lock = open_private(&lock_path).map_err(|error| OpenError::io("open", &lock_path, error))?;
        match lock_soon(&lock) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::new(
                Code::FolderLocked,
                format!(
                    "another process uses the data folder `{}`; stop it, or give this one a folder of its own",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &lock_path, error)),
        }
    }

    /// A folder within, made where needed.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf, OpenError> {
        let path = self.path.join(name);
        make_private_dir(&path)?;
        Ok(path)
    }

    /// A file within, made empty where needed: SQLite gives its journal files the mode of the database that it finds.
    pub(crate) fn file(&self, name: &str) -> Result<PathBuf, OpenError> {
        let path = self.path.join(name);
        open_private(&path).map_err(|error| OpenError::io("open", &path, error))?;
        Ok(path)
    }
}

/// Takes the lock, or says that another process keeps it.
fn lock_soon(lock: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_AGAIN),
            done => return done,
        }
    }
}

/// Makes a folder with mode 0700, parents included, where it is not there.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| OpenError::io("make", path, error))
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
