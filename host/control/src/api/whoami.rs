//! Who a token is, for its holder.
//!
//! Must never: tell more than the token itself says, or need the metadata: it is asked when something does not work.

use super::App;
use crate::policy::{authenticated, named};
use crate::problem::Problem;
use crate::token::{Principal, Role};
use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use bulkhead_core::name::TenantId;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use utoipa::ToSchema;

/// What a token says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Who)]
pub(super) struct WhoView {
    /// Who made it, its `iss`.
    issuer: String,
    /// Whom it was made for.
    subject: String,
    /// Whose it is; null for the platform's own. Of a worker, the one tenant that it works for.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// What the token says by itself; bindings may give more.
    roles: Vec<Role>,
    /// The slots of a worker, `*` at the end for all that begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<Vec<String>>,
    expires_at: String,
}

pub(super) async fn whoami(State(app): State<App>, parts: Parts) -> Result<Json<WhoView>, Problem> {
    let Parts { headers, extensions, .. } = &parts;
    let principal =
        authenticated(headers, &app).await.map_err(|problem| app.turn_away(headers, extensions, problem))?;
    app.admit(&principal, extensions).await?;
    named(None, headers, &principal)?;
    Ok(Json(WhoView::from(&principal)))
}

impl From<&Principal> for WhoView {
    fn from(principal: &Principal) -> Self {
        let expires_ms = i64::try_from(principal.expires_s()).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self {
            issuer: principal.issuer().to_owned(),
            subject: principal.subject().to_owned(),
            tenant: principal.tenant().cloned(),
            roles: principal.roles().collect(),
            slots: principal.slots().map(|slots| slots.to_vec()),
            expires_at: format_rfc3339_ms(expires_ms),
        }
    }
}
