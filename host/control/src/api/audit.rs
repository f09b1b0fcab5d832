//! A tenant's audit, newest first.
//!
//! Must never: be writable.

use super::extract::{ListParams, Params, list_json};
use crate::policy::Permit;
use crate::policy::action::ReadAudit;
use crate::problem::Problem;
use axum::Json;
use serde_json::Value;

pub(super) async fn list(
    permit: Permit<ReadAudit>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let rows = permit.store().audit(permit.scope(), &page).await?;
    Ok(Json(list_json(&rows, &page, |row| row.id().to_owned())))
}
