//! Tags: the names under which a project's modules are found.
//!
//! Must never: change what a pipeline runs: it keeps the digests that its manifest had when it was applied.

use super::extract::{Form, ListParams, Names, Params, list_json};
use super::pipelines::tagged;
use crate::condition::Condition;
use crate::policy::Permit;
use crate::policy::action::{ReadModules, TagModules};
use crate::problem::Problem;
use crate::store::TagRow;
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bulkhead_core::name::{ModuleDigest, ModuleName, ProjectId};
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Deserialize)]
pub(super) struct OfModule {
    project: ProjectId,
    module: ModuleName,
}

#[derive(Deserialize)]
pub(super) struct WhichTag {
    project: ProjectId,
    module: ModuleName,
    tag: ModuleName,
}

/// What a tag is to point at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TagTarget)]
pub(super) struct Pointed {
    /// A module of the project.
    #[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
    digest: ModuleDigest,
}

/// A tag as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tag)]
pub(super) struct TagView {
    /// The module's name, before the colon.
    #[schema(value_type = String)]
    name: ModuleName,
    /// After the colon.
    tag: String,
    #[schema(value_type = String)]
    digest: ModuleDigest,
    updated_at: String,
}

impl TagView {
    fn of(name: ModuleName, row: TagRow) -> Self {
        let TagRow { tag, digest, updated_ms } = row;
        Self { name, tag, digest, updated_at: format_rfc3339_ms(updated_ms) }
    }
}

fn answer(name: ModuleName, row: TagRow) -> impl IntoResponse {
    (tagged(&row.etag()), Json(TagView::of(name, row)))
}

pub(super) async fn list(
    permit: Permit<ReadModules>,
    Names(at): Names<OfModule>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    permit.store().need_project(permit.scope(), &at.project).await?;
    let rows = permit.store().list_tags(permit.scope(), &at.project, &at.module, &page).await?;
    let views: Vec<_> = rows.into_iter().map(|row| TagView::of(at.module.clone(), row)).collect();
    Ok(Json(list_json(&views, &page, |view| view.tag.clone())))
}

pub(super) async fn one(permit: Permit<ReadModules>, Names(at): Names<WhichTag>) -> Result<impl IntoResponse, Problem> {
    let row = permit.store().tag(permit.scope(), &at.project, (&at.module, &at.tag)).await?;
    Ok(answer(at.module, row))
}

/// Points the tag at a module: 201 where it is new.
pub(super) async fn put(
    permit: Permit<TagModules>,
    Names(at): Names<WhichTag>,
    headers: HeaderMap,
    Form(pointed): Form<Pointed>,
) -> Result<impl IntoResponse, Problem> {
    let condition = Condition::read(&headers)?;
    let name = (&at.module, &at.tag);
    let (created, row) = permit.store().put_tag(permit.scope(), &at.project, name, &pointed.digest, &condition).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(at.module, row)))
}

/// Takes the tag away. The module stays, by its digest.
pub(super) async fn delete(
    permit: Permit<TagModules>,
    Names(at): Names<WhichTag>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let condition = Condition::read(&headers)?;
    permit.store().delete_tag(permit.scope(), &at.project, (&at.module, &at.tag), &condition).await?;
    Ok(StatusCode::NO_CONTENT)
}
