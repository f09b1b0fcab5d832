//! `bulkhead tenant limits`: a tenant's limits with what is used of them, and limits of its own instead of its plan's.
//!
//! Must never: show fewer limits than there are.

use crate::cli::output::{self, cell};
use crate::cli::plan::Setting;
use crate::cli::session::{Session, items};
use bulkhead_core::name::TenantId;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Whose; without a name, the token's
    name: Option<TenantId>,
    /// A limit that it has instead of its plan's, for instance `fuelPerSecond=2000000000`; needs a platform admin's token
    #[arg(long, value_name = "LIMIT=VALUE", requires = "name")]
    set: Vec<Setting>,
    /// A limit that is to be as its plan says again
    #[arg(long, value_name = "LIMIT", requires = "name")]
    unset: Vec<String>,
}

/// Shows them, after changing some.
///
/// # Errors
/// Control's.
pub(super) async fn run(session: &Session, limits: Limits) -> anyhow::Result<()> {
    let path = super::at(session, limits.name.as_ref())?;
    let mut changes: Map<String, Value> =
        limits.set.into_iter().map(|Setting { limit, value }| (limit, json!(value))).collect();
    changes.extend(limits.unset.into_iter().map(|limit| (limit, Value::Null)));
    if !changes.is_empty() {
        session.send(session.client.request(Method::PATCH, &path)?.json(&json!({"limits": changes}))).await?;
    }
    let answer = session.get(&format!("{path}/limits")).await?;
    let row = |limit: &Value| ["name", "used", "limit", "unit", "from"].map(|field| cell(&limit[field])).to_vec();
    let rows = items(&answer).iter().map(row).collect();
    session.show(&answer, || output::table(&["LIMIT", "USED", "ALLOWED", "UNIT", "FROM"], rows, "none"))
}
