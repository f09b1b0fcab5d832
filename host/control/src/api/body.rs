//! Request bodies: read whole up to a limit, or left unread without hurting the client.
//!
//! A server that answers early and closes while the client still sends makes the kernel reset the connection, and the client loses
//! the answer. So the edge keeps hold of every body, and where a handler answered without reading it to its end, the rest is
//! read and thrown away for a bounded time and size: *lingering*, as web servers do.
//! Must never: hold more of a body in memory than the limit that the handler named.

use super::App;
use crate::problem::Problem;
use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bulkhead_core::code::Code;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long an unread body is read on after the answer.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes of an unread body that are read on; who sends more without listening loses the answer.
const LINGER_BYTES: u64 = 64 << 20;

/// A body of at most `MAX` bytes, read whole.
pub(super) struct Limited<const MAX: usize>(pub(super) Bytes);

impl<const MAX: usize> FromRequest<App> for Limited<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let declared = content_length(request.headers())?;
        read_at_most(request.into_body(), declared, MAX).await.map(Self)
    }
}

/// A body of at most `max` bytes, read whole; `declared` is its `Content-Length`.
pub(super) async fn read_at_most(body: Body, declared: Option<u64>, max: usize) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Code::RequestTooLarge, format!("the body has more than {max} bytes; send less in one request"));
    if declared.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = body.into_data_stream();
    let mut read = Vec::with_capacity(declared.map_or(0, |length| length as usize));
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body ended early; send it again"))?;
        if read.len() + chunk.len() > max {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

/// `Content-Length`, where there is one.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| Problem::bad_request("`Content-Length` is not a number"))
}

/// A body that a handler reads and the edge keeps hold of.
struct Kept {
    body: BodyDataStream,
    asked: bool,
    ended: bool,
}

/// The edge's hold of a body.
pub(super) struct Rest {
    kept: Option<Arc<Mutex<Kept>>>,
    /// The client waits for `100 Continue` before it sends anything.
    expects: bool,
}

/// Puts a body in place of the request's whose rest can be read after the handler.
pub(super) fn keep(request: Request) -> (Request, Rest) {
    let (parts, body) = request.into_parts();
    let expects = parts.headers.contains_key(header::EXPECT);
    if body.is_end_stream() {
        return (Request::from_parts(parts, body), Rest { kept: None, expects });
    }
    let kept = Arc::new(Mutex::new(Kept { body: body.into_data_stream(), asked: false, ended: false }));
    let body = Body::from_stream(frames(Arc::clone(&kept)));
    (Request::from_parts(parts, body), Rest { kept: Some(kept), expects })
}

fn frames(kept: Arc<Mutex<Kept>>) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send {
    futures::stream::poll_fn(move |context| {
        let mut kept = kept.lock();
        kept.asked = true;
        let polled = kept.body.poll_next_unpin(context);
        kept.ended |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    })
}

impl Rest {
    /// Reads on, in the background and bounded, where the body was not read to its end. `true` where it was not.
    pub(super) fn linger(self) -> bool {
        let Some(kept) = self.kept else { return false };
        let (asked, ended) = {
            let kept = kept.lock();
            (kept.asked, kept.ended)
        };
        // Whoever waits for `100 Continue` and gets the answer instead has sent nothing; asking now would make it send.
        let waits = self.expects && !asked;
        if !ended && !waits {
            tokio::spawn(tokio::time::timeout(LINGER, throw_away(kept)));
        }
        !ended
    }
}

async fn throw_away(kept: Arc<Mutex<Kept>>) {
    let mut frames = frames(kept);
    let mut read = 0;
    while let Some(Ok(chunk)) = frames.next().await {
        read += chunk.len() as u64;
        if read > LINGER_BYTES {
            return;
        }
    }
}
