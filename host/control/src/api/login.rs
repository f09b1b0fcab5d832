//! Where people log in: what `bulkhead login` asks first.
//!
//! Must never: tell anything that the provider does not tell everybody itself.

use super::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// How to get a token for this server.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Login)]
pub(super) struct LoginView {
    /// The OpenID Connect issuer to log in at; null where there is none.
    issuer: Option<String>,
    /// The public client to introduce oneself as.
    client_id: Option<String>,
    /// The scopes to ask for.
    scopes: Vec<String>,
    /// Whether this server also takes tokens of its embedded issuer, which its operator makes with `bulkhead token`.
    embedded_issuer: bool,
}

pub(super) async fn login(State(app): State<App>) -> Json<LoginView> {
    let offered = app.config().oidc.iter().find_map(|provider| Some((&provider.issuer, provider.login.as_ref()?)));
    Json(LoginView {
        issuer: offered.map(|(issuer, _)| issuer.clone()),
        client_id: offered.map(|(_, login)| login.client_id.clone()),
        scopes: offered.map(|(_, login)| login.scopes.clone()).unwrap_or_default(),
        embedded_issuer: app.issuer().is_for_everybody(),
    })
}
