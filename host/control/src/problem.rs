//! Everything that goes wrong over HTTP, as RFC 9457 problem details with a stable code.
//!
//! A [`Problem`] holds two stories: `detail`, for whoever sent the request, and `cause`, for the operator's log. Handlers return it
//! as it is; the outermost layer ([`crate::api`]) knows the request's id, writes the JSON and logs the cause, so that
//! there is one place where a cause could leak, and it does not.
//! Must never: show a cause, a physical name or anything of another tenant.

use crate::port::Refusal;
use crate::store::is_away;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::ManifestError;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A request that was not done, and why.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<ManifestError>,
    /// Numbers of this one occurrence, by name, for programs.
    pub(crate) members: Vec<(&'static str, u64)>,
    pub(crate) cause: Option<String>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), members: Vec::new(), cause: None }
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
    pub(crate) fn with_member(mut self, name: &'static str, value: u64) -> Self {
        self.members.push((name, value));
        self
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
            members: self.members.iter().copied().collect(),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status(), [(header::CONTENT_TYPE, "application/problem+json")], json).into_response();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
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
    members: BTreeMap<&'static str, u64>,
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
