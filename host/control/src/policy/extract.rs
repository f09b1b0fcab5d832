//! A [`Permit`] as an axum extractor: a handler says in its signature what it does, and runs only where that is allowed.
//!
//! Must never: read the body. Authentication and policy come before a client can make the server work.

use super::action::Action;
use super::{Permit, Target};
use crate::api::{App, RequestId};
use crate::problem::Problem;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bulkhead_core::code::Code;

impl<A: Action> FromRequestParts<App> for Permit<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = match bearer(&parts.headers).and_then(|token| app.policy().authenticate(token)) {
            Ok(principal) => principal,
            Err(problem) => {
                app.metrics().token_refused(problem.code());
                return Err(problem);
            }
        };
        let params = RawPathParams::from_request_parts(parts, app).await.ok();
        let tenant = params.iter().flatten().find(|(name, _)| *name == "tenant").map(|(_, value)| value);
        let request_id = parts.extensions.get::<RequestId>().map_or("", RequestId::as_str);
        let target = Target { path: parts.uri.path(), tenant, request_id };
        app.policy().check(principal, target).await
    }
}

/// The token of `Authorization: Bearer TOKEN`, of which there must be exactly one.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || Problem::new(Code::TokenMissing, "send a token: `Authorization: Bearer TOKEN`");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Problem::new(Code::TokenInvalid, "send one `Authorization` header, not several"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    Ok(token.trim())
}
