//! What each stage of a pipeline does, as its workers say.
//!
//! Must never: add numbers of a pipeline that was deleted to those of one of its name.

use super::App;
use super::extract::Names;
use super::pipelines::Which;
use crate::policy::Permit;
use crate::policy::action::ReadPipelines;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use bulkhead_core::assignment::{PipelineKey, StageTotals};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A stage as clients see it. The numbers count from the start of each worker that runs it now, when a batch commits: one that was run
/// again counts once, but for its fuel.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stage)]
pub(super) struct StageView {
    stage: String,
    /// The digest of its module.
    module: String,
    /// Records that it was given.
    records_in: u64,
    /// Records that it made, for topics and for other stages.
    records_out: u64,
    /// Records of which it could not be made to take charge: they became dead letters, or will.
    faults: u64,
    fuel: u64,
}

pub(super) async fn list(
    permit: Permit<ReadPipelines>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let scope = permit.scope();
    let row = permit.store().pipeline(scope, &at.project, &at.pipeline).await?;
    let key = PipelineKey { tenant: scope.tenant().clone(), project: at.project, pipeline: at.pipeline };
    let said = app.live().stages(&key, row.first_revision);
    let stages = row.spec.stages.iter().map(|stage| {
        let StageTotals { records_in, records_out, faults, fuel } = said.get(&stage.name).copied().unwrap_or_default();
        let (stage, module) = (stage.name.to_string(), stage.module.to_string());
        StageView { stage, module, records_in, records_out, faults, fuel }
    });
    Ok(Json(json!({"items": stages.collect::<Vec<_>>(), "next": null})))
}
