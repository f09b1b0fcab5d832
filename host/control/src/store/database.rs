//! The database that metadata lives in: a file of SQLite's, or PostgreSQL.
//!
//! Both take the same SQL, by sqlx's driver for any database, which has types of its own: integers, texts and bytes come back as they are,
//! but a boolean of SQLite's does not, so one is selected as `CAST(x AS INTEGER)`.
//! Must never: show a database's address or password.

use super::postgres;
use crate::folder::OpenError;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use sqlx::AnyPool;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a request waits for a connection before it is told to come again.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections that read, of SQLite's.
const READERS: u32 = 4;
/// What a connection to SQLite begins with. Its own waits for another process's lock, for instance a backup's, end after five seconds. What is
/// deleted is overwritten: a tenant's keys among it.
const PRAGMAS: &str =
    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON";

/// Which metadata to open.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// An existing file of SQLite's.
    File(PathBuf),
    /// PostgreSQL.
    Postgres(Box<postgres::Access>),
}

/// What differs between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// Connections.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) kind: Kind,
    pub(super) read: AnyPool,
    pub(super) write: AnyPool,
    /// For the generation alone, so that who writes elsewhere and raises it does not wait for a connection that another such one holds.
    pub(super) raise: AnyPool,
    /// PostgreSQL: where tables are looked for.
    pub(super) search_path: String,
    /// Whether it is one tenant's own.
    pub(super) own: bool,
}

impl Database {
    /// Opens it and brings its schema up to date, or sees that it is.
    pub(super) async fn open(place: &Place) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        match place {
            Place::File(file) => sqlite(file).await,
            Place::Postgres(access) => postgres::open(access).await,
        }
    }

    /// What a request is told where no transaction could begin.
    pub(super) fn problem(&self, error: sqlx::Error) -> Problem {
        match self.kind {
            // Nothing but the way there can keep a transaction from beginning.
            Kind::Postgres => Problem::database_away(&error.to_string()),
            Kind::Sqlite => error.into(),
        }
    }

    /// Waits for running statements and closes the connections.
    pub(super) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

async fn sqlite(file: &Path) -> Result<Database, OpenError> {
    let unusable = |error: sqlx::Error| {
        OpenError::because(Code::ConfigInvalid, format!("cannot open the metadata `{}`", file.display()), error)
    };
    let pragmas = |options: AnyPoolOptions| {
        options.acquire_timeout(ACQUIRE_TIME_MAX).after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(PRAGMAS).execute(&mut *connection).await.map(drop) })
        })
    };
    let write = AnyPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let write = pragmas(write).connect_with(address(file, "rw").map_err(unusable)?).await.map_err(unusable)?;
    // Written into the file, so that readers need not.
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&write).await.map_err(unusable)?;
    sqlx::migrate!("./migrations").run(&write).await.map_err(|error| {
        let message = format!("cannot bring the metadata `{}` up to date", file.display());
        OpenError::because(schema_code(&error), message, error)
    })?;
    let read = pragmas(AnyPoolOptions::new().max_connections(READERS));
    let read = read.connect_with(address(file, "ro").map_err(unusable)?).await.map_err(unusable)?;
    Ok(Database { kind: Kind::Sqlite, read, raise: write.clone(), write, search_path: String::new(), own: false })
}

/// The file as sqlx's driver wants it, in which some characters of a path mean something.
fn address(file: &Path, mode: &str) -> sqlx::Result<AnyConnectOptions> {
    use std::os::unix::ffi::OsStrExt;
    let file = file.canonicalize()?;
    let mut url = "sqlite://".to_owned();
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{url}?mode={mode}").parse()
}

/// Whether the schema is one of a newer version, or cannot be changed for another reason.
pub(super) fn schema_code(error: &sqlx::migrate::MigrateError) -> Code {
    match error {
        sqlx::migrate::MigrateError::VersionMissing(_) => Code::SchemaNewer,
        _ => Code::ConfigInvalid,
    }
}
