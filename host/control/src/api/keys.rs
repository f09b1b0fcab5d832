//! A tenant's keys: which versions there are, and a new one.
//!
//! Must never: show a key, wrapped or not.

use super::App;
use crate::policy::Permit;
use crate::policy::action::{ReadKeys, RotateKey};
use crate::problem::Problem;
use crate::store::KeyRow;
use axum::Json;
use axum::extract::State;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A version of the tenant's key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(super) struct KeyView {
    /// Rises with every rotation.
    version: u32,
    /// Whether it seals what is written now. Earlier ones only open.
    current: bool,
    created_at: String,
    created_by: String,
}

fn shown(rows: Vec<KeyRow>) -> Json<Value> {
    let newest = rows.iter().map(|row| row.version).max();
    let view = |row: KeyRow| KeyView {
        version: row.version,
        current: Some(row.version) == newest,
        created_at: format_rfc3339_ms(row.made_ms),
        created_by: row.made_by,
    };
    let views: Vec<_> = rows.into_iter().map(view).collect();
    Json(json!({"items": views, "next": null}))
}

pub(super) async fn list(permit: Permit<ReadKeys>) -> Result<Json<Value>, Problem> {
    Ok(shown(permit.store().list_keys(permit.scope()).await?))
}

pub(super) async fn rotate(permit: Permit<RotateKey>, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let by = permit.principal().subject();
    Ok(shown(permit.store().rotate_key(permit.scope(), app.vault(), by).await?))
}
