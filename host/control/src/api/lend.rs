//! The values of secrets, for a worker that runs a pipeline: only those that the pipeline's stages are granted; and the keys that seal what
//! the pipeline leaves in a log which does not seal what it keeps.
//!
//! Must never: be open to anybody but workers, give a secret that the running revision does not name, or a key that opens anything of another
//! pipeline.

use super::App;
use super::extract::Names;
use crate::policy::Permit;
use crate::policy::action::LendSecrets;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::secret::{Lent, LentSecret, SecretValue};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Which {
    project: ProjectId,
    pipeline: PipelineName,
}

pub(super) async fn secrets(
    permit: Permit<LendSecrets>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Lent>, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let missing = || Problem::not_found(format!("pipeline `{}` in the project `{}`", at.pipeline, at.project));
    let row = store.find_pipeline(scope, &at.project, &at.pipeline).await?.ok_or_else(missing)?;
    let lent = store.lent_secrets(scope, &at.project, &row.spec, app.vault()).await?;
    let secrets = lent.into_iter().map(|(name, stamp, mut value)| {
        let value = SecretValue::new(std::mem::take(&mut *value));
        (name, LentSecret { stamp, value })
    });
    let keys = if row.spec.seals() { Some(store.tenant_keys(scope, app.vault()).await?) } else { None };
    let key = PipelineKey { tenant: scope.tenant().clone(), project: at.project, pipeline: at.pipeline };
    Ok(Json(Lent { secrets: secrets.collect(), keys: keys.map(|keys| keys.of_pipeline(&key).lend()) }))
}
