//! Roles: those that Bulkhead ships, and a tenant's own.
//!
//! Must never: change what a shipped role may do.

use super::super::App;
use super::super::extract::{Form, Names};
use super::{DESCRIPTION_CHARS_MAX, action_named, within_own};
use crate::policy::action::{DefineRoles, Group, ReadAccess};
use crate::policy::{HeldRole, Permit, Place};
use crate::problem::Problem;
use crate::store::{RoleRow, now_ms};
use crate::token::Role;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use bulkhead_core::name::RoleName;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// A role as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccessRole)]
pub(super) struct RoleView {
    name: String,
    description: String,
    /// Whether it comes with Bulkhead; otherwise it is the tenant's own.
    shipped: bool,
    actions: Vec<String>,
    /// When it was changed last; null for shipped ones.
    updated_at: Option<String>,
    /// The subject of the token that it was changed with; null for shipped ones.
    updated_by: Option<String>,
}

impl From<RoleRow> for RoleView {
    fn from(row: RoleRow) -> Self {
        let RoleRow { name, description, actions, updated_ms, updated_by } = row;
        let (updated_at, updated_by) = (Some(format_rfc3339_ms(updated_ms)), Some(updated_by));
        Self { name: name.to_string(), description, shipped: false, actions, updated_at, updated_by }
    }
}

/// What a role of one's own is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAccessRole)]
pub(super) struct NewRole {
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Names of actions, for instance `pipelines.pause`.
    actions: BTreeSet<String>,
}

#[derive(Deserialize)]
pub(super) struct Which {
    role: RoleName,
}

/// All of them: there are few.
pub(super) async fn list(permit: Permit<ReadAccess>, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let mut views = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| role.is_of_tenant()) {
        let actions = app.policy().actions_of(&HeldRole::Shipped(role))?;
        views.push(RoleView {
            name: role.to_string(),
            description: app.policy().says(role).to_owned(),
            shipped: true,
            actions: actions.into_iter().map(str::to_owned).collect(),
            updated_at: None,
            updated_by: None,
        });
    }
    views.extend(permit.store().own_roles(permit.scope()).await?.into_iter().map(RoleView::from));
    Ok(Json(json!({"items": views, "next": null})))
}

/// 201 where it is new. One that is changed is changed for everybody who has it.
pub(super) async fn put(
    permit: Permit<DefineRoles>,
    Names(at): Names<Which>,
    State(app): State<App>,
    Form(new): Form<NewRole>,
) -> Result<(StatusCode, Json<RoleView>), Problem> {
    refuse_ours(&at.role)?;
    if new.description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Problem::bad_request(format!("a description has at most {DESCRIPTION_CHARS_MAX} characters")));
    }
    let mut actions = Vec::new();
    for name in &new.actions {
        let action = action_named(name)?;
        if !action.is_grantable() {
            let detail = format!("`{}` cannot be part of a role of your own; leave it out", action.name);
            return Err(Problem::new(Code::RoleRefused, detail));
        }
        actions.push(action.name);
    }
    if actions.is_empty() {
        return Err(Problem::new(Code::RoleRefused, "a role allows something: name at least one action"));
    }
    // On the whole tenant, wherever the role is bound.
    within_own(&app, &permit, &Place::of(permit.scope().tenant(), None), &actions).await?;
    let row = RoleRow {
        name: at.role,
        description: new.description,
        actions: actions.into_iter().map(str::to_owned).collect(),
        updated_ms: now_ms(),
        updated_by: permit.principal().subject().to_owned(),
    };
    let made =
        permit.store().put_role(permit.scope(), &row, permit.store().limits(permit.scope()).await?.roles).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(RoleView::from(row))))
}

pub(super) async fn delete(permit: Permit<DefineRoles>, Names(at): Names<Which>) -> Result<StatusCode, Problem> {
    refuse_ours(&at.role)?;
    permit.store().delete_role(permit.scope(), &at.role).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names of shipped roles, and of groups of actions, which would read like roles in an explanation.
fn refuse_ours(name: &RoleName) -> Result<(), Problem> {
    let taken = name.as_str().parse::<Role>().is_ok() || Group::ALL.iter().any(|group| group.as_str() == name.as_str());
    if taken {
        let detail = format!("`{name}` is a name of Bulkhead's own and stays as it is; choose another");
        return Err(Problem::new(Code::RoleRefused, detail));
    }
    Ok(())
}
