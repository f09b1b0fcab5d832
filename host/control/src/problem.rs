//! Everything that goes wrong over HTTP, as RFC 9457 problem details with a stable code.
//!
//! A [`Problem`] holds two stories: `detail`, for whoever sent the request, and `cause`, for the operator's log. Handlers return it
//! as it is; the outermost layer ([`crate::api`]) knows the request's id, writes the JSON and logs the cause, so that
//! there is one place where a cause could leak, and it does not.
//! Must never: show a cause, a physical name or anything of another tenant.

use crate::port::Refusal;
use crate::store::{is_away, now_ms};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::ManifestError;
use bulkhead_core::tenant_limits::{LimitError, TenantLimit, Unit};
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// A request that was not done, and why.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<ManifestError>,
    /// What is known of this one occurrence, by name, for programs.
    pub(crate) members: Vec<(&'static str, Value)>,
    /// Seconds after which it is worth trying again.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) cause: Option<String>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), members: Vec::new(), retry_after_s: None, cause: None }
    }

    /// One of ours: the client learns nothing but the request's id.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        let detail =
            "something went wrong on our side; try again, and give the operator the request's id if it stays so";
        Self { cause: Some(cause.to_string()), ..Self::new(Code::Internal, detail) }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} here; check the path"))
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Code::Conflict, detail)
    }

    /// The metadata database is away.
    pub(crate) fn database_away(cause: &str) -> Self {
        let detail = "the metadata database does not answer; what runs goes on running, try again in a moment";
        Self { cause: Some(format!("metadata: {cause}")), ..Self::new(Code::DatabaseAway, detail) }
    }

    /// Many small errors in one problem.
    pub(crate) fn with_errors(mut self, errors: Vec<ManifestError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same with a number that programs may read, for instance `accepted`.
    pub(crate) fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// A tenant has as much as it may of what this limit counts. `todo` says what the tenant can do itself.
    pub(crate) fn at_limit(name: &str, used: u64, allowed: u64, todo: &str) -> Self {
        Self::beyond(Code::LimitReached, name, used, allowed, todo)
    }

    /// A tenant stores as much as it may.
    pub(crate) fn full(name: &str, used: u64, allowed: u64, todo: &str) -> Self {
        Self::beyond(Code::StorageFull, name, used, allowed, todo)
    }

    /// A tenant does more in a time than this limit allows; after `wait` there is room again.
    pub(crate) fn at_rate(name: &str, used: u64, allowed: u64, wait: Duration) -> Self {
        let todo = format!("try again in {} s, and send less in a time", whole_seconds(wait));
        Self::beyond(Code::RateReached, name, used, allowed, &todo).after(wait)
    }

    /// The same with when it is worth trying again: `retryAfterMs` exactly, `freesAt` as a time, and the header in whole seconds.
    pub(crate) fn after(self, wait: Duration) -> Self {
        // Not before: what is left of a millisecond would be refused once more.
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let problem = self
            .with_member("retryAfterMs", wait_ms)
            .with_member("freesAt", format_rfc3339_ms(now_ms().saturating_add_unsigned(wait_ms)));
        Self { retry_after_s: Some(whole_seconds(wait)), ..problem }
    }

    fn beyond(code: Code, name: &str, used: u64, allowed: u64, todo: &str) -> Self {
        let Ok(limit) = TenantLimit::find(name) else {
            return Self::internal(format!("there is no limit `{name}`"));
        };
        Self::new(code, limit.reached(used, allowed, todo)).with_figures(limit.name, used, allowed, limit.unit)
    }

    /// A tenant has so many of what one process serves at a time, and may begin another when one ends.
    pub(crate) fn at_places(name: &'static str, max: usize, detail: String) -> Self {
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        Self::new(Code::TooManyStreams, detail).with_figures(name, max, max, Unit::Count)
    }

    /// The same with what every answer at a limit has, for programs.
    pub(crate) fn with_figures(self, limit: &'static str, used: u64, allowed: u64, unit: Unit) -> Self {
        self.with_member("limit", limit)
            .with_member("used", used)
            .with_member("allowed", allowed)
            .with_member("unit", unit.as_str())
    }

    /// A limit was named that is none, or a value that it cannot have.
    pub(crate) fn of_limit(error: &LimitError) -> Self {
        match error {
            LimitError::Unknown(_) => {
                Self::new(Code::LimitUnknown, format!("{error}; `GET /api/v1/tenants/{{tenant}}/limits` lists them"))
            }
            LimitError::OutOfRange { name, unit, min, max, .. } => {
                Self::new(Code::LimitOutOfRange, format!("{error}; choose another value"))
                    .with_member("limit", *name)
                    .with_member("unit", unit.as_str())
                    .with_member("min", *min)
                    .with_member("max", *max)
            }
        }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status: the code's own, or 503 where the code is one that HTTP otherwise only reports.
    pub(crate) fn status(&self) -> StatusCode {
        match StatusCode::from_u16(self.code.status()) {
            Ok(status) if status.is_client_error() || status.is_server_error() => status,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The JSON, for the request with this id.
    pub(crate) fn render(&self, request_id: &str, path: &str) -> Response {
        let body = Details {
            r#type: format!("/api/v1/errors/{}", self.code),
            title: self.code.title(),
            status: self.status().as_u16(),
            detail: &self.detail,
            instance: path,
            code: self.code,
            request_id,
            errors: &self.errors,
            members: self.members.iter().cloned().collect(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status(), [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        } else if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }

    /// What RFC 6750 wants beside a 401 or a 403.
    fn challenge(&self) -> Option<HeaderValue> {
        let challenge = match self.code {
            Code::TokenMissing => r#"Bearer realm="bulkhead""#,
            Code::TokenInvalid => r#"Bearer realm="bulkhead", error="invalid_token""#,
            Code::TokenExpired => {
                r#"Bearer realm="bulkhead", error="invalid_token", error_description="the token has expired""#
            }
            Code::Forbidden => r#"Bearer realm="bulkhead", error="insufficient_scope""#,
            _ => return None,
        };
        Some(HeaderValue::from_static(challenge))
    }
}

/// A problem as it is written.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct Details<'a> {
    /// The page that explains it.
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    /// The same for every occurrence: `bulkhead explain CODE`.
    #[schema(value_type = String)]
    code: Code,
    request_id: &'a str,
    /// Where many things are wrong, each: its code, the field, and what to do.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ManifestError],
    #[serde(flatten)]
    members: BTreeMap<&'static str, Value>,
}

/// Seconds, rounded up, at least one: what the header `Retry-After` can say.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1)
}

/// An empty response that carries the problem to the outermost layer.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { cause: refusal.cause, ..Self::new(refusal.code, refusal.detail) }
    }
}

/// What two transactions that get into each other's way are told. SQLite: busy, locked, and the same for a snapshot or a recovery.
/// PostgreSQL: serialization failure, deadlock, lock not available.
const BUSY: [&str; 7] = ["5", "6", "517", "261", "40001", "40P01", "55P03"];

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => {
                let detail = "too many requests are waiting for the metadata; try again in a moment";
                Self {
                    cause: Some("no database connection in time".to_owned()),
                    ..Self::new(Code::Unavailable, detail)
                }
            }
            error if is_away(&error) => Self::database_away(&error.to_string()),
            sqlx::Error::Database(error) if error.code().is_some_and(|code| BUSY.contains(&&*code)) => {
                let detail = "somebody else changed the same metadata at that moment; nothing was done, try again";
                Self { cause: Some(format!("metadata: {error}")), ..Self::new(Code::DatabaseBusy, detail) }
            }
            // PostgreSQL keeps no NUL in a text.
            sqlx::Error::Database(error) if error.code().is_some_and(|code| code == "22021") => {
                Self::bad_request("a text in the request holds the character NUL; leave it out")
            }
            error => Self::internal(format!("metadata: {error}")),
        }
    }
}

impl From<object_store::Error> for Problem {
    fn from(error: object_store::Error) -> Self {
        Self::internal(format!("object store: {error}"))
    }
}
