//! Who a token is, for its holder.
//!
//! Must never: tell more than the token itself says, or need the metadata: it is asked when something does not work.

use super::App;
use crate::policy::bearer;
use crate::problem::Problem;
use crate::token::{Principal, Role};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use bulkhead_core::name::TenantId;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use utoipa::ToSchema;

/// What a token says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Who)]
pub(super) struct WhoView {
    /// Whom it was made for.
    subject: String,
    /// Whose it is; null for the platform's own.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    roles: Vec<Role>,
    expires_at: String,
}

pub(super) async fn whoami(State(app): State<App>, headers: HeaderMap) -> Result<Json<WhoView>, Problem> {
    let principal = bearer(&headers).and_then(|token| app.policy().authenticate(token)).inspect_err(|problem| {
        app.metrics().token_refused(problem.code());
    })?;
    Ok(Json(WhoView::from(&principal)))
}

impl From<&Principal> for WhoView {
    fn from(principal: &Principal) -> Self {
        let expires_ms = i64::try_from(principal.expires_s()).unwrap_or(i64::MAX).saturating_mul(1_000);
        Self {
            subject: principal.subject().to_owned(),
            tenant: principal.tenant().cloned(),
            roles: principal.roles().collect(),
            expires_at: format_rfc3339_ms(expires_ms),
        }
    }
}
