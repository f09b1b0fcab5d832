//! What the stages of a pipeline have used of what they were granted.
//!
//! Must never: show what was read or written; only that, how often and when.

use super::extract::Names;
use crate::policy::Permit;
use crate::policy::action::ReadPipelines;
use crate::problem::Problem;
use axum::Json;
use bulkhead_core::name::{PipelineName, ProjectId};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    pipeline: PipelineName,
}

pub(super) async fn list(permit: Permit<ReadPipelines>, Names(at): Names<Which>) -> Result<Json<Value>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    if store.find_pipeline(scope, &at.project, &at.pipeline).await?.is_none() {
        return Err(Problem::not_found(format!("pipeline `{}`", at.pipeline)));
    }
    let uses = store.uses(scope, &at.project, &at.pipeline).await?;
    Ok(Json(json!({"items": uses, "next": null})))
}
