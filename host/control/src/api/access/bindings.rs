//! Role bindings: listing, giving, taking back; on the tenant, or on a project and all that lie in it.
//!
//! Must never: take a subject without the kind before its name: a user whose name is that of a group would have the group's roles.

use super::super::App;
use super::super::extract::{ListParams, Names, Params};
use super::{role_named, within_own};
use crate::policy::Permit;
use crate::policy::action::{GrantAccess, ReadAccess};
use crate::problem::Problem;
use crate::store::{BindingRow, Bound, Page};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::name::ProjectId;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Bytes of a subject's name at most: as of a token's `sub`.
const SUBJECT_BYTES_MAX: usize = 200;

/// A binding as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RoleBinding)]
pub(super) struct BindingView {
    /// `user:` or `group:` and a name.
    subject: String,
    role: String,
    /// Where it counts, with all that lie in it; null for the whole tenant.
    project: Option<String>,
    granted_at: String,
    /// The subject of the token that it was given with.
    granted_by: String,
}

impl From<BindingRow> for BindingView {
    fn from(row: BindingRow) -> Self {
        let BindingRow { subject, role, project, granted_ms, granted_by } = row;
        Self { subject, role, project, granted_at: format_rfc3339_ms(granted_ms), granted_by }
    }
}

/// A binding that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BoundRole)]
pub(super) struct BoundView {
    subject: String,
    role: String,
    /// Null for the whole tenant.
    #[schema(value_type = Option<String>)]
    project: Option<ProjectId>,
}

#[derive(Deserialize)]
pub(super) struct Where {
    #[serde(default)]
    project: Option<ProjectId>,
}

#[derive(Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    project: Option<ProjectId>,
    subject: String,
    role: String,
}

impl Which {
    fn bound(&self) -> Result<Bound<'_>, Problem> {
        let name = self.subject.strip_prefix("user:").or_else(|| self.subject.strip_prefix("group:"));
        let well = |name: &&str| (1..=SUBJECT_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if name.filter(well).is_none() {
            let detail = format!(
                "a subject is `user:` or `group:` and a name of 1 to {SUBJECT_BYTES_MAX} bytes without control characters"
            );
            return Err(Problem::bad_request(detail));
        }
        Ok(Bound { subject: &self.subject, role: &self.role, project: self.project.as_ref() })
    }
}

pub(super) async fn list(
    permit: Permit<ReadAccess>,
    Names(at): Names<Where>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, Problem> {
    let page: Page = params.page()?;
    if let Some(project) = &at.project {
        permit.store().need_project(permit.scope(), project).await?;
    }
    let rows = permit.store().bindings(permit.scope(), at.project.as_ref(), &page).await?;
    let next = rows.last().filter(|_| rows.len() >= page.limit as usize).map(|(id, _)| id.clone());
    let items: Vec<_> = rows.into_iter().map(|(_, row)| BindingView::from(row)).collect();
    Ok(Json(json!({"items": items, "next": next})))
}

/// 201 where it is new.
pub(super) async fn put(
    permit: Permit<GrantAccess>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<(StatusCode, Json<BoundView>), Problem> {
    let bound = at.bound()?;
    if let Some(project) = &at.project {
        permit.store().need_project(permit.scope(), project).await?;
    }
    let role = role_named(&permit, bound.role).await?;
    within_own(&app, &permit, &permit.place(), &app.policy().actions_of(&role)?).await?;
    let max = permit.store().limits(permit.scope()).await?.role_bindings;
    let made = permit.store().bind(permit.scope(), bound, permit.principal().subject(), max).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(BoundView { subject: at.subject, role: at.role, project: at.project })))
}

/// Whoever may give roles may take any back: that gives nobody anything.
pub(super) async fn delete(permit: Permit<GrantAccess>, Names(at): Names<Which>) -> Result<StatusCode, Problem> {
    permit.store().unbind(permit.scope(), at.bound()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
