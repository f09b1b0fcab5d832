//! `Idempotency-Key`: a request that is sent again, because its answer was lost, is not done again.
//!
//! A key belongs to a tenant and stands for one request: who sent it, method, path, query, conditions and body. The answer of a request
//! that was done is kept for a day and given again; a refusal is not kept, since nothing was done. The request is finished even where its
//! client goes away, so that the answer is there when it comes back. Not every route takes a key: minting a token gives a
//! secret that is not to be kept, uploading the same module again changes nothing anyway, and records come in bodies that
//! are streamed.
//! Must never: let the keys of two tenants meet, or do a request whose key has been used for another.

use super::App;
use super::body::{content_length, read_at_most};
use crate::policy::Permit;
use crate::policy::action::RepeatRequest;
use crate::problem::Problem;
use crate::store::Answer;
use axum::RequestExt;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::limits::MANIFEST_BYTES_MAX;
use sha2::{Digest, Sha256};

/// The request's header.
pub(super) const KEY: &str = "idempotency-key";
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Bytes of a key at most: a UUID has 36.
const KEY_BYTES_MAX: usize = 200;
/// Bytes of an answer that is kept: a pipeline with its manifest as JSON, in which every byte may be escaped.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Runs a request once for each key.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    // In a task of its own: a client that goes away does not take the request with it. Time limits are further in.
    match tokio::spawn(run(app, request, next)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(panic) => Problem::internal(panic).into_response(),
    }
}

async fn run(app: App, mut request: Request, next: Next) -> Result<Response, Problem> {
    let permit: Permit<RepeatRequest> = request.extract_parts_with_state(&app).await?;
    let key = key(request.headers())?;
    let (parts, body) = request.into_parts();
    let declared = content_length(&parts.headers)?;
    let body = read_at_most(body, declared, MANIFEST_BYTES_MAX as usize).await?;

    // A body may be a password. Without the tenant's key, its hash must not say whether a guess is right.
    let keys = permit.store().tenant_keys(permit.scope(), app.vault()).await?;
    let mut hash = Sha256::new().chain_update(*keys.pepper());
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH].map(|name| format!("{:?}", parts.headers.get(name)));
    for part in [parts.method.as_str(), path, permit.principal().subject(), &conditions[0], &conditions[1]] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(&body);
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();

    let (store, scope) = (permit.store(), permit.scope());
    let running = (scope.tenant().clone(), key.clone());
    let Some(_running) = app.inner.keys.enter(&running, 1) else {
        return Err(Problem::new(
            Code::KeyBusy,
            "the request of this key has not ended yet; send it again in a moment",
        ));
    };
    if let Some(kept) = store.answer(scope, &key).await? {
        return if kept.fingerprint == fingerprint { Ok(again(kept)) } else { Err(reused()) };
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(Problem::internal)?;
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let answer = Answer {
        fingerprint,
        status: parts.status.as_u16(),
        kind: text(header::CONTENT_TYPE),
        etag: text(header::ETAG),
        body: body.to_vec(),
    };
    store.keep_answer(scope, &key, &answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut values = headers.get_all(KEY).iter();
    let key = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let plain = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || values.next().is_some() {
        let detail =
            format!("`Idempotency-Key` is one text of 1 to {KEY_BYTES_MAX} visible characters, such as a UUID");
        return Err(Problem::bad_request(detail));
    }
    Ok(key.to_owned())
}

fn reused() -> Problem {
    Problem::new(Code::KeyReused, "this `Idempotency-Key` stands for another request; use a new one for each")
}

/// The answer as it was.
fn again(kept: Answer) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Body::from(kept.body)).into_response();
    let headers = response.headers_mut();
    for (name, text) in [(header::CONTENT_TYPE, kept.kind), (header::ETAG, kept.etag)] {
        if let Ok(value) = HeaderValue::from_str(&text)
            && !text.is_empty()
        {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
