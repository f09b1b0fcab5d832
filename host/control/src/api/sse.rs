//! Server-sent events: streams without end, of records and of log lines.
//!
//! A stream is pulled by the connection: what its reader does not take is not read from the log either, and a reader that takes
//! nothing at all loses its connection ([`crate::patient`]), and with it the stream. So a stream holds one chunk, whatever its reader does.
//! It ends by itself after an hour, so that its token is looked at again, with the server, and with its tenant.
//! Must never: outlive its tenant, its reader's role, or its place among the tenant's streams.

use super::App;
use crate::counted::UnderWay;
use crate::policy::Permit;
use crate::policy::action::Action;
use crate::problem::Problem;
use crate::store::Store;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::scope::TenantScope;
use bytes::Bytes;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;

/// How long a stream may be silent before a comment says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts.
const LIFE: Duration = Duration::from_secs(3_600);
/// How often a stream looks whether its tenant is still there and its reader still has the role.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Shortest and longest pause between two looks for something new.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Whether the client asks for a stream.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept
        .flat_map(|text| text.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
}

/// `Last-Event-ID`: where a stream that broke is to go on.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty())
}

/// Where a stream's events come from.
pub(super) trait Events: Send + 'static {
    /// What is there now, as events; `None` where there is nothing new.
    ///
    /// # Errors
    /// Where the stream cannot go on; it says so and ends.
    fn next(&mut self, store: &Store) -> impl Future<Output = Result<Option<String>, Problem>> + Send;
}

/// An event of this kind.
pub(super) fn event(text: &mut String, id: &str, kind: &str, data: &str) {
    for part in ["id: ", id, "\nevent: ", kind, "\ndata: ", data, "\n\n"] {
        text.push_str(part);
    }
}

struct Running<A: Action<Reach = TenantScope>, E> {
    app: App,
    permit: Permit<A>,
    events: E,
    until: Instant,
    look_at: Instant,
    heartbeat_at: Instant,
    over: bool,
    _place: UnderWay,
}

/// Answers with a stream.
///
/// # Errors
/// `BH0033`.
pub(super) fn stream<A: Action<Reach = TenantScope>, E: Events>(
    app: &App,
    permit: Permit<A>,
    events: E,
) -> Result<Response, Problem> {
    let max = app.config().streams_per_tenant_max;
    let Some(place) = app.inner.streams.enter(permit.scope().tenant(), max) else {
        let detail = format!("this tenant has {max} streams open; close one that nobody reads");
        return Err(Problem::at_places("streams", max, detail));
    };
    let now = Instant::now();
    let running = Running {
        app: app.clone(),
        permit,
        events,
        until: now + LIFE,
        look_at: now + LOOK_EVERY,
        heartbeat_at: now + HEARTBEAT,
        over: false,
        _place: place,
    };
    let chunks = futures::stream::unfold(running, |mut running| async move {
        let chunk = running.chunk().await?;
        running.heartbeat_at = Instant::now() + HEARTBEAT;
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), running))
    });
    let headers = [("content-type", "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

impl<A: Action<Reach = TenantScope>, E: Events> Running<A, E> {
    /// The next thing to send; `None` at the end.
    async fn chunk(&mut self) -> Option<String> {
        let mut pause = PAUSE_MIN;
        loop {
            let now = Instant::now();
            if self.over || now >= self.until || self.app.stop().is_cancelled() {
                return None;
            }
            if now >= self.look_at {
                self.look_at = now + LOOK_EVERY;
                if !matches!(self.app.policy().still(&self.permit).await, Ok(true)) {
                    return None;
                }
            }
            match self.events.next(self.permit.store()).await {
                Ok(Some(events)) => return Some(events),
                Ok(None) => {}
                Err(problem) => {
                    self.over = true;
                    return Some(last_words(&problem));
                }
            }
            if now >= self.heartbeat_at {
                return Some(": heartbeat\n\n".to_owned());
            }
            tokio::select! {
                () = self.app.stop().cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn last_words(problem: &Problem) -> String {
    if let Some(cause) = &problem.cause {
        tracing::warn!(code = %problem.code, cause, "a stream ended");
    }
    let data = serde_json::json!({"code": problem.code, "title": problem.code.title(), "detail": problem.detail});
    format!("event: error\ndata: {data}\n\n")
}
