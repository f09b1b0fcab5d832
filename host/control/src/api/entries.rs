//! Config entries and secrets of a project: what it has, what it inherits, putting and deleting.
//!
//! A secret's value goes in and never comes out here: no answer holds one, whatever the role. Stages get it by another way ([`super::lend`]).
//! Must never: put a value into an error, a log or the audit.

use super::App;
use super::body::Limited;
use super::extract::{Names, Params, list_json, page};
use super::pipelines::tagged;
use crate::condition::Condition;
use crate::policy::Permit;
use crate::policy::action::{Action, DeleteConfig, DeleteSecret, ReadConfig, ReadSecrets, WriteConfig, WriteSecret};
use crate::problem::Problem;
use crate::store::{EntryAt, EntryRow, Kind, Page, Put, Putting};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bulkhead_core::limits::{CONFIG_ENTRY_BYTES_MAX, SECRET_BYTES_MAX};
use bulkhead_core::name::{EntryName, ProjectId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize)]
pub(super) struct InProject {
    project: ProjectId,
}

#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    name: EntryName,
}

impl Which {
    fn at(&self, kind: Kind) -> EntryAt<'_> {
        EntryAt { kind, project: &self.project, name: &self.name }
    }
}

/// Which entries of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesParams {
    /// The `next` of the page before.
    #[serde(default)]
    after: String,
    /// Entries at most, 1 to 1,000; 100 unasked.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Also what projects around this one have and it does not override: what its pipelines see.
    #[serde(default)]
    inherited: bool,
}

/// Where to look for one entry.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryParams {
    /// Also in the projects around this one, the nearest first.
    #[serde(default)]
    inherited: bool,
}

/// A secret as clients see it: never with its value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Secret)]
pub(super) struct SecretView {
    #[schema(value_type = String)]
    name: EntryName,
    /// The project that it is in.
    #[schema(value_type = String)]
    project: ProjectId,
    /// Rises with every other value.
    version: i64,
    created_at: String,
    updated_at: String,
    updated_by: String,
}

/// A config entry as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConfigEntry)]
pub(super) struct ConfigView {
    #[serde(flatten)]
    entry: SecretView,
    /// Any JSON.
    value: Value,
}

impl From<EntryRow> for SecretView {
    fn from(row: EntryRow) -> Self {
        Self {
            created_at: format_rfc3339_ms(row.made_ms),
            updated_at: format_rfc3339_ms(row.updated_ms),
            name: row.name,
            project: row.project,
            version: row.version,
            updated_by: row.updated_by,
        }
    }
}

pub(super) async fn list_secrets(
    permit: Permit<ReadSecrets>,
    Names(at): Names<InProject>,
    Params(params): Params<EntriesParams>,
) -> Result<Json<Value>, Problem> {
    let (rows, page) = rows(&permit, &at.project, Kind::Secret, params).await?;
    let views: Vec<_> = rows.into_iter().map(SecretView::from).collect();
    Ok(Json(list_json(&views, &page, |view| view.name.to_string())))
}

pub(super) async fn list_config(
    permit: Permit<ReadConfig>,
    Names(at): Names<InProject>,
    Params(params): Params<EntriesParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let (rows, page) = rows(&permit, &at.project, Kind::Config, params).await?;
    let views = with_values(&permit, &app, rows).await?;
    Ok(Json(list_json(&views, &page, |view| view.entry.name.to_string())))
}

async fn rows<A: Action<Reach = TenantScope>>(
    permit: &Permit<A>,
    project: &ProjectId,
    kind: Kind,
    params: EntriesParams,
) -> Result<(Vec<EntryRow>, Page), Problem> {
    let page = page(&params.after, params.limit)?;
    permit.store().need_project(permit.scope(), project).await?;
    let rows = permit.store().list_entries(permit.scope(), project, (kind, params.inherited), &page).await?;
    Ok((rows, page))
}

async fn with_values<A: Action<Reach = TenantScope>>(
    permit: &Permit<A>,
    app: &App,
    rows: Vec<EntryRow>,
) -> Result<Vec<ConfigView>, Problem> {
    let values = permit.store().open_entries(permit.scope(), app.vault(), &rows).await?;
    let view = |(row, value): (EntryRow, &[u8])| {
        let value = serde_json::from_slice(value);
        let value = value.map_err(|_| Problem::internal("metadata holds a config entry that is not JSON"))?;
        Ok(ConfigView { entry: row.into(), value })
    };
    rows.into_iter().zip(values.iter().map(|value| value.as_slice())).map(view).collect()
}

pub(super) async fn secret(
    permit: Permit<ReadSecrets>,
    Names(at): Names<Which>,
    Params(params): Params<EntryParams>,
) -> Result<impl IntoResponse, Problem> {
    let row = permit.store().entry(permit.scope(), at.at(Kind::Secret), params.inherited).await?;
    Ok((tagged(&row.etag()), Json(SecretView::from(row))))
}

pub(super) async fn config(
    permit: Permit<ReadConfig>,
    Names(at): Names<Which>,
    Params(params): Params<EntryParams>,
    State(app): State<App>,
) -> Result<impl IntoResponse, Problem> {
    let row = permit.store().entry(permit.scope(), at.at(Kind::Config), params.inherited).await?;
    let etag = row.etag();
    let mut views = with_values(&permit, &app, vec![row]).await?;
    let view = views.pop().ok_or_else(|| Problem::internal("an entry without its tenant's key"))?;
    Ok((tagged(&etag), Json(view)))
}

pub(super) async fn put_secret(
    permit: Permit<WriteSecret>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
    Limited(value): Limited<SECRET_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    if value.is_empty() {
        return Err(Problem::bad_request("the body is the secret's value, and it is empty; delete the secret instead"));
    }
    let (put, row) = put(&permit, &app, at.at(Kind::Secret), &headers, &value).await?;
    Ok((status(put), tagged(&row.etag()), Json(SecretView::from(row))))
}

pub(super) async fn put_config(
    permit: Permit<WriteConfig>,
    Names(at): Names<Which>,
    State(app): State<App>,
    headers: HeaderMap,
    Limited(body): Limited<CONFIG_ENTRY_BYTES_MAX>,
) -> Result<impl IntoResponse, Problem> {
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is the entry's value as JSON, and is not: {error}")))?;
    let (put, row) = put(&permit, &app, at.at(Kind::Config), &headers, value.to_string().as_bytes()).await?;
    Ok((status(put), tagged(&row.etag()), Json(ConfigView { entry: row.into(), value })))
}

async fn put<A: Action<Reach = TenantScope>>(
    permit: &Permit<A>,
    app: &App,
    at: EntryAt<'_>,
    headers: &HeaderMap,
    value: &[u8],
) -> Result<(Put, EntryRow), Problem> {
    let quotas = permit.store().limits(permit.scope()).await?;
    let putting = Putting {
        by: permit.principal().subject(),
        condition: &Condition::read(headers)?,
        entries_max: quotas.entries,
        vault: app.vault(),
    };
    permit.store().put_entry(permit.scope(), at, value, &putting).await
}

fn status(put: Put) -> StatusCode {
    if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK }
}

pub(super) async fn delete_secret(
    permit: Permit<DeleteSecret>,
    Names(at): Names<Which>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    delete(&permit, at.at(Kind::Secret), &headers).await
}

pub(super) async fn delete_config(
    permit: Permit<DeleteConfig>,
    Names(at): Names<Which>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    delete(&permit, at.at(Kind::Config), &headers).await
}

async fn delete<A: Action<Reach = TenantScope>>(
    permit: &Permit<A>,
    at: EntryAt<'_>,
    headers: &HeaderMap,
) -> Result<StatusCode, Problem> {
    permit.store().delete_entry(permit.scope(), at, &Condition::read(headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
