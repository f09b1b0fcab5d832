//! A tenant's own tokens, and the key that checks them.
//!
//! Must never: give a role that the one who asks does not have, or a token of another tenant.

use super::App;
use super::extract::Form;
use crate::policy::Permit;
use crate::policy::action::MintToken;
use crate::problem::Problem;
use crate::token::{Grant, MintError, Role};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

/// A token that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewToken)]
pub(super) struct Wanted {
    subject: String,
    role: Role,
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
    role: Role,
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
    if !permit.principal().may(wanted.role) {
        let detail = format!("a token can only be given a role that yours includes; `{}` is none", wanted.role);
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let mut grant = Grant::new(wanted.subject, Some(permit.scope().tenant().clone()), wanted.role);
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
