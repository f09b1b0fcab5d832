//! Projects: making, seeing and deleting them.
//!
//! Must never: delete anything but the project itself.

use super::App;
use super::extract::{Form, ListParams, Names, Params, list_json};
use super::pipelines::{InProject, tagged};
use crate::condition::Condition;
use crate::policy::Permit;
use crate::policy::action::{Action, CreateProject, DeleteProject, ListProjects, ReadProjects};
use crate::problem::Problem;
use crate::store::{Page, ProjectRow};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use bulkhead_core::name::ProjectId;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Characters of a project's description at most: a sentence for lists, not a document.
const DESCRIPTION_CHARS_MAX: usize = 500;

/// A project to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProject {
    /// Its name: `shop.eu` lies in `shop`.
    #[schema(value_type = String, max_length = 63)]
    name: ProjectId,
    /// What it is for.
    #[serde(default)]
    description: String,
}

/// A project as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Project)]
pub(super) struct ProjectView {
    name: String,
    description: String,
    created_at: String,
}

impl From<ProjectRow> for ProjectView {
    fn from(row: ProjectRow) -> Self {
        let ProjectRow { name, description, created_ms } = row;
        Self { name, description, created_at: format_rfc3339_ms(created_ms) }
    }
}

fn answer(row: ProjectRow) -> impl IntoResponse {
    (tagged(&row.etag()), Json(ProjectView::from(row)))
}

pub(super) async fn create(
    permit: Permit<CreateProject>,
    Form(new): Form<NewProject>,
) -> Result<impl IntoResponse, Problem> {
    if new.description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Problem::bad_request(format!("a description has at most {DESCRIPTION_CHARS_MAX} characters")));
    }
    let max = permit.store().limits(permit.scope()).await?.projects;
    let row = permit.store().create_project(permit.scope(), &new.name, &new.description, max).await?;
    Ok((StatusCode::CREATED, answer(row)))
}

pub(super) async fn list(
    permit: Permit<ListProjects>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    // All that follow, since some of them may not be the caller's to see; a tenant has a bounded number.
    let all = Page { limit: u32::MAX, ..page.clone() };
    let rows = permit.store().list_projects(permit.scope(), &all).await?;
    let mut rows = app.policy().projects_for(&permit, ReadProjects::NAME, rows, |row| row.name.as_str()).await?;
    rows.truncate(page.limit as usize);
    let views: Vec<_> = rows.into_iter().map(ProjectView::from).collect();
    Ok(Json(list_json(&views, &page, |view| view.name.clone())))
}

pub(super) async fn one(
    permit: Permit<ReadProjects>,
    Names(at): Names<InProject>,
) -> Result<impl IntoResponse, Problem> {
    Ok(answer(permit.store().project(permit.scope(), &at.project).await?))
}

pub(super) async fn delete(
    permit: Permit<DeleteProject>,
    Names(at): Names<InProject>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    permit.store().delete_project(permit.scope(), &at.project, &Condition::read(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
