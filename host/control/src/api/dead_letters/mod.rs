//! Dead letters of one pipeline: listed, looked into, replayed, dropped, and bundled for a run on another machine.
//!
//! They are records of the pipeline's dead-letter topic, which several pipelines may share; the evidence in their headers says whose
//! they are. What was done with them is in the metadata.
//! Must never: show a letter of another pipeline.

mod bundle;
mod list;
mod replay;

pub(super) use bundle::bundle;
pub(super) use list::list;
pub(super) use replay::{drop_letter, replay};

use super::App;
use super::extract::Names;
use super::opened::opened;
use super::records::line;
use crate::policy::Permit;
use crate::policy::action::{Action, ReadDeadLetters};
use crate::problem::Problem;
use crate::store::{Mark, MarkState, PipelineRow};
use axum::Json;
use axum::extract::State;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::dead_letter::{Coordinates, Letter, LetterId};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{ModuleDigest, PipelineName, ProjectId, StageName};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
pub(super) struct InPipeline {
    project: ProjectId,
    pipeline: PipelineName,
}

#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    pipeline: PipelineName,
    letter: String,
}

impl Which {
    fn id(&self) -> Result<LetterId, Problem> {
        self.letter
            .parse()
            .map_err(|error: bulkhead_core::dead_letter::NoLetterId| Problem::bad_request(error.to_string()))
    }

    fn missing(&self) -> Problem {
        Problem::not_found(format!("dead letter `{}` of pipeline `{}`", self.letter, self.pipeline))
    }
}

/// A dead letter as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LetterView {
    id: String,
    code: bulkhead_core::code::Code,
    kind: bulkhead_core::fault::GuestFaultKind,
    reason: String,
    fuel: Option<u64>,
    stage: StageName,
    module: ModuleDigest,
    pipeline: PipelineName,
    revision: u64,
    source: Coordinates,
    /// Of the record, in milliseconds since the epoch.
    timestamp: i64,
    state: &'static str,
    /// There where it does not open: all that is known of it is here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sealed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_by: Option<String>,
}

impl LetterView {
    fn new(id: LetterId, letter: Letter, timestamp: i64, mark: Option<&Mark>) -> Self {
        let Letter { code, kind, reason, fuel, stage, module, pipeline, revision, source, sealed, .. } = letter;
        let state = mark.map_or("new", |mark| mark.state.as_str());
        let replayed_at = mark.map(|mark| format_rfc3339_ms(mark.at_ms));
        let replayed_by = mark.map(|mark| mark.subject.clone());
        let id = id.to_string();
        Self {
            id,
            code,
            kind,
            reason,
            fuel,
            stage,
            module,
            pipeline,
            revision,
            source,
            timestamp,
            state,
            sealed,
            replayed_at,
            replayed_by,
        }
    }
}

/// Reads a row as a dead letter of this pipeline, with the number of the record's own headers.
fn letter_of(batch: &RecordBatch, i: usize, project: &ProjectId, pipeline: &PipelineName) -> Option<(Letter, usize)> {
    let (letter, own) = Letter::read(batch.headers.row(i))?;
    let same = letter.pipeline == *pipeline && letter.project.as_ref().is_none_or(|found| found == project);
    same.then_some((letter, own))
}

/// One dead letter, found.
struct Found {
    id: LetterId,
    row: PipelineRow,
    /// The one record.
    batch: RecordBatch,
    letter: Letter,
    /// How many of its headers are the record's own.
    own: usize,
    mark: Option<Mark>,
}

async fn find<A: Action<Reach = TenantScope>>(app: &App, permit: &Permit<A>, at: &Which) -> Result<Found, Problem> {
    const ONE: BatchLimits = BatchLimits { records: 1, bytes: 1, linger_ms: 0 };
    let (store, scope) = (permit.store(), permit.scope());
    let id = at.id()?;
    let row = store.pipeline(scope, &at.project, &at.pipeline).await?;
    let topic = &row.spec.dead_letter;
    let described = app.topics().describe(scope, topic).await?.ok_or_else(|| super::topics::missing(topic))?;
    let end = usize::try_from(id.partition).ok().and_then(|partition| described.ends.get(partition));
    if end.is_none_or(|end| id.offset >= *end) {
        return Err(at.missing());
    }
    let (batch, _) = app.topics().read(scope, topic, id.partition, Start::Offset(id.offset), &ONE).await?;
    if batch.offsets.first() != Some(&id.offset) {
        return Err(at.missing());
    }
    let batch = opened(app, store, scope, topic, batch).await?;
    let (letter, own) = letter_of(&batch, 0, &at.project, &at.pipeline).ok_or_else(|| at.missing())?;
    let mark = store.letter_marks(scope, topic, id.partition, id.offset..=id.offset).await?.remove(&id.offset);
    if mark.as_ref().is_some_and(|mark| mark.state == MarkState::Dropped) {
        return Err(at.missing());
    }
    Ok(Found { id, row, batch, letter, own, mark })
}

/// Refuses what needs the record of a letter that does not open.
fn refuse_sealed(letter: &Letter) -> Result<(), Problem> {
    if letter.sealed {
        let Coordinates { topic, partition, offset } = &letter.source;
        let detail = format!(
            "this dead letter does not open: its key is gone, or it was changed; its record came from partition {partition} of `{topic}`, \
             offset {offset}"
        );
        return Err(Problem::new(Code::LetterSealed, detail));
    }
    Ok(())
}

pub(super) async fn one(
    permit: Permit<ReadDeadLetters>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let Found { id, batch, letter, own, mark, .. } = find(&app, &permit, &at).await?;
    refuse_sealed(&letter)?;
    let (backtrace, complete) = (letter.backtrace.clone(), letter.complete);
    let mut record: Map<String, Value> = line::show(&batch, 0, own);
    // Its place in the dead-letter topic is the id; that of the record is in `source`.
    record.remove("offset");
    let mut shown = json!(LetterView::new(id, letter, batch.timestamps[0], mark.as_ref()));
    shown["record"] = record.into();
    shown["backtrace"] = json!(backtrace);
    shown["complete"] = complete.into();
    Ok(Json(shown))
}
