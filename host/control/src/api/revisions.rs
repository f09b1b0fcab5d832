//! A pipeline's revisions: what was applied, when, and by whom.
//!
//! Must never: be writable.

use super::extract::{ListParams, Names, Params, list_json};
use super::pipelines::{Which, modules_of};
use crate::policy::Permit;
use crate::policy::action::ReadPipelines;
use crate::problem::Problem;
use crate::store::RevisionRow;
use axum::Json;
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Deserialize)]
pub(super) struct WhichRevision {
    project: ProjectId,
    pipeline: PipelineName,
    revision: u64,
}

/// A revision as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Revision)]
pub(super) struct RevisionView {
    revision: u64,
    applied_at: String,
    /// The subject of the token that it was applied with.
    applied_by: String,
    /// The revision that it repeats, where it came from a rollback.
    rolled_back_to: Option<u64>,
    /// The start that was asked for with it.
    start: Option<String>,
    /// Whether it is the one that runs.
    current: bool,
    /// The digest that each stage's module was resolved to.
    modules: BTreeMap<String, String>,
    /// As applied; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
}

impl RevisionView {
    fn of(row: RevisionRow, current: u64) -> Self {
        Self {
            revision: row.revision,
            applied_at: format_rfc3339_ms(row.applied_ms),
            applied_by: row.applied_by,
            rolled_back_to: row.rolled_back_to,
            start: row.start.map(|start| start.to_string()),
            current: row.revision == current,
            modules: modules_of(&row.spec),
            manifest: Some(row.manifest),
        }
    }
}

/// Newest first; `after` is the number of the last one seen.
pub(super) async fn list(
    permit: Permit<ReadPipelines>,
    Names(at): Names<Which>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let (store, scope) = (permit.store(), permit.scope());
    let before = match page.after.as_str() {
        "" => i64::MAX,
        after => after.parse().map_err(|_| Problem::bad_request("`after` is the `next` of the page before"))?,
    };
    let current = store.pipeline(scope, &at.project, &at.pipeline).await?.revision;
    let rows = store.revisions(scope, &at.project, &at.pipeline, (before, page.limit)).await?;
    let views: Vec<_> =
        rows.into_iter().map(|row| RevisionView { manifest: None, ..RevisionView::of(row, current) }).collect();
    Ok(Json(list_json(&views, &page, |view| view.revision.to_string())))
}

pub(super) async fn one(
    permit: Permit<ReadPipelines>,
    Names(at): Names<WhichRevision>,
) -> Result<Json<RevisionView>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let current = store.pipeline(scope, &at.project, &at.pipeline).await?.revision;
    let row = store.revision(scope, &at.project, &at.pipeline, at.revision).await?;
    Ok(Json(RevisionView::of(row, current)))
}
