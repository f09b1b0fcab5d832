//! Transactions: the only way to run SQL, and each made from a proof of whose rows it is about.
//!
//! On PostgreSQL a transaction begins by saying so to the database, for itself only (`set_config(…, true)`): row-level security then
//! gives it those rows and no others, whatever its queries say, and a connection that goes back to the pool carries nothing along. Who writes
//! for a tenant holds that tenant's lock until the end, so that of two changes the second sees what the first made; on SQLite there is
//! one writer. Must never: give a connection away that is about nobody, or leave out the tenant of a tenant's transaction.

use super::Store;
use super::database::{Database, Kind};
use crate::policy::{Fleet, Platform};
use crate::problem::Problem;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use sqlx::{Any, AnyConnection, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::sync::watch;

/// A transaction under way. It is undone where it is dropped. Queries run on `&mut *tx`.
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    kind: Kind,
    /// Where the generation is, if this transaction is in a home of its tenant's own.
    registry: Option<Arc<Database>>,
    /// The transaction there that holds the generation, from its raise to the end.
    holding: Option<Transaction<'static, Any>>,
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
        let home = self.home(scope.tenant()).await?;
        self.open_tx(&home, Reach::Tenant, Some(scope.tenant()), Mode::Write).await
    }

    /// Begins to read a tenant's rows.
    pub(super) async fn reading(&self, scope: &TenantScope) -> Result<Tx, Problem> {
        let home = self.home(scope.tenant()).await?;
        self.open_tx(&home, Reach::Tenant, Some(scope.tenant()), Mode::Read).await
    }

    /// Begins to write what the list of tenants says of one, and what its deletion leaves to do.
    pub(super) async fn begin_registered(&self, scope: &TenantScope) -> Result<Tx, Problem> {
        self.open_tx(&self.shared, Reach::Tenant, Some(scope.tenant()), Mode::Write).await
    }

    /// Begins to read the same.
    pub(super) async fn reading_registered(&self, scope: &TenantScope) -> Result<Tx, Problem> {
        self.reading_to_decide(scope.tenant()).await
    }

    /// Begins to write what is the platform's: the list of tenants.
    pub(super) async fn begin_platform(&self, platform: &Platform) -> Result<Tx, Problem> {
        self.begin_platform_in(&self.shared, platform).await
    }

    /// Begins to write a tenant's row in its home.
    pub(super) async fn begin_platform_in(&self, home: &Arc<Database>, _: &Platform) -> Result<Tx, Problem> {
        self.open_tx(home, Reach::Platform, None, Mode::Write).await
    }

    /// Begins to read what is the platform's.
    pub(super) async fn reading_platform(&self, platform: &Platform) -> Result<Tx, Problem> {
        self.reading_platform_in(&self.shared, platform).await
    }

    /// Begins to read of a home what is the platform's.
    pub(super) async fn reading_platform_in(&self, home: &Arc<Database>, _: &Platform) -> Result<Tx, Problem> {
        self.open_tx(home, Reach::Platform, None, Mode::Read).await
    }

    /// Begins to write what workers report of the tenants in a home: nobody's rows until [`Tx::turn_to`].
    pub(super) async fn begin_fleet(&self, home: &Arc<Database>, _: &Fleet) -> Result<Tx, Problem> {
        self.open_tx(home, Reach::Fleet, None, Mode::Write).await
    }

    /// Begins to read what workers are to run of the tenants in a home: of one tenant, for a worker that works for that one only.
    pub(super) async fn reading_fleet(&self, home: &Arc<Database>, fleet: &Fleet) -> Result<Tx, Problem> {
        match fleet.tenant() {
            None => self.open_tx(home, Reach::Fleet, None, Mode::Read).await,
            own => self.open_tx(home, Reach::Tenant, own, Mode::Read).await,
        }
    }

    /// Begins to prune what grows in a home. For what control does by itself, behind no request.
    pub(super) async fn begin_background_in(&self, home: &Arc<Database>) -> Result<Tx, Problem> {
        self.open_tx(home, Reach::Background, None, Mode::Write).await
    }

    /// Begins to look for what is left to do in a home. For what control does by itself, behind no request.
    pub(super) async fn reading_background_in(&self, home: &Arc<Database>) -> Result<Tx, Problem> {
        self.open_tx(home, Reach::Background, None, Mode::Read).await
    }

    /// [`Store::begin_background_in`] where all share.
    pub(super) async fn begin_background(&self) -> Result<Tx, Problem> {
        self.begin_background_in(&self.shared).await
    }

    /// [`Store::reading_background_in`] where all share.
    pub(super) async fn reading_background(&self) -> Result<Tx, Problem> {
        self.reading_background_in(&self.shared).await
    }

    /// Begins to read what the policy has to know of a tenant before it can give a scope: what the list of tenants says.
    pub(super) async fn reading_to_decide(&self, tenant: &TenantId) -> Result<Tx, Problem> {
        self.open_tx(&self.shared, Reach::Tenant, Some(tenant), Mode::Read).await
    }

    /// Begins to write down a decision: in the audit of this tenant, or in the platform's.
    pub(super) async fn begin_to_record(&self, tenant: Option<&TenantId>) -> Result<Tx, Problem> {
        match tenant {
            Some(tenant) => self.open_tx(&self.home(tenant).await?, Reach::Tenant, Some(tenant), Mode::Write).await,
            None => self.open_tx(&self.shared, Reach::Platform, None, Mode::Write).await,
        }
    }

    /// Begins to read what was written down so.
    pub(super) async fn reading_recorded(&self, tenant: Option<&TenantId>) -> Result<Tx, Problem> {
        match tenant {
            Some(tenant) => self.open_tx(&self.home(tenant).await?, Reach::Tenant, Some(tenant), Mode::Read).await,
            None => self.open_tx(&self.shared, Reach::Platform, None, Mode::Read).await,
        }
    }

    /// Ends a transaction whose change workers must hear of.
    pub(super) async fn commit_raised(&self, mut tx: Tx) -> Result<u64, Problem> {
        let generation = tx.raise().await?;
        tx.commit().await?;
        Ok(generation)
    }

    async fn open_tx(
        &self,
        home: &Arc<Database>,
        reach: Reach,
        tenant: Option<&TenantId>,
        mode: Mode,
    ) -> Result<Tx, Problem> {
        let pool = if mode == Mode::Write { &home.write } else { &home.read };
        let inner = pool.begin_with(begin(home.kind, reach, mode)).await.map_err(|error| home.problem(error))?;
        let registry = home.own.then(|| Arc::clone(&self.shared));
        let generation = self.generation.clone();
        let mut tx = Tx { inner, kind: home.kind, registry, holding: None, raised: None, generation };
        if home.kind == Kind::Postgres {
            sqlx::query("SELECT set_config('search_path', $1, true), set_config('bulkhead.reach', $2, true)")
                .bind(&home.search_path)
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
    /// knows a generation has seen every change up to it: a home of one's own ends before the generation does, and notes it, so that one which
    /// a crash kept from being made known is found (`Store::settle`).
    pub(super) async fn raise(&mut self) -> Result<u64, Problem> {
        if let Some(raised) = self.raised {
            return Ok(raised);
        }
        let generation = match &self.registry {
            None => raised_in(&mut self.inner).await?,
            Some(registry) => {
                let statement = begin(Kind::Postgres, Reach::Tenant, Mode::Write);
                let mut shared = registry.raise.begin_with(statement).await.map_err(|error| registry.problem(error))?;
                sqlx::query("SELECT set_config('search_path', $1, true)")
                    .bind(&registry.search_path)
                    .execute(&mut *shared)
                    .await?;
                let generation = raised_in(&mut shared).await?;
                self.holding = Some(shared);
                sqlx::query("UPDATE generation SET generation = $1 WHERE one = 1")
                    .bind(generation)
                    .execute(&mut *self.inner)
                    .await?;
                generation
            }
        };
        let generation = generation.cast_unsigned();
        self.raised = Some(generation);
        Ok(generation)
    }

    /// Ends the transaction and, where it raised the generation, announces that.
    pub(super) async fn commit(self) -> Result<(), Problem> {
        self.inner.commit().await?;
        if let Some(holding) = self.holding {
            holding.commit().await?;
        }
        if let Some(raised) = self.raised {
            announce(&self.generation, raised);
        }
        Ok(())
    }
}

async fn raised_in(tx: &mut Transaction<'static, Any>) -> Result<i64, Problem> {
    let (generation,): (i64,) =
        sqlx::query_as("UPDATE generation SET generation = generation + 1 WHERE one = 1 RETURNING generation")
            .fetch_one(&mut **tx)
            .await?;
    Ok(generation)
}

/// Makes a generation known, unless a newer one is.
pub(super) fn announce(generations: &watch::Sender<u64>, generation: u64) {
    generations.send_if_modified(|known| {
        let newer = generation > *known;
        *known = (*known).max(generation);
        newer
    });
}
