//! A chain as a stream of lines of JSON: its lines, the oldest first, then its checkpoints and its end, signed. Whoever has it can check it
//! without this server.
//!
//! Must never: hold a whole chain in memory.

use super::{CheckpointView, NDJSON};
use crate::api::App;
use crate::audit::checkpoint::sign;
use crate::audit::line::Chain;
use crate::policy::Permit;
use crate::policy::action::Action;
use crate::problem::Problem;
use crate::store::ChainEnd;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bulkhead_core::audit::Link;
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use std::io;

/// Lines read at a time.
const TOGETHER: u32 = 500;

struct Export<A: Action> {
    permit: Permit<A>,
    chain: Chain,
    app: App,
    /// The last line that was given.
    given: i64,
    /// The chain's checkpoints, and then its end, when the export began; what is written meanwhile is not in it. One that knows of more
    /// than the end is given all the same: it shows that the end was cut off.
    checkpoints: Vec<(i64, String)>,
    end: Option<ChainEnd>,
    ended: bool,
}

/// Begins an export.
pub(super) async fn stream<A: Action>(permit: Permit<A>, chain: Chain, app: App) -> Result<Response, Problem> {
    let checkpoints = permit.store().checkpoints(&chain, 0).await?;
    let end = permit.store().audit_end(&chain).await?;
    let export = Export { permit, chain, app, given: 0, checkpoints, end, ended: false };
    let chunks = stream::try_unfold(export, |mut export| async move {
        let chunk = export.next().await.map_err(|problem| {
            tracing::error!(code = %problem.code, cause = problem.cause, "an export of the audit broke off");
            io::Error::other("the export broke off; begin again")
        })?;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, export)))
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(chunks)).into_response())
}

impl<A: Action> Export<A> {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let (mut text, end) = (Vec::new(), self.end.as_ref().map_or(0, |end| end.seq));
        if self.given < end {
            for line in self.permit.store().audit_from(&self.chain, self.given, TOGETHER).await? {
                // One that has lost its number would end the export; the one after it shows that it is missing.
                let seq = Link::of(&line).map_or(self.given + 1, |link| link.seq.cast_signed());
                if seq > end {
                    break;
                }
                self.given = seq;
                write(&mut text, &line)?;
            }
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        // What was pruned meanwhile is stood in for by a checkpoint of meanwhile.
        let since = self.permit.store().checkpoints(&self.chain, 0).await?.into_iter().filter(|(seq, _)| *seq <= end);
        let mut all = std::mem::take(&mut self.checkpoints);
        for checkpoint in since.collect::<Vec<_>>() {
            if !all.contains(&checkpoint) {
                all.push(checkpoint);
            }
        }
        for (seq, checkpoint) in all {
            write(&mut text, &CheckpointView { seq, checkpoint })?;
        }
        if let Some(end) = self.end.as_ref().filter(|end| end.seq > 0) {
            let checkpoint = sign(self.app.signer(), self.chain.key(), &end.anchor())?;
            write(&mut text, &CheckpointView { seq: end.seq, checkpoint })?;
        }
        Ok(Some(text.into()))
    }
}

fn write(text: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Problem> {
    serde_json::to_writer(&mut *text, line).map_err(Problem::internal)?;
    text.push(b'\n');
    Ok(())
}
