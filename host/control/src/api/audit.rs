//! The audit: a tenant's for its admins, the platform's for the platform's; searched, exported whole, and its signed checkpoints.
//!
//! Must never: be writable, or show a line otherwise than it was hashed.

mod export;
mod topic;

pub(super) use topic::{TopicForm, TopicStateView, off, set, state};

use super::App;
use super::extract::{Params, list_json, page};
use super::logs::moment;
use crate::audit::checkpoint::sign;
use crate::audit::line::Chain;
use crate::policy::Permit;
use crate::policy::action::{Action, ReadAudit, ReadPlatformAudit};
use crate::problem::Problem;
use crate::store::AuditFilter;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::audit::Link;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// The content type of an export: a line of JSON for each line of the chain.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// A line of an audit, for the description: more fields may stand in it, and all of them are hashed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditLine)]
pub(super) struct LineView {
    /// Its number in the chain, from 1.
    seq: u64,
    /// Which chain; new with every tenant that is made.
    chain: String,
    at: String,
    /// `decision`, `outcome`, `use` or `pruned`.
    kind: String,
    /// The `sub` of the token; empty where nobody asked.
    subject: String,
    action: String,
    /// What it is about below its tenant: `project/default/pipeline/p`.
    resource: String,
    allowed: bool,
    /// The hash of the line before.
    prev: String,
    /// SHA-256 of this line's canonical form.
    hash: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditParams {
    /// The `next` of the page before.
    #[serde(default)]
    after: String,
    /// Lines at most, 1 to 1,000; 100 unasked.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// From this time on.
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// Only of this subject.
    #[serde(default)]
    subject: String,
    /// Only of this action, `pipelines.apply`, or of all of a kind, `pipelines`.
    #[serde(default)]
    action: String,
    /// Only about this resource and what is below it, for instance `project/default`.
    #[serde(default)]
    resource: String,
    /// Only lines of this kind.
    #[serde(default)]
    kind: String,
    /// Only what was allowed, or only what was refused.
    allowed: Option<bool>,
}

impl AuditParams {
    fn before(&self) -> Result<i64, Problem> {
        if self.after.is_empty() {
            return Ok(i64::MAX);
        }
        let before: Option<i64> = self.after.parse().ok().filter(|before| *before > 0);
        before.ok_or_else(|| Problem::bad_request("`after` is the `next` of the page before"))
    }

    fn filter(self) -> Result<AuditFilter, Problem> {
        Ok(AuditFilter {
            since_ms: moment(self.since.as_deref(), 0)?,
            until_ms: moment(self.until.as_deref(), i64::MAX)?,
            subject: self.subject,
            action: self.action,
            resource: self.resource,
            kind: self.kind,
            allowed: self.allowed,
        })
    }
}

pub(super) async fn list(
    permit: Permit<ReadAudit>,
    Params(params): Params<AuditParams>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let chain = Chain::Tenant(permit.scope().clone());
    lines(permit, chain, params, app, &headers).await
}

/// The platform's own chain.
pub(super) async fn list_platform(
    permit: Permit<ReadPlatformAudit>,
    Params(params): Params<AuditParams>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    lines(permit, Chain::Platform, params, app, &headers).await
}

async fn lines<A: Action>(
    permit: Permit<A>,
    chain: Chain,
    params: AuditParams,
    app: App,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if headers.get_all(header::ACCEPT).iter().any(|kind| kind.as_bytes().starts_with(NDJSON.as_bytes())) {
        return export::stream(permit, chain, app).await;
    }
    let (page, before) = (page(&params.after, params.limit)?, params.before()?);
    let lines = permit.store().audit_page(&chain, &params.filter()?, before, page.limit).await?;
    let next =
        |line: &serde_json::Map<String, Value>| Link::of(line).map_or_else(String::new, |link| link.seq.to_string());
    Ok(Json(list_json(&lines, &page, next)).into_response())
}

/// The checkpoints of a chain.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditCheckpoints)]
pub(super) struct CheckpointsView {
    /// Signed at their time, the oldest first.
    items: Vec<CheckpointView>,
    /// The end of the chain now, signed for this answer; null for a chain without lines.
    head: Option<CheckpointView>,
}

/// A checkpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditCheckpoint)]
pub(super) struct CheckpointView {
    /// The line that it vouches for, and with it for all before.
    pub(super) seq: i64,
    /// A JWS, signed with the issuer's key.
    pub(super) checkpoint: String,
}

pub(super) async fn checkpoints(
    permit: Permit<ReadAudit>,
    State(app): State<App>,
) -> Result<Json<CheckpointsView>, Problem> {
    all_checkpoints(&permit, &Chain::Tenant(permit.scope().clone()), &app).await.map(Json)
}

/// Those of the platform's own chain.
pub(super) async fn platform_checkpoints(
    permit: Permit<ReadPlatformAudit>,
    State(app): State<App>,
) -> Result<Json<CheckpointsView>, Problem> {
    all_checkpoints(&permit, &Chain::Platform, &app).await.map(Json)
}

async fn all_checkpoints<A: Action>(permit: &Permit<A>, chain: &Chain, app: &App) -> Result<CheckpointsView, Problem> {
    let items = permit.store().checkpoints(chain, 0).await?;
    let items = items.into_iter().map(|(seq, checkpoint)| CheckpointView { seq, checkpoint }).collect();
    let head = match permit.store().audit_end(chain).await? {
        Some(end) if end.seq > 0 => {
            Some(CheckpointView { seq: end.seq, checkpoint: sign(app.signer(), chain.key(), &end.anchor())? })
        }
        _ => None,
    };
    Ok(CheckpointsView { items, head })
}
