//! A tenant's own tokens, and the key that checks them.
//!
//! Must never: give a role that the one who asks does not have, or a token of another tenant.

use super::App;
use super::extract::Form;
use crate::policy::action::MintToken;
use crate::policy::{HeldRole, Permit};
use crate::problem::Problem;
use crate::token::{Grant, MintError, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use utoipa::ToSchema;

/// A token that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewToken)]
pub(super) struct Wanted {
    subject: String,
    /// The role that the token itself gives, on the whole tenant; left out, it is worth what bindings give its subject.
    role: Option<Role>,
    life_seconds: Option<u64>,
}

/// A token as it is given.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MintedToken)]
pub(super) struct MintedView {
    token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    expires_in_seconds: u64,
    role: Option<Role>,
}

pub(super) async fn mint(
    permit: Permit<MintToken>,
    State(app): State<App>,
    Form(wanted): Form<Wanted>,
) -> Result<(StatusCode, Json<MintedView>), Problem> {
    if !app.issuer().is_for_everybody() {
        let detail = "this server makes no tokens: they come from its identity provider; `bulkhead login` gets one, and \
                      its administrator makes accounts for machines";
        return Err(Problem::new(Code::IssuerOff, detail));
    }
    let roles: BTreeSet<Role> = wanted.role.into_iter().collect();
    for role in &roles {
        let may = if role.is_of_tenant() {
            let actions = app.policy().actions_of(&HeldRole::Shipped(*role))?;
            app.policy().lacking(&permit, &permit.place(), &actions).await?.is_empty()
        } else {
            false
        };
        if !may {
            let detail = format!("a token can only be given what you may do yourself; `{role}` may more");
            return Err(Problem::new(Code::Forbidden, detail));
        }
    }
    let tenant = Some(permit.scope().tenant().clone());
    let mut grant = Grant { subject: wanted.subject, tenant, roles, slot: None, life: None };
    grant.life = wanted.life_seconds.map(Duration::from_secs);
    let token = app.issuer().mint(&grant).map_err(|error| match error {
        MintError::Signing(cause) => Problem::internal(cause),
        told => Problem::bad_request(told.to_string()),
    })?;
    let life = grant.life.unwrap_or(app.config().token_life).as_secs();
    let minted = MintedView { token, token_type: "Bearer", expires_in_seconds: life, role: wanted.role };
    Ok((StatusCode::CREATED, Json(minted)))
}

pub(super) async fn key_set(State(app): State<App>) -> Result<Json<Value>, Problem> {
    serde_json::to_value(app.signer().key_set()).map(Json).map_err(Problem::internal)
}
