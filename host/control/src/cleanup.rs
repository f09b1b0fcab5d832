//! What a pipeline's deletion leaves in the log and the object store, done when it can be. A tenant's is [`crate::erasure`].
//!
//! A deleted pipeline takes along what it made: its positions, its stages' state, rows and manifests of its bucket outputs, and objects that
//! were staged and not published. What it wrote is the tenant's and stays: topics, dead letters among them, and published objects. A
//! revision that drops a stage or an output takes nothing along, since a roll back wants it.
//! Must never: delete what a pipeline has while workers may still run it, or fail for good where trying again would do.

use crate::api::App;
use crate::problem::Problem;
use crate::store::{Leftover, StartOver};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::name::ProjectId;
use bulkhead_core::scope::TenantScope;

impl App {
    /// Does a leftover's work. `false` where it has to wait for other work; a conflict where workers are still leaving.
    pub(crate) async fn clear(&self, leftover: &Leftover) -> Result<bool, Problem> {
        match leftover {
            Leftover::Pipeline(gone) => {
                // An empty group proves nothing while a worker may not have been told to leave: it could be between two memberships.
                if self.behind(gone.told_generation) {
                    return Ok(false);
                }
                self.topics().forget_group(&gone.scope, &gone.project, &gone.pipeline).await?;
                self.topics().forget_outputs(&gone.scope, gone.path()).await?;
                Ok(true)
            }
            Leftover::Staged(gone) => {
                // Who is still leaving may publish.
                if self.has_left_pipeline(gone).await? {
                    return Ok(false);
                }
                Ok(self.topics().discard_staged(&gone.scope, gone.path()).await?)
            }
        }
    }

    /// Forgets the positions of a pipeline that is to begin anew. `false` where a worker may not have been told to leave yet; a conflict
    /// where workers are still leaving.
    pub(crate) async fn forget_positions(&self, over: &StartOver) -> Result<bool, Problem> {
        if self.behind(over.told_generation) {
            return Ok(false);
        }
        self.topics().forget_group(&over.scope, &over.project, &over.pipeline).await?;
        Ok(true)
    }

    /// Makes the place for the state of a pipeline's stages. Only for a pipeline that has none or begins anew: that a place vanished which
    /// was made before is for the worker to say, and no empty one may hide it.
    pub(crate) async fn keep_state<M>(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        spec: &PipelineSpec<M>,
    ) -> Result<(), Problem> {
        if !spec.has_state() {
            return Ok(());
        }
        let mut partitions = 1;
        for input in &spec.inputs {
            let topic = self.topics().describe(scope, &input.topic).await?;
            partitions = partitions.max(topic.map_or(1, |topic| topic.partitions));
        }
        Ok(self.topics().keep_state(scope, project, &spec.name, partitions).await?)
    }

    /// [`App::clear`] within a request: what cannot be done now is the background's.
    pub(crate) async fn clear_soon(&self, leftover: &Leftover) -> bool {
        match self.clear(leftover).await {
            Ok(done) => done,
            Err(problem) => {
                if problem.code != Code::Conflict {
                    tracing::warn!(code = %problem.code, cause = problem.cause, "a deletion is not done yet");
                }
                false
            }
        }
    }
}
