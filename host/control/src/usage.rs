//! Counts what pipelines say that they have used, from their tenants' topics of usage into rows by the hour.
//!
//! One question for the ends of many tenants' topics together finds those with something new; there is no consumer for each. What a
//! transaction of a worker did not commit is never read. A record counts once, since the position moves in the transaction that adds it
//! up, and is deleted from the log some time after.
//! Must never: begin at an offset that is not the position, or take a topic that looks shorter than it was for a new one: a broker that has
//! just begun to lead may not know its end yet, and what is counted twice is billed twice.

use crate::port::Topics;
use crate::problem::Problem;
use crate::store::{HOUR_MS, Store, UsageKey, UsagePosition, UsageRows};
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::usage::{USAGE_VERSION, UsageRecord};
use futures::StreamExt;

/// Tenants whose ends are asked for together.
const ENDS_MAX: usize = 1_000;
/// Tenants that are read at a time.
const TENANTS_AT_ONCE: usize = 4;
/// What one transaction counts.
const TURN: BatchLimits = BatchLimits { records: 5_000, bytes: 2 << 20, linger_ms: 0 };
/// Transactions of one tenant in a pass, so that a busy one does not hold up the others.
const TURNS_MAX: usize = 20;
/// Offsets that were counted, before the log is asked to delete them.
const COUNTED_KEPT: i64 = 10_000;

/// Counts what is new of every tenant, as far as one pass may.
pub(crate) async fn pass(store: &Store, topics: &dyn Topics) -> Result<(), Problem> {
    let positions = store.usage_positions().await?;
    for many in positions.chunks(ENDS_MAX) {
        let scopes: Vec<_> = many.iter().map(|at| at.scope.clone()).collect();
        let ends = topics.usage_ends(&scopes).await?;
        let new =
            many.iter().zip(ends).filter_map(|(at, end)| end.filter(|end| *end > at.position).map(|end| (at, end)));
        futures::stream::iter(new)
            .for_each_concurrent(TENANTS_AT_ONCE, |(at, end)| async move {
                if let Err(problem) = count(store, topics, at, end).await {
                    tracing::warn!(tenant = %at.scope.tenant(), code = %problem.code, cause = problem.cause, "usage is not counted now");
                }
            })
            .await;
    }
    Ok(())
}

async fn count(store: &Store, topics: &dyn Topics, at: &UsagePosition, end: i64) -> Result<(), Problem> {
    let mut position = at.position;
    for _ in 0..TURNS_MAX {
        let (batch, next) = topics.usage(&at.scope, position, &TURN).await?;
        if next <= position || !store.add_usage(&at.scope, (position, next), &rows(&batch)).await? {
            break;
        }
        position = next;
        if position >= end {
            break;
        }
    }
    if position - at.deleted_until >= COUNTED_KEPT {
        topics.forget_usage(&at.scope, position).await?;
        store.usage_deleted(&at.scope, position).await?;
    }
    Ok(())
}

/// What records say, summed up. One that does not read is of a later version, or of nobody's making, and is passed over.
fn rows(batch: &RecordBatch) -> UsageRows {
    let mut rows = UsageRows::new();
    let mut unread = 0_u64;
    for i in 0..batch.len() {
        let record: Option<UsageRecord> = batch.values.get(i).and_then(|value| serde_json::from_slice(value).ok());
        let Some(record) = record.filter(|record| record.version == USAGE_VERSION) else {
            unread += 1;
            continue;
        };
        for stage in &record.stages {
            let key = UsageKey {
                hour: record.at_ms.div_euclid(HOUR_MS),
                project: record.project.to_string(),
                pipeline: record.pipeline.to_string(),
                revision: i64::try_from(record.revision).unwrap_or(i64::MAX),
                stage: stage.stage.to_string(),
            };
            let (batches, used) = rows.entry(key).or_default();
            *batches += 1;
            *used += stage.used;
        }
    }
    if unread > 0 {
        tracing::warn!(unread, "records of usage that this version cannot read are not counted");
    }
    rows
}
