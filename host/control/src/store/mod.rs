//! Metadata, in SQLite or PostgreSQL: tenants, modules, pipelines, what workers reported, and the audit.
//!
//! Each function is one transaction, and [`tx`] the only way to one. Whatever touches a tenant's rows takes its
//! [`TenantScope`](bulkhead_core::scope::TenantScope), begins with it and binds it as the first parameter. The same SQL runs on both databases.
//! On SQLite one connection writes, so that writers queue here instead of failing there; a few others read. Changes that workers must hear of
//! raise the generation in the same transaction and announce it after.
//!
//! ```compile_fail,E0603
//! // Nobody outside of this crate has a way to SQL at all ...
//! use bulkhead_control::store::Store;
//! ```
//!
//! ```compile_fail,E0423
//! // ... nor makes what stands for the platform's or the workers' reach, which transactions ask for where it is not a tenant's scope.
//! let forged = bulkhead_control::policy::Platform(());
//! ```
//!
//! Must never: build SQL from text, or take a tenant's name as a text.

mod access;
mod answers;
mod assignment;
mod audit;
mod database;
mod dead_letters;
mod deploy;
mod entries;
mod erasures;
mod export;
mod fleet;
mod homes;
mod keys;
mod leftovers;
mod limits;
mod lives;
mod logs;
mod modules;
mod month;
mod owner;
mod pipelines;
mod plans;
mod postgres;
mod projects;
mod report;
mod revisions;
mod scrub;
mod starts;
mod tables;
mod tags;
mod tenants;
mod topics;
mod tx;
mod usage;
mod uses;

pub(crate) use access::{BindingRow, Bound, RoleRow, no_role};
pub(crate) use answers::{ANSWER_KEPT_MS, Answer};
pub(crate) use audit::{AuditFilter, AuditTopic, ChainEnd};
pub(crate) use database::Place;
pub(crate) use dead_letters::{Mark, MarkState};
pub(crate) use deploy::{Applied, Deployed, Terms, Wanted, manifest_problem};
pub(crate) use entries::{EntryAt, EntryRow, Kind, Put, Putting};
pub(crate) use erasures::{Erasure, Looked, name_digest};
pub(crate) use export::EXPORTED;
pub use homes::MetadataPlacement;
pub(crate) use keys::KeyRow;
pub(crate) use leftovers::{Gone, Leftover};
pub(crate) use lives::{Change, LifeRow};
pub(crate) use logs::{LogEntry, LogFilter};
pub(crate) use modules::{ModuleRow, NewModule};
pub(crate) use month::{MonthRow, Watched};
pub(crate) use owner::migrate;
pub(crate) use pipelines::PipelineRow;
pub(crate) use plans::PlanRow;
pub(crate) use postgres::{Access, is_away};
pub(crate) use projects::ProjectRow;
pub(crate) use report::Reporter;
pub(crate) use revisions::RevisionRow;
pub(crate) use starts::StartOver;
pub(crate) use tags::TagRow;
pub(crate) use tenants::{DEFAULT_PROJECT, TenantRow};
pub(crate) use usage::{HOUR_MS, UsageKey, UsagePosition, UsageQuery, UsageRow, UsageRows, UsageSums};
pub(crate) use uses::UseRow;

use crate::folder::OpenError;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use database::Database;
use homes::{Homes, unless_own};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tx::{Tx, announce};

/// The metadata.
#[derive(Debug)]
pub(crate) struct Store {
    /// Where the list of tenants is, the generation, and what most tenants have.
    shared: Arc<Database>,
    homes: Homes,
    generation: watch::Sender<u64>,
}

impl Store {
    /// Opens the database and brings its schema up to date.
    pub(crate) async fn open(place: &Place) -> Result<Self, OpenError> {
        let shared = Arc::new(Database::open(place).await?);
        let access = match place {
            Place::Postgres(access) => Some((**access).clone()),
            Place::File(_) => None,
        };
        let store = Self { shared, homes: Homes::new(access), generation: watch::Sender::new(0) };
        store.hear().await.map_err(|problem| {
            OpenError::new(
                Code::ConfigInvalid,
                format!("cannot read the metadata: {}", problem.cause.unwrap_or(problem.detail)),
            )
        })?;
        Ok(store)
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<(), Problem> {
        self.hear().await
    }

    /// Announces a generation that another process has made. SQLite has no other process.
    pub(crate) async fn hear(&self) -> Result<(), Problem> {
        let mut tx = self.reading_background().await?;
        let (generation,): (i64,) = sqlx::query_as("SELECT generation FROM generation").fetch_one(&mut *tx).await?;
        announce(&self.generation, generation.cast_unsigned());
        Ok(())
    }

    /// Announces a change in a home of a tenant's own whose generation a crash kept from being made known.
    pub(crate) async fn settle(&self) -> Result<(), Problem> {
        for (tenant, home) in self.own_homes().await? {
            unless_own(Some(&tenant), self.settle_home(&home).await)?;
        }
        Ok(())
    }

    async fn settle_home(&self, home: &Arc<Database>) -> Result<(), Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let (noted,): (i64,) = sqlx::query_as("SELECT generation FROM generation").fetch_one(&mut *tx).await?;
        drop(tx);
        if noted.cast_unsigned() > *self.generation.borrow() {
            let mut tx = self.begin_background().await?;
            sqlx::query("UPDATE generation SET generation = generation + 1 WHERE one = 1 AND generation < $1")
                .bind(noted)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            self.hear().await?;
        }
        Ok(())
    }

    /// Tells of every change that workers must hear of.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Waits for running statements and closes the files.
    pub(crate) async fn close(&self) {
        self.shared.close().await;
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walls_tests;

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
