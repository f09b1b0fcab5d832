//! Records in and out over HTTP, on either log.
//!
//! [`produce`] takes lines, one JSON text or raw bytes; [`read`] gives bounded JSON or, to who asks for `text/event-stream`, a stream
//! without end ([`stream`]). [`line`] is what a record looks like as JSON, both ways.
//! Must never: hold more of a request or a stream in memory than one batch and one line of it.

pub(super) mod line;
mod lines;
mod produce;
mod read;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use line::show;
pub(super) use produce::produce;
pub(super) use read::read;

use bulkhead_core::name::TopicName;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    topic: TopicName,
}
