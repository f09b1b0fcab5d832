//! Everything that another machine needs to come to the same verdict.
//!
//! Must never: give a configuration as if it were the one that ran, where it is not known.

use super::{Found, Which, find, refuse_sealed};
use crate::api::App;
use crate::api::extract::Names;
use crate::policy::Permit;
use crate::policy::action::BundleDeadLetter;
use crate::problem::Problem;
use crate::store::{PipelineRow, Store};
use axum::Json;
use axum::extract::State;
use bulkhead_core::code::Code;
use bulkhead_core::dead_letter::Letter;
use bulkhead_core::manifest::{PipelineSpec, Target};
use bulkhead_core::name::ProjectId;
use bulkhead_core::replay::{Bundle, Header};
use bulkhead_core::scope::TenantScope;
use std::collections::BTreeMap;

pub(in crate::api) async fn bundle(
    permit: Permit<BundleDeadLetter>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Bundle>, Problem> {
    let Found { row, batch, letter, own, .. } = find(&app, &permit, &at).await?;
    refuse_sealed(&letter)?;
    let scope = permit.scope();
    let spec = as_it_ran(permit.store(), scope, &at.project, row, &letter).await?;
    let mut topic_limits = BTreeMap::new();
    for output in spec.stages.iter().flat_map(|stage| &stage.outputs) {
        if let Target::Topic(topic) = &output.target
            && !topic_limits.contains_key(topic)
            && let Some(described) = app.topics().describe(scope, topic).await?
        {
            topic_limits.insert(topic.clone(), described.max_record_bytes);
        }
    }
    let bytes = |cell: Option<&[u8]>| cell.map(<[u8]>::to_vec);
    let headers = batch.headers.row(0).take(own);
    Ok(Json(Bundle {
        tenant: scope.tenant().clone(),
        project: at.project,
        spec,
        letter,
        timestamp: batch.timestamps[0],
        key: bytes(batch.keys.get(0)),
        value: bytes(batch.values.get(0)),
        headers: headers.map(|(name, value)| Header { name: bytes(Some(name)), value: bytes(value) }).collect(),
        topic_limits,
    }))
}

/// The pipeline as it was when it wrote the letter.
async fn as_it_ran(
    store: &Store,
    scope: &TenantScope,
    project: &ProjectId,
    row: PipelineRow,
    letter: &Letter,
) -> Result<PipelineSpec, Problem> {
    if row.revision == letter.revision {
        return Ok(row.spec);
    }
    match store.revision(scope, project, &letter.pipeline, letter.revision).await {
        Ok(then) => Ok(then.spec),
        Err(problem) if problem.code == Code::NotFound => {
            let detail = format!(
                "this letter was written by revision {}, which is no longer kept; replay the letter in its pipeline instead",
                letter.revision
            );
            Err(Problem::conflict(detail))
        }
        Err(problem) => Err(problem),
    }
}
