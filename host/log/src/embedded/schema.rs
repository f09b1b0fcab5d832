//! Opens the folder of an embedded log: its lock, its database, its tables.
//!
//! Must never: open a folder that another process has open, or a database of a newer version.

use super::store::database;
use crate::LogError;
use bulkhead_core::code::Code;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// The database's name in its folder.
pub(super) const DATABASE: &str = "log.sqlite";
const LOCK: &str = "log.lock";
const VERSION: i64 = 2;

/// Large pages, because rows are large; a checkpoint about every 64 MiB; durable at every commit.
const WRITER_PRAGMAS: &str = "
    PRAGMA page_size = 16384;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16384;
";

/// `batches`: a row for each run of records of a partition; `data` is made by `block`. `ends`: where a partition goes on, kept apart so
/// that it outlives the records. Topics are known by number, never used again, so that a new topic of an old name starts empty.
const TABLES: &str = "
    BEGIN;
    CREATE TABLE topics (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
        partitions INTEGER NOT NULL, max_record_bytes INTEGER NOT NULL, compacted INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE ends (
        topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE batches (
        topic INTEGER NOT NULL, partition INTEGER NOT NULL, base INTEGER NOT NULL, last INTEGER NOT NULL,
        max_timestamp INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batches_by_last ON batches (topic, partition, last);
    CREATE TABLE positions (
        consumer TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (consumer, topic, partition)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 2;
    COMMIT;
";

/// From version 1, which knew no compaction.
const FROM_1: &str = "
    BEGIN;
    ALTER TABLE topics ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0;
    PRAGMA user_version = 2;
    COMMIT;
";

/// Takes the folder for this process; it stays taken as long as the file is open.
pub(super) fn lock(folder: &Path) -> Result<File, LogError> {
    let away =
        |error| LogError::new(Code::LogUnavailable, format!("cannot open the folder {}: {error}", folder.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(away)?;
    let file = open_private(&folder.join(LOCK)).map_err(away)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::new(
            Code::FolderLocked,
            format!(
                "another process has the folder {} open: end it first, or give this one a folder of its own",
                folder.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(away(error)),
    }
}

/// Opens a file for writing that, where this makes it, only this user can read: tenants' records are in it.
fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// The connection that writes, with tables made where there are none.
pub(super) fn open_writer(folder: &Path) -> Result<Connection, LogError> {
    let path = folder.join(DATABASE);
    // SQLite gives the files beside the database the modes of the database.
    open_private(&path)
        .map_err(|error| LogError::new(Code::LogUnavailable, format!("cannot open {}: {error}", path.display())))?;
    let conn = Connection::open(&path).map_err(|error| database(&error))?;
    conn.execute_batch(WRITER_PRAGMAS).map_err(|error| database(&error))?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| database(&error))?;
    match version {
        0 => conn.execute_batch(TABLES).map_err(|error| database(&error))?,
        1 => conn.execute_batch(FROM_1).map_err(|error| database(&error))?,
        VERSION => {}
        newer => {
            let text =
                format!("{} has version {newer}, and this program knows {VERSION}: use a newer one", path.display());
            return Err(LogError::new(Code::ConfigInvalid, text));
        }
    }
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn open_reader(folder: &Path) -> Result<Connection, LogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(folder.join(DATABASE), flags).map_err(|error| database(&error))?;
    // Only a checkpoint that resets the file can make a reader wait, and briefly.
    conn.busy_timeout(Duration::from_secs(5)).map_err(|error| database(&error))?;
    conn.execute_batch("PRAGMA cache_size = -2048;").map_err(|error| database(&error))?;
    Ok(conn)
}
