//! What became of a change that was allowed: a line of its own, once the request has its answer.
//!
//! The decision is durable before the change; what became of it can only be written after, so it is a second line, which names the first.
//! A change without a second line was cut short by the end of the process: whether it was done, the thing itself tells.
//! Must never: keep an answer waiting for the line about it.

use super::line::{Chain, Draft, Kind, Place, TEXT_BYTES_MAX};
use super::writer::Writer;
use crate::counted::UnderWay;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use bulkhead_core::audit::plain;
use bulkhead_core::code::Code;
use parking_lot::Mutex;
use std::sync::Arc;

/// The changes that one request was allowed to make. Put among the request's extensions before it is decided.
#[derive(Clone, Default)]
pub(crate) struct Trail {
    changes: Arc<Mutex<Changes>>,
}

#[derive(Default)]
struct Changes(Vec<Change>);

/// A change that was allowed.
pub(crate) struct Change {
    pub(crate) writer: Writer,
    /// The lines that say so.
    pub(crate) decided: Vec<(Chain, Place)>,
    /// What a line about it says in any case.
    pub(crate) draft: Draft,
    /// While it is there, the tenant's name is not given to another tenant, whose chain the line would end up in.
    pub(crate) request: Option<Arc<UnderWay>>,
}

impl Trail {
    /// Remembers a change.
    pub(crate) fn allowed(&self, change: Change) {
        self.changes.lock().0.push(change);
    }

    /// The request has this answer.
    pub(crate) fn answered(&self, asked: &HeaderMap, answer: &Response, code: Option<Code>) {
        let changes = std::mem::take(&mut self.changes.lock().0);
        for change in changes {
            let draft = change.draft.clone();
            let draft = draft
                .with("status", answer.status().as_u16())
                .with("code", code.map(Code::id))
                .with("before", text(asked, &header::IF_MATCH))
                .with("after", text(answer.headers(), &header::ETAG));
            change.write(draft);
        }
    }
}

/// The client went away before there was an answer: what it asked for was dropped somewhere on the way.
impl Drop for Changes {
    fn drop(&mut self) {
        for change in std::mem::take(&mut self.0) {
            let draft = change.draft.clone().with("note", "the request ended without an answer");
            change.write(draft);
        }
    }
}

impl Change {
    fn write(self, draft: Draft) {
        for (chain, place) in self.decided {
            let draft = Draft { kind: Kind::Outcome, only_in: Some(place.chain), ..draft.clone() };
            let draft = draft.with("of", place.seq);
            self.writer.append_later(chain, draft);
        }
        drop(self.request);
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(|value| plain(value, TEXT_BYTES_MAX))
}
