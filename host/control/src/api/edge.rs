//! The outermost layer: each request gets an id, each problem its JSON, each panic a 500, and all are counted.
//!
//! Must never: let a response out that is an error and not problem details, or a cause that is not the client's business.

use super::{App, body};
use crate::audit::trail::Trail;
use crate::problem::Problem;
use crate::rates::Tally;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of a client's own request id that are taken over; others get a new one.
const REQUEST_ID_MAX: usize = 64;
/// The label of requests that no route took.
const UNMATCHED: &str = "(none)";

/// What a request is called in responses, the audit and the log.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The client's, where it is short and plain, so that a trace can begin before this server; else a new one.
    fn of(request: &Request) -> Self {
        let plain = |id: &&str| {
            (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
        Self(given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// Runs a request.
pub(super) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (trail, asked) = (Trail::default(), conditions(request.headers()));
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(trail.clone());
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let (request, rest) = body::keep(request);

    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        // The panic hook has already written where and why.
        Err(_) => Problem::internal("a handler panicked").into_response(),
    };
    let code = response.extensions().get::<Problem>().map(Problem::code);
    let mut response = render(response, &id, &path);
    trail.answered(&asked, &response, code);
    if rest.linger() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    tally.tell(headers);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let method = if app_knows(&method) { method.as_str() } else { "other" };
    app.metrics().request(&route, method, response.status().as_u16(), started.elapsed());
    response
}

/// What a change is asked for under, for the audit.
fn conditions(headers: &HeaderMap) -> HeaderMap {
    headers.get(header::IF_MATCH).map(|value| (header::IF_MATCH, value.clone())).into_iter().collect()
}

/// No route has this path.
pub(super) async fn no_such_route() -> Problem {
    Problem::not_found("such route")
}

/// Methods that may become a label: a client may invent others.
fn app_knows(method: &axum::http::Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS")
}

/// Writes a problem's JSON and logs its cause; errors that axum itself made become problems too.
fn render(mut response: Response, id: &RequestId, path: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if response.status().is_client_error() || response.status().is_server_error() => plain(response.status()),
        None => return response,
    };
    let (code, cause) = (problem.code, problem.cause.as_deref().unwrap_or_default());
    if problem.status().is_server_error() {
        tracing::error!(request_id = id.as_str(), %code, path, cause, detail = problem.detail, "request failed");
    } else {
        tracing::debug!(request_id = id.as_str(), %code, path, cause, detail = problem.detail, "request refused");
    }
    let mut rendered = problem.render(id.as_str(), path);
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        rendered.headers_mut().insert(header::ALLOW, allow);
    }
    rendered
}

fn plain(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("such route"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(Code::MethodNotAllowed, "this path does not know that method; see the `Allow` header")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Code::RequestTooLarge, "the request's body is too large; send less")
        }
        status if status.is_client_error() => {
            Problem::bad_request("the request could not be understood; check its form")
        }
        status => Problem::internal(format!("a bare {status}")),
    }
}
