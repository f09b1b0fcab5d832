//! Why something is or would be allowed or refused.
//!
//! Must never: tell a caller of anybody else's roles without the right to read them.

use super::super::App;
use super::super::extract::Params;
use super::action_named;
use crate::policy::action::{ExplainAccess, ExplainOwnAccess};
use crate::policy::{Asked, Explained, HeldRole, Holding, Permit, Place};
use crate::problem::Problem;
use crate::store::RoleRow;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::{Json, RequestPartsExt};
use bulkhead_core::name::ProjectId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// The action, for instance `pipelines.apply`.
    action: String,
    /// On which project; on the tenant where it is left out.
    #[param(value_type = Option<String>)]
    project: Option<ProjectId>,
    /// For whom: `user:` or `group:` and a name; for the caller where it is left out.
    subject: Option<String>,
}

/// The right to ask for oneself, or for somebody else: which one the query says, so that the audit tells them apart.
pub(super) enum Asking {
    Own(Permit<ExplainOwnAccess>),
    Other(Permit<ExplainAccess>),
}

impl FromRequestParts<App> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let other = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("subject=")));
        if other {
            parts.extract_with_state(app).await.map(Self::Other)
        } else {
            parts.extract_with_state(app).await.map(Self::Own)
        }
    }
}

/// A role that counted.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldRole)]
pub(super) struct HeldView {
    role: String,
    /// The tenant or the project on which it was given.
    on: String,
    /// `token`, or whose binding.
    by: String,
}

impl From<&Holding> for HeldView {
    fn from(holding: &Holding) -> Self {
        let Holding { role, on, by } = holding;
        Self { role: role.name().to_owned(), on: on.to_string(), by: by.to_string() }
    }
}

/// A policy that decided.
#[derive(Serialize, ToSchema)]
#[schema(as = DecidingPolicy)]
pub(super) struct ReasonView {
    /// Its `@id` in the shipped files, or the name of the tenant's own role.
    policy: String,
    /// The role that brought it in; null for policies that always count.
    holding: Option<HeldView>,
}

/// Why.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccessExplanation)]
pub(super) struct ExplanationView {
    subject: String,
    action: String,
    /// What the action is.
    means: &'static str,
    /// The tenant or the project.
    on: String,
    allowed: bool,
    /// What a request is answered where it is refused: 403, or 404 where its sender may not know that the place is there; null where it
    /// is allowed.
    refused_with: Option<u16>,
    because: Vec<ReasonView>,
    /// Every role that was looked at.
    roles: Vec<HeldView>,
    /// Roles that would allow it, given on that place.
    roles_that_allow: Vec<String>,
}

pub(super) async fn explain(
    asking: Asking,
    Params(question): Params<Question>,
    State(app): State<App>,
) -> Result<Json<ExplanationView>, Problem> {
    let view = match (&asking, &question.subject) {
        (Asking::Own(permit), None) => answer(&app, permit, Asked::Oneself(permit.principal()), &question).await,
        (Asking::Other(permit), Some(subject)) => answer(&app, permit, Asked::Other(subject), &question).await,
        _ => Err(Problem::bad_request("write `subject=` plainly, without percent signs in the word itself")),
    };
    view.map(Json)
}

async fn answer<A>(
    app: &App,
    permit: &Permit<A>,
    asked: Asked<'_>,
    question: &Question,
) -> Result<ExplanationView, Problem>
where
    A: crate::policy::action::Action<Reach = bulkhead_core::scope::TenantScope>,
{
    let action = action_named(&question.action)?;
    let subject = match asked {
        Asked::Oneself(principal) => format!("user:{}", principal.subject()),
        Asked::Other(subject) => subject.to_owned(),
    };
    let own = permit.store().own_roles(permit.scope()).await?;
    let own = own.into_iter().map(|RoleRow { name, actions, .. }| HeldRole::Own { name, actions }).collect();
    let place = Place::of(permit.scope().tenant(), question.project.as_ref());
    let Explained { verdict, sees, holdings, enough } =
        app.policy().explain(permit, asked, (action, &place), own).await?;
    let because = verdict
        .because
        .iter()
        .map(|(policy, holding)| ReasonView { policy: policy.clone(), holding: holding.as_ref().map(HeldView::from) });
    Ok(ExplanationView {
        subject,
        action: action.name.to_owned(),
        means: action.says.trim_ascii(),
        on: place.to_string(),
        allowed: verdict.allowed,
        refused_with: (!verdict.allowed).then_some(if sees { 403 } else { 404 }),
        because: because.collect(),
        roles: holdings.iter().map(HeldView::from).collect(),
        roles_that_allow: enough,
    })
}
