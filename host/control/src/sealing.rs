//! The vault as control uses it: on threads that may wait for a key service, with problems that say no more than they should.
//!
//! Must never: put what the vault says of keys into what a client is told.

use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_vault::{TenantKeys, Vault, VaultError, WrappedKey};
use std::sync::Arc;

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        let detail = match error.code {
            Code::SealBroken => "a stored value is not what was put there; set it again",
            Code::KeysShredded => "the key of this value is gone, and the value with it; set it again",
            _ => "the keys that this needs cannot be reached; try again, and tell the operator if it stays so",
        };
        Self { cause: Some(error.message), ..Self::new(error.code, detail) }
    }
}

/// Opens a tenant's keys.
pub(crate) async fn open(
    vault: &Arc<Vault>,
    tenant: &TenantId,
    wrapped: Vec<WrappedKey>,
) -> Result<TenantKeys, Problem> {
    let tenant = tenant.clone();
    apart(vault, move |vault| vault.open(&tenant, wrapped)).await
}

/// A new key for a tenant.
pub(crate) async fn new_key(vault: &Arc<Vault>, tenant: &TenantId, version: u32) -> Result<WrappedKey, Problem> {
    let tenant = tenant.clone();
    apart(vault, move |vault| vault.new_key(&tenant, version)).await
}

/// A tenant's key wrapped by the current master key; `None` where it is.
pub(crate) async fn rewrap(
    vault: &Arc<Vault>,
    tenant: TenantId,
    key: WrappedKey,
) -> Result<Option<WrappedKey>, Problem> {
    apart(vault, move |vault| vault.wrapped_by_current(&tenant, &key)).await
}

async fn apart<T: Send + 'static>(
    vault: &Arc<Vault>,
    work: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
) -> Result<T, Problem> {
    let vault = Arc::clone(vault);
    Ok(tokio::task::spawn_blocking(move || work(&vault)).await.map_err(Problem::internal)??)
}
