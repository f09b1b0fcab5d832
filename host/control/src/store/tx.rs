//! Transactions: the only way to run SQL, and each made from a proof of whose rows it is about.
//!
//! On PostgreSQL a transaction begins by saying so to the database, for itself only (`set_config(…, true)`): row-level security then
//! gives it those rows and no others, whatever its queries say, and a connection that goes back to the pool carries nothing along. Who writes
//! for a tenant holds that tenant's lock until the end, so that of two changes the second sees what the first made; on SQLite there is
//! one writer. Must never: give a connection away that is about nobody, or leave out the tenant of a tenant's transaction.

use super::Store;
use super::database::Kind;
use crate::policy::{Fleet, Platform};
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use sqlx::{Any, AnyConnection, Transaction};
use std::ops::{Deref, DerefMut};
use tokio::sync::watch;

/// A transaction under way. It is undone where it is dropped. Queries run on `&mut *tx`.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    kind: Kind,
    /// The generation that this transaction makes, once it has raised it.
    raised: Option<u64>,
    generation: watch::Sender<u64>,
}

impl Deref for Tx {
    type Target = AnyConnection;
    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

/// Whose rows, beside the tenant's that is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Tenant,
    Platform,
    Fleet,
    Background,
}

impl Reach {
    /// As the policies of the migrations spell it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Platform => "platform",
            Self::Fleet => "fleet",
            Self::Background => "background",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

/// How a transaction begins. What is read belongs to one moment. The background's queries build on each other and take no tenant's lock, so
/// they see one moment too, and fail where somebody changed the same rows.
fn begin(kind: Kind, reach: Reach, mode: Mode) -> &'static str {
    match (kind, mode) {
        (Kind::Sqlite, Mode::Read) => "BEGIN",
        (Kind::Sqlite, Mode::Write) => "BEGIN IMMEDIATE",
        (Kind::Postgres, Mode::Read) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Kind::Postgres, Mode::Write) if reach == Reach::Background => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        (Kind::Postgres, Mode::Write) => "BEGIN ISOLATION LEVEL READ COMMITTED",
    }
}

impl Store {
    /// Begins to write a tenant's rows.
    pub(super) async fn begin(&self, scope: &TenantScope) -> Result<Tx, Problem> {
        self.open_tx(Reach::Tenant, Some(scope.tenant()), Mode::Write).await
    }

    /// Begins to read a tenant's rows.
    pub(super) async fn reading(&self, scope: &TenantScope) -> Result<Tx, Problem> {
        self.open_tx(Reach::Tenant, Some(scope.tenant()), Mode::Read).await
    }

    /// Begins to write what is the platform's: the list of tenants.
    pub(super) async fn begin_platform(&self, _: &Platform) -> Result<Tx, Problem> {
        self.open_tx(Reach::Platform, None, Mode::Write).await
    }

    /// Begins to read what is the platform's.
    pub(super) async fn reading_platform(&self, _: &Platform) -> Result<Tx, Problem> {
        self.open_tx(Reach::Platform, None, Mode::Read).await
    }

    /// Begins to write what workers report: nobody's rows until [`Tx::turn_to`].
    pub(super) async fn begin_fleet(&self, _: &Fleet) -> Result<Tx, Problem> {
        self.open_tx(Reach::Fleet, None, Mode::Write).await
    }

    /// Begins to read what workers are to run.
    pub(super) async fn reading_fleet(&self, _: &Fleet) -> Result<Tx, Problem> {
        self.open_tx(Reach::Fleet, None, Mode::Read).await
    }

    /// Begins to prune what grows. For what control does by itself, behind no request.
    pub(super) async fn begin_background(&self) -> Result<Tx, Problem> {
        self.open_tx(Reach::Background, None, Mode::Write).await
    }

    /// Begins to look for what is left to do. For what control does by itself, behind no request.
    pub(super) async fn reading_background(&self) -> Result<Tx, Problem> {
        self.open_tx(Reach::Background, None, Mode::Read).await
    }

    /// Begins to read what the policy has to know of a tenant before it can give a scope.
    pub(super) async fn reading_to_decide(&self, tenant: &TenantId) -> Result<Tx, Problem> {
        self.open_tx(Reach::Tenant, Some(tenant), Mode::Read).await
    }

    /// Begins to write down a decision: in the audit of this tenant, or in the platform's.
    pub(super) async fn begin_to_record(&self, tenant: Option<&TenantId>) -> Result<Tx, Problem> {
        let reach = if tenant.is_some() { Reach::Tenant } else { Reach::Platform };
        self.open_tx(reach, tenant, Mode::Write).await
    }

    /// Begins to read what was written down so.
    pub(super) async fn reading_recorded(&self, tenant: Option<&TenantId>) -> Result<Tx, Problem> {
        let reach = if tenant.is_some() { Reach::Tenant } else { Reach::Platform };
        self.open_tx(reach, tenant, Mode::Read).await
    }

    /// Ends a transaction whose change workers must hear of.
    pub(super) async fn commit_raised(&self, mut tx: Tx) -> Result<u64, Problem> {
        let generation = tx.raise().await?;
        tx.commit().await?;
        Ok(generation)
    }

    async fn open_tx(&self, reach: Reach, tenant: Option<&TenantId>, mode: Mode) -> Result<Tx, Problem> {
        let database = &self.database;
        let pool = if mode == Mode::Write { &database.write } else { &database.read };
        let inner =
            pool.begin_with(begin(database.kind, reach, mode)).await.map_err(|error| database.problem(error))?;
        let mut tx = Tx { inner, kind: database.kind, raised: None, generation: self.generation.clone() };
        if database.kind == Kind::Postgres {
            sqlx::query("SELECT set_config('search_path', $1, true), set_config('bulkhead.reach', $2, true)")
                .bind(&database.search_path)
                .bind(reach.as_str())
                .execute(&mut *tx)
                .await?;
        }
        match (tenant, mode) {
            (Some(tenant), Mode::Read) => tx.name(tenant).await?,
            (Some(tenant), Mode::Write) => tx.turn_to(tenant).await?,
            (None, _) => {}
        }
        Ok(tx)
    }
}

impl Tx {
    /// From here on the rows are this tenant's, whose lock is held until the end. Transactions that turn to several do so in the order of
    /// their names, so that no two wait for each other.
    pub(super) async fn turn_to(&mut self, tenant: &TenantId) -> Result<(), Problem> {
        self.name(tenant).await?;
        if self.kind == Kind::Postgres {
            sqlx::query(
                "SELECT pg_advisory_xact_lock(hashtextextended(CAST(current_schema() AS TEXT) || '/' || $1, 0))",
            )
            .bind(tenant.as_str())
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    async fn name(&mut self, tenant: &TenantId) -> Result<(), Problem> {
        if self.kind == Kind::Postgres {
            sqlx::query("SELECT set_config('bulkhead.tenant', $1, true)")
                .bind(tenant.as_str())
                .execute(&mut **self)
                .await?;
        }
        Ok(())
    }

    /// Raises the generation, once a transaction, and says what it will be. Nobody else raises it before this transaction has ended, so who
    /// knows a generation has seen every change up to it.
    pub(super) async fn raise(&mut self) -> Result<u64, Problem> {
        if let Some(raised) = self.raised {
            return Ok(raised);
        }
        let (generation,): (i64,) =
            sqlx::query_as("UPDATE generation SET generation = generation + 1 WHERE one = 1 RETURNING generation")
                .fetch_one(&mut **self)
                .await?;
        let generation = generation.cast_unsigned();
        self.raised = Some(generation);
        Ok(generation)
    }

    /// Ends the transaction and, where it raised the generation, announces that.
    pub(super) async fn commit(self) -> Result<(), Problem> {
        self.inner.commit().await?;
        if let Some(raised) = self.raised {
            announce(&self.generation, raised);
        }
        Ok(())
    }
}

/// Makes a generation known, unless a newer one is.
pub(super) fn announce(generations: &watch::Sender<u64>, generation: u64) {
    generations.send_if_modified(|known| {
        let newer = generation > *known;
        *known = (*known).max(generation);
        newer
    });
}
