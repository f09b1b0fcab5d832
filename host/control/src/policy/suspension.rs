//! What may still be done with a suspended tenant: reading it, and what the platform does with it.
//!
//! Must never: let a tenant change or add anything while it is suspended.

use crate::problem::Problem;
use crate::store::Store;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;

/// How the names of actions end that only read, and how those begin that are workers'.
const READING: [&str; 3] = [".read", ".list", ".explain"];
const OF_WORKERS: &str = "workers.";
/// Other actions that change nothing of the tenant's, or that are the platform's.
const ALLOWED: &[&str] = &[
    "dead-letters.bundle",
    "modules.download",
    "pipelines.plan",
    "requests.repeat",
    "tenants.delete",
    "tenants.export",
    "tenants.resume",
    "tenants.suspend",
    "tenants.update",
];

/// Refuses an action where the tenant is suspended and the action is none of these.
pub(super) async fn check(store: &Store, action: &str, tenant: &TenantId) -> Result<(), Problem> {
    if READING.iter().any(|end| action.ends_with(end)) || action.starts_with(OF_WORKERS) || ALLOWED.contains(&action) {
        return Ok(());
    }
    match store.life(tenant).await?.and_then(|row| row.suspended) {
        None => Ok(()),
        Some(suspended) => {
            let detail = format!(
                "the operator has suspended this tenant, so only reading is allowed: {}; settle that with the operator",
                suspended.reason
            );
            Err(Problem::new(Code::TenantSuspended, detail))
        }
    }
}
