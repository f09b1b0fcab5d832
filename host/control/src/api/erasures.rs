//! Erasures, for the platform: how far they are, and the reports.
//!
//! Must never: say whose an erasure was, but to whoever knows the name.

use super::App;
use super::extract::{ListParams, Names, Params, list_json};
use crate::policy::Permit;
use crate::policy::action::ReadErasures;
use crate::problem::Problem;
use crate::store::{Erasure, Looked};
use axum::Json;
use axum::extract::State;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An erasure as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Erasure)]
pub(super) struct ErasureView {
    id: String,
    /// `sha256:` of the id, a colon and the tenant's name.
    tenant_digest: String,
    complete: bool,
    started_at: String,
    finished_at: Option<String>,
    by: String,
    /// What was removed, by kind.
    deleted: BTreeMap<String, u64>,
    /// What is still to be done.
    remaining: Vec<String>,
    /// What was looked for, how, and how much was found.
    verified: Vec<Looked>,
    /// The same, signed: a JSON Web Signature by this server's key. One of an erasure that is not complete says so.
    report: String,
}

impl ErasureView {
    pub(super) fn of(app: &App, erasure: &Erasure) -> Result<Self, Problem> {
        let report = if erasure.complete { erasure.report.clone() } else { app.sign_report(erasure, &[])? };
        Ok(Self {
            id: erasure.id.clone(),
            tenant_digest: erasure.name_digest.clone(),
            complete: erasure.complete,
            started_at: format_rfc3339_ms(erasure.begun_ms),
            finished_at: erasure.ended_ms.map(format_rfc3339_ms),
            by: erasure.begun_by.clone(),
            deleted: erasure.deleted.clone(),
            remaining: erasure.remaining.clone(),
            verified: erasure.verified.clone(),
            report,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Which {
    erasure: String,
}

pub(super) async fn list(
    permit: Permit<ReadErasures>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let rows = permit.store().erasures(permit.reach(), &page).await?;
    let views = rows.iter().map(|row| ErasureView::of(&app, row)).collect::<Result<Vec<_>, _>>()?;
    Ok(Json(list_json(&views, &page, |view| view.id.clone())))
}

pub(super) async fn one(
    permit: Permit<ReadErasures>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<ErasureView>, Problem> {
    let _platform = permit.reach();
    let row = permit.store().find_erasure(&at.erasure).await?.ok_or_else(|| Problem::not_found("such erasure"))?;
    Ok(Json(ErasureView::of(&app, &row)?))
}
