//! Metadata in SQLite: tenants, modules, pipelines, what workers reported, and the audit.
//!
//! One connection writes, so that writers queue here instead of failing inside SQLite; a few others read. Each function is one
//! transaction. Whatever touches a tenant's rows takes its [`TenantScope`](bulkhead_core::scope::TenantScope) and binds it
//! as the first parameter. Changes that workers must hear of raise the generation in the same transaction and announce it after.
//! Must never: build SQL from text, or take a tenant's name as a text.

mod answers;
mod assignment;
mod audit;
mod dead_letters;
mod deploy;
mod leftovers;
mod logs;
mod modules;
mod pipelines;
mod projects;
mod report;
mod revisions;
mod starts;
mod tags;
mod tenants;
mod topics;

pub(crate) use answers::{ANSWER_KEPT_MS, Answer};
pub(crate) use audit::{AuditEntry, AuditRow};
pub(crate) use dead_letters::{Mark, MarkState};
pub(crate) use deploy::{Applied, Deployed, Terms, Wanted, manifest_problem};
pub(crate) use leftovers::{Gone, Leftover};
pub(crate) use logs::{LogBound, LogEntry, LogFilter};
pub(crate) use modules::{ModuleRow, NewModule};
pub(crate) use pipelines::PipelineRow;
pub(crate) use projects::ProjectRow;
pub(crate) use report::Reporter;
pub(crate) use revisions::RevisionRow;
pub(crate) use starts::StartOver;
pub(crate) use tags::TagRow;
pub(crate) use tenants::{DEFAULT_PROJECT, TenantRow};

use crate::folder::OpenError;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// How long a request waits for a connection before it is told to come again.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long SQLite waits for a lock of another process, for instance a backup.
const BUSY_TIME_MAX: Duration = Duration::from_secs(5);
/// Connections that read.
const READERS: u32 = 4;

type Tx = Transaction<'static, Sqlite>;

/// The metadata.
#[derive(Debug)]
pub(crate) struct Store {
    read: SqlitePool,
    write: SqlitePool,
    generation: watch::Sender<u64>,
}

impl Store {
    /// Opens the database, which is an existing file, and brings its schema up to date.
    pub(crate) async fn open(file: &Path) -> Result<Self, OpenError> {
        let unusable = |error: sqlx::Error| {
            OpenError::because(Code::ConfigInvalid, format!("cannot open the metadata `{}`", file.display()), error)
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIME_MAX);
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(ACQUIRE_TIME_MAX)
            .connect_with(options.clone())
            .await
            .map_err(unusable)?;
        sqlx::migrate!("./migrations").run(&write).await.map_err(|error| {
            let message = format!("cannot bring the metadata `{}` up to date", file.display());
            OpenError::because(Code::ConfigInvalid, message, error)
        })?;
        let read = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIME_MAX)
            .connect_with(options.read_only(true))
            .await
            .map_err(unusable)?;
        let (generation,): (i64,) =
            sqlx::query_as("SELECT generation FROM generation").fetch_one(&read).await.map_err(unusable)?;
        Ok(Self { read, write, generation: watch::Sender::new(generation.cast_unsigned()) })
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), Problem> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Tells of every change that workers must hear of.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Waits for running statements and closes the files.
    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    async fn begin(&self) -> Result<Tx, Problem> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Ends a transaction whose change workers must hear of.
    async fn commit_raised(&self, mut tx: Tx) -> Result<u64, Problem> {
        let (generation,): (i64,) =
            sqlx::query_as("UPDATE generation SET generation = generation + 1 WHERE one = 1 RETURNING generation")
                .fetch_one(&mut *tx)
                .await?;
        tx.commit().await?;
        let generation = generation.cast_unsigned();
        self.generation.send_if_modified(|known| {
            let newer = generation > *known;
            *known = (*known).max(generation);
            newer
        });
        Ok(generation)
    }
}

#[cfg(test)]
mod tests;

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Which rows of a list are wanted: those after a name, at most so many.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) after: String,
    pub(crate) limit: u32,
}

/// A name that was checked when it was written; if it no longer is one, that is ours.
fn stored<T: std::str::FromStr>(text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Problem::internal(format!("metadata holds `{text}`: {error}")))
}

fn stored_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_json::from_str(text)
        .map_err(|error| Problem::internal(format!("metadata holds JSON that does not fit: {error}")))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(Problem::internal)
}
