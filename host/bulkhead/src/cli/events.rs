//! Server-sent events as a stream that goes on over broken connections.
//!
//! Must never: give an event twice or leave one out: a new connection begins after the last id that was given.

use super::failure::Complaint;
use super::session::Session;
use crate::client::{Refused, accepted};
use bulkhead_core::code::Code;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Silence after which a connection counts as broken. Control says something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a stream may last before it is connected anew.
const STREAM_MAX: Duration = Duration::from_secs(2 * 3600);
/// Pauses before trying again, the last one for all further tries.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// Tries without an event between them before giving up.
const TRIES_MAX: usize = 10;
/// Bytes of one event at most: a record may have 16 MiB, and Base64 makes more of it.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its kind, for instance `record`.
    pub(crate) kind: String,
    /// What it says.
    pub(crate) data: String,
}

/// An endless stream of events. Connects at the first [`Events::next`].
pub(crate) struct Events<'a> {
    session: &'a Session,
    path: String,
    /// Where a new connection begins.
    id: Option<String>,
    bytes: Option<BoxStream<'static, reqwest::Result<bytes::Bytes>>>,
    parser: Parser,
    tries: usize,
}

impl<'a> Events<'a> {
    /// The events at a path.
    pub(crate) fn new(session: &'a Session, path: String) -> Self {
        Self { session, path, id: None, bytes: None, parser: Parser::default(), tries: 0 }
    }

    /// The next event. A connection that breaks, ends or falls silent is made anew.
    ///
    /// # Errors
    /// Where control refuses, says that it cannot go on, or stays away.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            while let Some((id, event)) = self.parser.next() {
                self.id = id.or(self.id.take());
                self.tries = 0;
                match event.kind.as_str() {
                    "error" => return Err(problem(&event.data)),
                    // An id alone says where to begin.
                    "" => {}
                    _ => return Ok(event),
                }
            }
            if let Err(error) = self.read().await {
                self.bytes = None;
                self.parser = Parser::default();
                self.tries += 1;
                if self.tries >= TRIES_MAX || !may_pass(&error) {
                    return Err(error);
                }
                tokio::time::sleep(PAUSES[self.tries.min(PAUSES.len()) - 1]).await;
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        if self.bytes.is_none() {
            let request = self.session.client.request(Method::GET, &self.path)?.timeout(STREAM_MAX);
            let mut request = request.header("accept", "text/event-stream");
            if let Some(id) = &self.id {
                request = request.header("last-event-id", id);
            }
            self.bytes = Some(accepted(request.send().await?).await?.bytes_stream().boxed());
        }
        let Some(bytes) = &mut self.bytes else { return Ok(()) };
        let away = |detail: &str| Err(Complaint::new(Code::ServerAway, detail).into());
        match tokio::time::timeout(SILENCE_MAX, bytes.next()).await {
            Ok(Some(more)) => self.parser.push(&more?),
            Ok(None) => away("the stream ended; run the command again"),
            Err(_) => away("the stream fell silent; run the command again"),
        }
    }
}

/// Whether trying again may help: where there was no answer, or one that says so.
fn may_pass(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<Refused>() {
        Some(refused) => refused.status.is_server_error() || refused.status == StatusCode::TOO_MANY_REQUESTS,
        None => error.downcast_ref::<Complaint>().is_none_or(|complaint| complaint.code == Code::ServerAway),
    }
}

/// Control's last words on a stream.
fn problem(data: &str) -> anyhow::Error {
    let problem: Value = serde_json::from_str(data).unwrap_or_default();
    let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Refused { status, problem }.into()
}

/// Takes a stream of bytes apart.
#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    fn push(&mut self, more: &[u8]) -> anyhow::Result<()> {
        if self.bytes.len() + more.len() > EVENT_BYTES_MAX {
            return Err(Complaint::new(Code::AnswerUnreadable, "the server sent an event without an end").into());
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// The next whole event with its id. One that only has an id has no kind.
    fn next(&mut self) -> Option<(Option<String>, Event)> {
        let end = self.bytes.windows(2).position(|pair| pair == b"\n\n")?;
        let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
        let (mut id, mut event, mut data) = (None, Event::default(), Vec::new());
        for line in String::from_utf8_lossy(&block).lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.kind),
                "data" => data.push(value.to_owned()),
                _ => {}
            }
        }
        event.data = data.join("\n");
        Some((id, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_come_in() {
        let text = "id: 0:1\n\n: heartbeat\n\nevent: record\nid: 0:2\ndata: {\"a\":\ndata: 1}\n\nevent: rec";
        let mut parser = Parser::default();
        let mut all = Vec::new();
        for byte in text.bytes() {
            parser.push(&[byte]).unwrap();
            all.extend(std::iter::from_fn(|| parser.next()));
        }
        assert_eq!(all[0], (Some("0:1".to_owned()), Event::default()));
        assert_eq!(all[1], (None, Event::default()));
        let record = Event { kind: "record".to_owned(), data: "{\"a\":\n1}".to_owned() };
        assert_eq!(all[2], (Some("0:2".to_owned()), record));
        assert_eq!(all.len(), 3);
    }
}
