//! Modules: seeing and deleting them. Uploads are in [`super::upload`].
//!
//! Must never: delete bytes that another project of the tenant still has.

use super::App;
use super::extract::{ListParams, Names, Params, list_json};
use crate::policy::Permit;
use crate::policy::action::{DeleteModules, DownloadModule, ReadModules};
use crate::problem::Problem;
use crate::store::ModuleRow;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::manifest::ModuleRef;
use bulkhead_core::name::{ModuleDigest, ModuleName, ProjectId};
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

#[derive(Deserialize)]
pub(super) struct InProject {
    project: ProjectId,
}

/// `{module}` is a name, or `sha256:…`.
#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    module: String,
}

impl Which {
    fn parse(&self) -> Result<ModuleRef, Problem> {
        if self.module.starts_with("sha256:") {
            self.module
                .parse()
                .map(ModuleRef::Digest)
                .map_err(|error: bulkhead_core::name::NameError| Problem::bad_request(error.to_string()))
        } else {
            let name = self
                .module
                .parse()
                .map_err(|error: bulkhead_core::name::NameError| Problem::bad_request(error.to_string()))?;
            Ok(ModuleRef::Tag(name, "latest".parse().map_err(Problem::internal)?))
        }
    }
}

/// A module as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Module)]
pub(super) struct ModuleView {
    #[schema(value_type = String)]
    digest: ModuleDigest,
    bytes: u64,
    imports: Vec<String>,
    uploaded_at: String,
    uploaded_by: String,
    tags: Vec<String>,
}

/// What the tags of a name point at.
#[derive(Serialize, ToSchema)]
pub(super) struct NameView {
    #[schema(value_type = String)]
    name: ModuleName,
    tags: Vec<Tagged>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TaggedModule)]
struct Tagged {
    tag: String,
    module: ModuleView,
}

impl From<ModuleRow> for ModuleView {
    fn from(row: ModuleRow) -> Self {
        let ModuleRow { digest, bytes, imports, uploaded_ms, uploaded_by, tags, ticks: _ } = row;
        Self { digest, bytes, imports, uploaded_at: format_rfc3339_ms(uploaded_ms), uploaded_by, tags }
    }
}

pub(super) async fn list(
    permit: Permit<ReadModules>,
    Names(at): Names<InProject>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    permit.store().need_project(permit.scope(), &at.project).await?;
    let rows = permit.store().modules(permit.scope(), &at.project, &page).await?;
    let views: Vec<_> = rows.into_iter().map(ModuleView::from).collect();
    Ok(Json(list_json(&views, &page, |view| view.digest.to_string())))
}

/// One module by digest, or what each tag of a name points at.
pub(super) async fn one(permit: Permit<ReadModules>, Names(at): Names<Which>) -> Result<Json<Value>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let missing = || Problem::not_found(format!("module `{}`", at.module));
    match at.parse()? {
        ModuleRef::Digest(digest) => {
            let row = store.module(scope, &at.project, &digest).await?.ok_or_else(missing)?;
            Ok(Json(json!(ModuleView::from(row))))
        }
        ModuleRef::Tag(name, _) => {
            let mut tags = Vec::new();
            for (tag, digest) in store.tags(scope, &at.project, &name).await? {
                let row = store.module(scope, &at.project, &digest).await?.ok_or_else(missing)?;
                tags.push(Tagged { tag, module: ModuleView::from(row) });
            }
            if tags.is_empty() {
                return Err(missing());
            }
            Ok(Json(json!(NameView { name, tags })))
        }
    }
}

/// The bytes of a module, by digest.
pub(super) async fn content(
    permit: Permit<DownloadModule>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found(format!("module `{}`", at.module));
    let ModuleRef::Digest(digest) = at.parse()? else {
        return Err(Problem::bad_request("name the module by its digest, `sha256:…`"));
    };
    permit.store().module(permit.scope(), &at.project, &digest).await?.ok_or_else(missing)?;
    let (length, bytes) = app.blobs().read(permit.scope(), &digest).await?.ok_or_else(missing)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/wasm")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// Deletes a name with all its tags and the modules that only it pointed at; or one module, by digest.
pub(super) async fn delete(
    permit: Permit<DeleteModules>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<StatusCode, Problem> {
    let which = at.parse()?;
    let _together = app.blobs().together().await;
    for digest in permit.store().delete_modules(permit.scope(), &at.project, &which).await? {
        app.blobs().delete(permit.scope(), &digest).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
