//! A page of dead letters: oldest first, partition by partition.
//!
//! Must never: read without bound because others share the topic: a page may be short, or empty, while there are more.

use super::{InPipeline, LetterView, letter_of};
use crate::api::App;
use crate::api::extract::{self, Names, Params};
use crate::api::opened::opened;
use crate::policy::Permit;
use crate::policy::action::ReadDeadLetters;
use crate::problem::Problem;
use crate::store::{MarkState, Page};
use axum::Json;
use axum::extract::State;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::LetterId;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use serde::Deserialize;
use serde_json::{Value, json};

/// Read at a time, and for one page altogether.
const LIMITS: BatchLimits = BatchLimits { records: 500, bytes: 1 << 20, linger_ms: 0 };
const SCANNED_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ListParams {
    #[serde(default)]
    after: String,
    limit: Option<u32>,
    partition: Option<i32>,
}

pub(in crate::api) async fn list(
    permit: Permit<ReadDeadLetters>,
    Names(at): Names<InPipeline>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let Page { after, limit } = extract::page(&params.after, params.limit)?;
    let after: Option<LetterId> = match after.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Problem::bad_request("`after` is the `next` of an earlier page"))?),
    };
    let row = store.pipeline(scope, &at.project, &at.pipeline).await?;
    let topic = &row.spec.dead_letter;
    let described = app.topics().describe(scope, topic).await?.ok_or_else(|| crate::api::topics::missing(topic))?;

    let (mut items, mut scanned) = (Vec::new(), 0);
    for (partition, end) in (0..).zip(described.ends) {
        if params.partition.is_some_and(|only| only != partition)
            || after.is_some_and(|after| after.partition > partition)
        {
            continue;
        }
        let mut from =
            after.filter(|after| after.partition == partition).map_or(0, |after| after.offset.saturating_add(1));
        while from < end {
            if scanned >= SCANNED_MAX {
                return Ok(page(&items, Some(LetterId { partition, offset: from - 1 })));
            }
            let (batch, next) = app.topics().read(scope, topic, partition, Start::Offset(from), &LIMITS).await?;
            let batch = opened(&app, store, scope, topic, batch).await?;
            scanned += batch.len().max(1);
            let marks = store.letter_marks(scope, topic, partition, span(&batch, from)).await?;
            for i in 0..batch.len() {
                let Some((letter, _)) = letter_of(&batch, i, &at.project, &at.pipeline) else { continue };
                let id = LetterId { partition, offset: batch.offsets[i] };
                let mark = marks.get(&id.offset);
                if mark.is_some_and(|mark| mark.state == MarkState::Dropped) {
                    continue;
                }
                items.push(LetterView::new(id, letter, batch.timestamps[i], mark));
                if items.len() == limit as usize {
                    return Ok(page(&items, Some(id)));
                }
            }
            if next <= from {
                break;
            }
            from = next;
        }
    }
    Ok(page(&items, None))
}

/// The offsets of a batch.
fn span(batch: &RecordBatch, from: i64) -> std::ops::RangeInclusive<i64> {
    from..=batch.offsets.last().copied().unwrap_or(from)
}

fn page(items: &[LetterView], next: Option<LetterId>) -> Json<Value> {
    Json(json!({"items": items, "next": next.map(|id| id.to_string())}))
}
