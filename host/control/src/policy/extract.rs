//! A [`Permit`] as an axum extractor: a handler says in its signature what it does, and runs only where that is allowed.
//!
//! Must never: read the body. Authentication and policy come before a client can make the server work.

use super::action::Action;
use super::{Permit, Target, named};
use crate::api::{App, RequestId};
use crate::audit::trail::Trail;
use crate::peer::From;
use crate::problem::Problem;
use crate::token::Principal;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bulkhead_core::code::Code;

impl<A: Action> FromRequestParts<App> for Permit<A> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, app).await.ok();
        let value_of = |wanted| params.iter().flatten().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        let (tenant, project) = (value_of("tenant"), value_of("project"));
        let resource = resource(params.iter().flatten());
        let target = Target {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            tenant,
            project,
            resource: &resource,
            request_id: parts.extensions.get::<RequestId>().map_or("", RequestId::as_str),
            from: From::of(&parts.extensions, &parts.headers, &app.config().trusted_proxies),
            changes: !parts.method.is_safe(),
            trail: parts.extensions.get::<Trail>().cloned().unwrap_or_default(),
        };
        let principal = match authenticated(&parts.headers, app).await {
            Ok(principal) => principal,
            Err(problem) => {
                let problem = app.turn_away(&parts.headers, &parts.extensions, problem);
                app.policy().refuse_unknown(&target, &problem);
                return Err(problem);
            }
        };
        if let Err(problem) = app.admit(&principal, &parts.extensions).await {
            app.policy().refuse_often(&principal, &target, &problem);
            return Err(problem);
        }
        match named(tenant, &parts.headers, &principal) {
            Ok(tenant) => app.policy().check(principal, Target { tenant: tenant.as_deref(), ..target }).await,
            Err(problem) => Err(app.policy().refuse::<A>(&principal, target, problem).await),
        }
    }
}

/// Who sent the request.
pub(crate) async fn authenticated(headers: &HeaderMap, app: &App) -> Result<Principal, Problem> {
    let proven = match bearer(headers) {
        Ok(token) => app.policy().authenticate(token).await,
        Err(problem) => Err(problem),
    };
    proven.inspect_err(|problem| app.metrics().token_refused(problem.code()))
}

/// What a path names below its tenant, each with its kind: `project/default/pipeline/p`. What is not below anything stands for the
/// tenant, or the platform, as such.
fn resource<'a>(params: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let parts: Vec<_> =
        params.filter(|(name, _)| *name != "tenant").map(|(name, value)| format!("{name}/{value}")).collect();
    parts.join("/")
}

/// The token of `Authorization: Bearer TOKEN`, of which there must be exactly one.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
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
