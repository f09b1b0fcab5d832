//! Sends the lines of a tenant's chain to the topic that it named, in order, each at least once.
//!
//! A line's record has the line as its value, its number in the header [`SEQ`] and no key, and goes to partition 0: what is appended there
//! keeps its order. After a failure, or a stop between the log and the note of how far it is, the last lines come again: a reader drops
//! what has a number that it knows.
//! Must never: pass over a line because the log is away or the topic is gone: it waits, and says so.

use super::line::Chain;
use crate::port::{Refusal, Topics};
use crate::problem::Problem;
use crate::store::{AuditTopic, Store, now_ms};
use bulkhead_core::audit::Link;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use serde_json::{Map, Value};

/// The header with a line's number.
const SEQ: &[u8] = b"bulkhead-audit-seq";
/// Lines of one batch at most, and about how many bytes.
const LINES_MAX: u32 = 500;
const BYTES_MAX: usize = 256 << 10;
/// Batches of one tenant at a time, so that a long chain does not hold up the others'.
const TURN_MAX: usize = 20;

/// Sends what is new of every chain that goes to a topic.
pub(crate) async fn pass(store: &Store, topics: &dyn Topics) -> Result<(), Problem> {
    for sent in store.audit_topics().await? {
        if let Err(problem) = send(store, topics, sent.clone()).await {
            tracing::warn!(tenant = %sent.scope.tenant(), code = %problem.code, cause = problem.cause,
                "the audit does not go to its topic now");
        }
    }
    Ok(())
}

async fn send(store: &Store, topics: &dyn Topics, mut sent: AuditTopic) -> Result<(), Problem> {
    let chain = Chain::Tenant(sent.scope.clone());
    for _ in 0..TURN_MAX {
        let lines = store.audit_from(&chain, sent.seq, LINES_MAX).await?;
        let (batch, last) = batch(&lines, now_ms())?;
        let Some(last) = last else { break };
        match topics.produce(&sent.scope, &sent.topic, batch).await {
            Ok(()) => {
                store.audit_topic_at(&sent, last, None).await?;
                (sent.seq, sent.code) = (last, None);
            }
            Err(refusal) => {
                let code = reason(&refusal);
                if sent.code != Some(code) {
                    tracing::warn!(tenant = %sent.scope.tenant(), topic = %sent.topic, %code, cause = refusal.cause,
                        "the audit does not go to its topic now");
                    store.audit_topic_at(&sent, sent.seq, Some(code)).await?;
                }
                break;
            }
        }
    }
    Ok(())
}

/// Why lines wait, as their tenant is told.
fn reason(refusal: &Refusal) -> Code {
    match refusal.code {
        Code::NotFound => Code::TopicGone,
        other => other,
    }
}

/// Lines as records, and the last one's number; none where there is no line.
fn batch(lines: &[Map<String, Value>], now_ms: i64) -> Result<(RecordBatch, Option<i64>), Problem> {
    let (mut batch, mut last) = (RecordBatch::default(), None);
    for line in lines {
        let seq = Link::of(line).map(|link| link.seq).ok_or_else(|| Problem::internal("a line without a place"))?;
        let value = serde_json::to_vec(line).map_err(Problem::internal)?;
        if batch.bytes() + value.len() > BYTES_MAX && !batch.is_empty() {
            break;
        }
        let number = seq.to_string();
        batch.push(0, now_ms, None, Some(&value), [(SEQ, Some(number.as_bytes()))]);
        last = Some(seq.cast_signed());
    }
    Ok((batch, last))
}
