//! Sending a dead letter's record to its pipeline once more, and putting a letter away.
//!
//! The record is written to the end of its source topic, as it was, with one header that names the pipeline: the others that read the
//! topic pass over it, and the pipeline does not show the header to its stages.
//! Must never: write a record twice for one request, or lose the mark of one that was written.

use super::{Found, Which, find, refuse_sealed};
use crate::api::App;
use crate::api::extract::{Names, Params};
use crate::policy::Permit;
use crate::policy::action::{DropDeadLetter, ReplayDeadLetter};
use crate::problem::Problem;
use crate::store::{Mark, MarkState, now_ms};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::REPLAY_OF;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Again {
    #[serde(default)]
    again: bool,
}

pub(in crate::api) async fn replay(
    permit: Permit<ReplayDeadLetter>,
    Names(at): Names<Which>,
    Params(params): Params<Again>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let found = find(&app, &permit, &at).await?;
    let (store, scope) = (permit.store(), permit.scope());
    let (id, source) = (found.id, &found.letter.source);
    refuse_sealed(&found.letter)?;
    if !found.letter.complete {
        let detail =
            format!("parts of this record did not fit its dead-letter topic; produce it again from `{}`", source.topic);
        return Err(Problem::new(Code::LetterIncomplete, detail));
    }
    if !found.row.spec.inputs.iter().any(|input| input.topic == source.topic) {
        let detail = format!("the pipeline no longer reads `{}`, where this record came from", source.topic);
        return Err(Problem::conflict(detail));
    }
    let topic = &found.row.spec.dead_letter;
    let subject = permit.principal().subject();
    store.begin_replay(scope, topic, id, subject, params.again).await?;
    let record = record(&found, &format!("{}/{}/{id}", at.project, at.pipeline));
    if let Err(refusal) = app.topics().produce(scope, &source.topic, record).await {
        let problem = Problem::from(refusal);
        // These are said before anything is written; after any other, nobody knows.
        if matches!(problem.code, Code::NotFound | Code::RequestTooLarge) {
            store.undo_replay(scope, topic, id, found.mark.as_ref()).await?;
        }
        return Err(problem);
    }
    let at_ms = now_ms();
    let mark = Mark { state: MarkState::Replayed, subject: subject.to_owned(), at_ms };
    store.mark_letter(scope, topic, id, &mark).await?;
    let state = mark.state.as_str();
    Ok(Json(
        json!({"id": id.to_string(), "state": state, "replayedAt": format_rfc3339_ms(at_ms), "replayedBy": subject}),
    ))
}

/// The record as it was, for one pipeline.
fn record(found: &Found, meant: &str) -> RecordBatch {
    let batch = &found.batch;
    let mut record = RecordBatch { partition: found.letter.source.partition, ..RecordBatch::default() };
    let replay = (REPLAY_OF.as_bytes(), Some(meant.as_bytes()));
    let headers = batch.headers.row(0).take(found.own).chain([replay]);
    record.push(0, batch.timestamps[0], batch.keys.get(0), batch.values.get(0), headers);
    record
}

/// Puts a letter away. The record stays in its topic for as long as the topic keeps it.
pub(in crate::api) async fn drop_letter(
    permit: Permit<DropDeadLetter>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<StatusCode, Problem> {
    let found = find(&app, &permit, &at).await?;
    let subject = permit.principal().subject().to_owned();
    let mark = Mark { state: MarkState::Dropped, subject, at_ms: now_ms() };
    permit.store().mark_letter(permit.scope(), &found.row.spec.dead_letter, found.id, &mark).await?;
    Ok(StatusCode::NO_CONTENT)
}
