//! `bulkhead login --device`: a code that is typed in on another device (RFC 8628), for terminals without a browser.
//!
//! Must never: ask the provider more often than it wants to be asked.

use super::provider::{Gained, Provider};
use oauth2::{PkceCodeChallenge, Scope, StandardDeviceAuthorizationResponse};
use std::io::Write;

/// Logs in by another device.
///
/// # Errors
/// [`LoginFailed`](bulkhead_core::code::Code::LoginFailed) where the provider refuses, or nobody enters the code in time.
pub(super) async fn login(provider: &Provider) -> anyhow::Result<Gained> {
    let flows = provider.flows(None)?;
    let request = flows.exchange_device_code().map_err(|_| provider.not_offered("with a code"))?;
    let scopes = provider.scopes.iter().cloned().map(Scope::new);
    // RFC 8628 knows no PKCE, but Keycloak asks for it here too where a client must use it; others pass over what they do not know.
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let request = request
        .add_extra_param("code_challenge", challenge.as_str().to_owned())
        .add_extra_param("code_challenge_method", challenge.method().as_str().to_owned());
    let told: StandardDeviceAuthorizationResponse =
        request.add_scopes(scopes).request_async(&provider.http).await.map_err(|error| provider.failed(error))?;
    show(&told);
    let request = flows.exchange_device_access_token(&told).add_extra_param("code_verifier", verifier.secret());
    // It waits between two questions as long as it was told, and longer when it is told to slow down.
    let answer = request.request_async(&provider.http, tokio::time::sleep, None).await;
    let answer = answer.map_err(|error| provider.failed(error))?;
    Ok(provider.gained(&answer, None))
}

fn show(told: &StandardDeviceAuthorizationResponse) {
    let mut err = anstream::stderr();
    let (url, code) = (told.verification_uri().as_str(), told.user_code().secret());
    _ = writeln!(err, "On any device, open this address:\n\n  {url}\n\nand enter this code:\n\n  {code}\n");
    if let Some(whole) = told.verification_uri_complete() {
        _ = writeln!(err, "Or open this one, which has the code in it:\n\n  {}\n", whole.secret());
    }
}
