//! Tenants' keys as they are kept: wrapped, made when first needed, rotated, re-wrapped under a new master key, and shredded.
//!
//! Must never: keep a key that is not wrapped, or leave a row of a tenant whose keys were shredded.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, Tx, entries, now_ms, stored};
use crate::problem::Problem;
use crate::sealing;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_vault::{TenantKeys, Vault, WrappedKey};
use std::collections::HashMap;
use std::sync::Arc;

/// A key of a tenant, as its admins may see it.
#[derive(Debug)]
pub(crate) struct KeyRow {
    pub(crate) version: u32,
    pub(crate) made_ms: i64,
    pub(crate) made_by: String,
}

/// Who makes a tenant's first key, which nobody asks for.
const FIRST_BY: &str = "bulkhead";

impl Store {
    /// A tenant's keys, opened; its first is made where there is none.
    pub(crate) async fn tenant_keys(&self, scope: &TenantScope, vault: &Arc<Vault>) -> Result<TenantKeys, Problem> {
        let mut tx = self.begin(scope).await?;
        let keys = open(&mut tx, scope.tenant(), vault).await?;
        tx.commit().await?;
        vault.hold(keys.clone());
        Ok(keys)
    }

    /// Makes the key of a tenant that has none, and has the vault hold it: its records are sealed from the first on.
    pub(crate) async fn first_key(&self, tenant: &TenantId, vault: &Arc<Vault>) -> Result<(), Problem> {
        let home = self.home(tenant).await?;
        let mut tx = self.begin_background_in(&home).await?;
        tx.turn_to(tenant).await?;
        let keys = open(&mut tx, tenant, vault).await?;
        tx.commit().await?;
        vault.hold(keys);
        Ok(())
    }

    /// Has the vault hold the keys of all tenants, for the log, which cannot wait for them.
    pub(crate) async fn hold_keys(&self, vault: &Arc<Vault>) -> Result<(), Problem> {
        let mut tx = self.reading_background().await?;
        let tenants: Vec<(String,)> =
            sqlx::query_as("SELECT tenant FROM tenants ORDER BY tenant").fetch_all(&mut *tx).await?;
        drop(tx);
        for (tenant,) in tenants {
            let tenant: TenantId = stored(&tenant)?;
            let own = self.home(&tenant).await?.own.then_some(&tenant);
            unless_own(own, self.first_key(&tenant, vault).await)?;
        }
        Ok(())
    }

    /// The versions that there are, oldest first.
    pub(crate) async fn list_keys(&self, scope: &TenantScope) -> Result<Vec<KeyRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        listed(&mut tx, scope).await
    }

    /// Makes a new version, and seals all that is in the database under it. What was sealed elsewhere under earlier ones still opens.
    pub(crate) async fn rotate_key(
        &self,
        scope: &TenantScope,
        vault: &Arc<Vault>,
        by: &str,
    ) -> Result<Vec<KeyRow>, Problem> {
        let mut tx = self.begin(scope).await?;
        let before = open(&mut tx, scope.tenant(), vault).await?;
        let key = sealing::new_key(vault, scope.tenant(), before.current() + 1).await?;
        insert(&mut tx, scope.tenant(), &key, by).await?;
        let after = open(&mut tx, scope.tenant(), vault).await?;
        entries::reseal(&mut tx, scope, &before, &after).await?;
        let rows = listed(&mut tx, scope).await?;
        // Workers seal under it, too.
        self.commit_raised(tx).await?;
        vault.hold(after);
        Ok(rows)
    }

    /// A tenant's keys, opened; `None` where there is none yet, and nothing that is sealed.
    pub(crate) async fn tenant_keys_if_any(
        &self,
        scope: &TenantScope,
        vault: &Arc<Vault>,
    ) -> Result<Option<TenantKeys>, Problem> {
        let mut tx = self.reading(scope).await?;
        open_if_any(&mut tx, scope, vault).await
    }

    /// Removes a tenant's keys: whatever was sealed under them is noise from then on, wherever copies of it are. For the tenant's deletion.
    pub(crate) async fn shred_keys(&self, scope: &TenantScope, vault: &Vault) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query("DELETE FROM tenant_keys WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        vault.forget(scope.tenant());
        Ok(())
    }

    /// Wraps every tenant's keys by the current master key. Gives how many were not; after that the previous one is no longer needed.
    pub(crate) async fn rewrap_keys(&self, vault: &Arc<Vault>) -> Result<u64, Problem> {
        let mut done = 0;
        for (tenant, key) in self.all_keys().await? {
            let Some(again) = sealing::rewrap(vault, tenant.clone(), key.clone()).await? else { continue };
            let home = self.home(&tenant).await?;
            let mut tx = self.begin_background_in(&home).await?;
            tx.turn_to(&tenant).await?;
            replace(&mut tx, &tenant, &key, &again).await?;
            tx.commit().await?;
            done += 1;
        }
        Ok(done)
    }

    /// Of every home: the previous master key is needed until all are wrapped again, so one that is away is an error here.
    async fn all_keys(&self) -> Result<Vec<(TenantId, WrappedKey)>, Problem> {
        let mut keys = Vec::new();
        for (_, home) in self.all_homes().await? {
            keys.extend(self.keys_in(&home).await?);
        }
        Ok(keys)
    }

    async fn keys_in(&self, home: &Arc<Database>) -> Result<Vec<(TenantId, WrappedKey)>, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT tenant, version, wrapped FROM tenant_keys ORDER BY tenant, version")
                .fetch_all(&mut *tx)
                .await?;
        let key =
            |(tenant, version, wrapped): (String, i64, String)| Ok((stored(&tenant)?, wrapped_key(version, &wrapped)?));
        rows.into_iter().map(key).collect()
    }
}

/// A tenant's keys, opened; its first is made where there is none.
pub(super) async fn open(tx: &mut Tx, tenant: &TenantId, vault: &Arc<Vault>) -> Result<TenantKeys, Problem> {
    let mut wrapped = wrapped(tx, tenant).await?;
    if wrapped.is_empty() {
        let first = sealing::new_key(vault, tenant, 1).await?;
        insert(tx, tenant, &first, FIRST_BY).await?;
        wrapped.push(first);
    }
    sealing::open(vault, tenant, wrapped).await
}

/// The same for whoever only reads: where there is no key yet, nothing is sealed.
pub(super) async fn open_if_any(
    tx: &mut Tx,
    scope: &TenantScope,
    vault: &Arc<Vault>,
) -> Result<Option<TenantKeys>, Problem> {
    match wrapped(tx, scope.tenant()).await? {
        wrapped if wrapped.is_empty() => Ok(None),
        wrapped => sealing::open(vault, scope.tenant(), wrapped).await.map(Some),
    }
}

/// The newest version of each tenant's key, or of one's that is named, for the assignment.
pub(super) async fn versions(tx: &mut Tx, whose: &str) -> Result<HashMap<String, u32>, Problem> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT tenant, MAX(version) FROM tenant_keys WHERE ($1 = '' OR tenant = $1) GROUP BY tenant")
            .bind(whose)
            .fetch_all(&mut **tx)
            .await?;
    rows.into_iter().map(|(tenant, version)| Ok((tenant, number(version)?))).collect()
}

async fn wrapped(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<WrappedKey>, Problem> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT version, wrapped FROM tenant_keys WHERE tenant = $1 ORDER BY version")
            .bind(tenant.as_str())
            .fetch_all(&mut **tx)
            .await?;
    rows.into_iter().map(|(version, wrapped)| wrapped_key(version, &wrapped)).collect()
}

async fn listed(tx: &mut Tx, scope: &TenantScope) -> Result<Vec<KeyRow>, Problem> {
    let rows: Vec<(i64, i64, String)> =
        sqlx::query_as("SELECT version, made_ms, made_by FROM tenant_keys WHERE tenant = $1 ORDER BY version")
            .bind(scope.tenant().as_str())
            .fetch_all(&mut **tx)
            .await?;
    let row = |(version, made_ms, made_by)| Ok(KeyRow { version: number(version)?, made_ms, made_by });
    rows.into_iter().map(row).collect()
}

async fn insert(tx: &mut Tx, tenant: &TenantId, key: &WrappedKey, by: &str) -> Result<(), Problem> {
    sqlx::query("INSERT INTO tenant_keys (tenant, version, wrapped, made_ms, made_by) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(i64::from(key.version))
        .bind(hex::encode(&key.bytes))
        .bind(now_ms())
        .bind(by)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Only where nobody else replaced it or shredded it meanwhile.
async fn replace(tx: &mut Tx, tenant: &TenantId, old: &WrappedKey, new: &WrappedKey) -> Result<(), Problem> {
    sqlx::query("UPDATE tenant_keys SET wrapped = $4 WHERE tenant = $1 AND version = $2 AND wrapped = $3")
        .bind(tenant.as_str())
        .bind(i64::from(old.version))
        .bind(hex::encode(&old.bytes))
        .bind(hex::encode(&new.bytes))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn wrapped_key(version: i64, wrapped: &str) -> Result<WrappedKey, Problem> {
    let bytes = hex::decode(wrapped).map_err(|_| Problem::internal("metadata holds a wrapped key that is not hex"))?;
    Ok(WrappedKey { version: number(version)?, bytes })
}

fn number(version: i64) -> Result<u32, Problem> {
    u32::try_from(version).map_err(|_| Problem::internal(format!("metadata holds a key's version {version}")))
}
