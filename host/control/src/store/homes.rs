//! Where a tenant's metadata is: in the tables that all share, in a schema of its own, or in a database of its own.
//!
//! The list of tenants is in the shared database, and says where each one's is; [`Store::home`] is the one place that turns a tenant
//! into connections. A home of one's own has all tables, made by the same migrations, with the same row-level security, and a copy of its
//! tenant's row. Making and dropping one needs the role that owns tables. The generation is one for all: see [`Tx::raise`](super::tx::Tx::raise).
//! Must never: take a tenant whose home cannot be told for one in the shared tables, or drop the home of a tenant that is there.

use super::Store;
use super::database::{Database, Kind};
use super::postgres::{self, Access};
use crate::problem::Problem;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::{MetadataHome, TenantScope};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyConnectOptions;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use utoipa::ToSchema;

/// Where a tenant's metadata is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetadataPlacement {
    /// In the tables of all tenants, kept apart by row-level security.
    #[default]
    Shared,
    /// In a schema of its own, in the same database.
    Schema,
    /// In a database of its own, on the same server.
    Database,
}

impl MetadataPlacement {
    /// As it is kept.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Schema => "schema",
            Self::Database => "database",
        }
    }
}

impl FromStr for MetadataPlacement {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Shared, Self::Schema, Self::Database]
            .into_iter()
            .find(|placement| placement.as_str() == text)
            .ok_or("it is no placement")
    }
}

/// What is known of homes.
#[derive(Debug, Default)]
pub(super) struct Homes {
    access: Option<Access>,
    /// Of tenants that were looked up; the policy looks again with each request, so that what another process changed is heard of.
    placements: RwLock<HashMap<TenantId, MetadataPlacement>>,
    /// Those of one's own that are in use.
    open: Mutex<HashMap<TenantId, Arc<Database>>>,
    /// What each home of one's own last said that its tenant runs.
    pub(super) told: Mutex<HashMap<TenantId, Vec<PipelineAssignment>>>,
}

impl Homes {
    pub(super) fn new(access: Option<Access>) -> Self {
        Self { access, ..Self::default() }
    }

    /// How the owner of the tables is reached, where that is known.
    pub(super) fn owner(&self) -> Option<&AnyConnectOptions> {
        self.access.as_ref().and_then(|access| access.need_owner().ok())
    }

    /// What the list of tenants says now.
    pub(super) fn learn(&self, tenant: &TenantId, placement: Option<MetadataPlacement>) {
        let known = self.placements.read().get(tenant).copied();
        if known == placement {
            return;
        }
        self.open.lock().remove(tenant);
        self.told.lock().remove(tenant);
        let mut placements = self.placements.write();
        match placement {
            Some(placement) => placements.insert(tenant.clone(), placement),
            None => placements.remove(tenant),
        };
    }
}

/// What items of tenants are to be done in one home.
pub(super) type InHome<'a, T> = (Arc<Database>, BTreeMap<&'a TenantId, Vec<T>>);

impl Store {
    /// Where a tenant's metadata is. That of a tenant which is not there, or no longer, is where all share.
    pub(super) async fn home(&self, tenant: &TenantId) -> Result<Arc<Database>, Problem> {
        if self.shared.kind == Kind::Sqlite {
            return Ok(Arc::clone(&self.shared));
        }
        let known = self.homes.placements.read().get(tenant).copied();
        let placement = match known {
            Some(placement) => placement,
            None => {
                let found = self.registered(tenant).await?;
                self.homes.learn(tenant, found.map(|(_, placement)| placement));
                found.map_or(MetadataPlacement::Shared, |(_, placement)| placement)
            }
        };
        self.home_at(tenant, placement)
    }

    /// Everything by home, so that each home is written in one transaction.
    pub(super) async fn by_home<'a, T>(
        &self,
        items: BTreeMap<&'a TenantId, Vec<T>>,
    ) -> Result<Vec<InHome<'a, T>>, Problem> {
        let (mut shared, mut own) = (BTreeMap::new(), Vec::new());
        for (tenant, items) in items {
            let home = self.home(tenant).await?;
            if home.own {
                own.push((home, BTreeMap::from([(tenant, items)])))
            } else {
                drop(shared.insert(tenant, items))
            }
        }
        if !shared.is_empty() {
            own.push((Arc::clone(&self.shared), shared));
        }
        Ok(own)
    }

    /// All homes that are one tenant's own. For what control does by itself, and for what workers are told.
    pub(super) async fn own_homes(&self) -> Result<Vec<(TenantId, Arc<Database>)>, Problem> {
        if self.shared.kind == Kind::Sqlite {
            return Ok(Vec::new());
        }
        let mut tx = self.reading_background().await?;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT tenant, metadata FROM tenants WHERE metadata <> 'shared' ORDER BY tenant")
                .fetch_all(&mut *tx)
                .await?;
        let home = |(tenant, placement): (String, String)| {
            let tenant: TenantId = super::stored(&tenant)?;
            let home = self.home_at(&tenant, super::stored(&placement)?)?;
            Ok((tenant, home))
        };
        rows.into_iter().map(home).collect()
    }

    /// Every home: the shared one, without which nothing goes, and those of one's own.
    pub(super) async fn all_homes(&self) -> Result<Vec<(Option<TenantId>, Arc<Database>)>, Problem> {
        let own = self.own_homes().await?.into_iter().map(|(tenant, home)| (Some(tenant), home));
        Ok(std::iter::once((None, Arc::clone(&self.shared))).chain(own).collect())
    }

    fn home_at(&self, tenant: &TenantId, placement: MetadataPlacement) -> Result<Arc<Database>, Problem> {
        if placement == MetadataPlacement::Shared {
            return Ok(Arc::clone(&self.shared));
        }
        let mut open = self.homes.open.lock();
        if let Some(home) = open.get(tenant) {
            return Ok(Arc::clone(home));
        }
        let (access, name) = self.own(tenant)?;
        let home = match placement {
            MetadataPlacement::Database => access.own_database(&name),
            _ => Database { own: true, search_path: postgres::search_path(name.as_str()), ..(*self.shared).clone() },
        };
        let home = Arc::new(home);
        open.insert(tenant.clone(), Arc::clone(&home));
        Ok(home)
    }

    /// Makes an empty home for a tenant that is about to be. What a creation left that did not come to its end goes first.
    pub(super) async fn make_home(
        &self,
        tenant: &TenantId,
        placement: MetadataPlacement,
    ) -> Result<Arc<Database>, Problem> {
        if placement != MetadataPlacement::Shared {
            self.need_owner(placement)?;
            let (access, name) = self.own(tenant)?;
            access.drop_home(&name, placement).await.map_err(|error| not_made(&error))?;
            access.make_home(&name, placement).await.map_err(|error| not_made(&error))?;
        }
        self.home_at(tenant, placement)
    }

    /// Drops the home of a tenant that is gone, with all that is in it.
    pub(super) async fn drop_home(&self, tenant: &TenantId, placement: MetadataPlacement) -> Result<(), Problem> {
        self.homes.learn(tenant, None);
        if placement == MetadataPlacement::Shared {
            return Ok(());
        }
        self.need_owner(placement)?;
        let (access, name) = self.own(tenant)?;
        access.drop_home(&name, placement).await.map_err(|error| not_made(&error))
    }

    /// Fails where a home like this cannot be made here.
    pub(super) fn need_owner(&self, placement: MetadataPlacement) -> Result<(), Problem> {
        let why = match &self.homes.access {
            _ if placement == MetadataPlacement::Shared => return Ok(()),
            None => "this server keeps its metadata in SQLite, which is one place for all tenants",
            Some(access) if !access.has_owner() => "this server was started without the role that owns tables",
            Some(_) => return Ok(()),
        };
        let detail = format!("no tenant can have a {} of its own here: {why}; use `shared`", placement.as_str());
        Err(Problem::new(Code::PlacementRefused, detail))
    }

    fn own(&self, tenant: &TenantId) -> Result<(&Access, MetadataHome), Problem> {
        let access = self.homes.access.as_ref().ok_or_else(|| Problem::internal("a home of one's own on SQLite"))?;
        Ok((access, name_of(tenant, access)))
    }
}

/// The name of a tenant's own home, and no more: who reaches into it is asked for a scope.
pub(super) fn name_of(tenant: &TenantId, access: &Access) -> MetadataHome {
    TenantScope::assume(tenant.clone()).metadata_home(access.database())
}

/// What came of one home's part of a work that visits all. One tenant's own database that is away holds up nobody else.
pub(super) fn unless_own<T>(tenant: Option<&TenantId>, done: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match (tenant, done) {
        (_, Ok(done)) => Ok(Some(done)),
        (None, Err(problem)) => Err(problem),
        (Some(tenant), Err(problem)) => {
            tracing::warn!(%tenant, code = %problem.code, cause = problem.cause, "a tenant's own metadata does not answer");
            Ok(None)
        }
    }
}

fn not_made(error: &crate::folder::OpenError) -> Problem {
    let detail = "the tenant's home for metadata could not be made or dropped; the operator's log says why. Nothing else was done";
    let code = if error.code == Code::DatabaseAway { Code::DatabaseAway } else { Code::Unavailable };
    Problem { cause: Some(error.to_string()), ..Problem::new(code, detail) }
}
