//! What workers are told beside the rows of their pipelines: what their fleet is called, and which modules act on time.
//!
//! Workers that are told the same pipelines share out among them who watches which, in a group of the log, and two hosts on one log must not
//! meet there. A host is told apart by its platform's chain in the audit, whose name is made once and stays. It is there before any
//! tenant, since making one is written into it.
//! Must never: give two fleets one name.

use super::Store;
use super::database::Database;
use crate::audit::line::PLATFORM;
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::name::ModuleDigest;
use std::collections::HashSet;
use std::sync::Arc;

/// Modules that act on time, by tenant, project and digest.
pub(super) struct Ticking(HashSet<(String, String, String)>);

impl Ticking {
    /// Whether a stage of this pipeline does.
    pub(super) fn has(&self, pipeline: &PipelineAssignment) -> bool {
        let (tenant, project) = (&pipeline.key.tenant, &pipeline.key.project);
        let of = |digest: ModuleDigest| (tenant.to_string(), project.to_string(), digest.to_string());
        pipeline.spec.stages.iter().any(|stage| self.0.contains(&of(stage.module)))
    }
}

impl Store {
    /// The fleet's name; the host's part is empty where it has done nothing yet.
    pub(super) async fn fleet_name(&self, fleet: &Fleet) -> Result<String, Problem> {
        let mut tx = self.reading_background().await?;
        let host: Option<(String,)> = sqlx::query_as("SELECT chain FROM audit_chains WHERE tenant = $1")
            .bind(PLATFORM)
            .fetch_optional(&mut *tx)
            .await?;
        let (host,) = host.unwrap_or_default();
        Ok(match fleet.tenant() {
            None => host,
            Some(tenant) => format!("{host}/{tenant}"),
        })
    }

    /// The modules of one home that act on time.
    pub(super) async fn ticking(&self, home: &Arc<Database>) -> Result<Ticking, Problem> {
        let mut tx = self.reading_background_in(home).await?;
        let rows = sqlx::query_as("SELECT tenant, project, digest FROM modules WHERE ticks").fetch_all(&mut *tx);
        Ok(Ticking(rows.await?.into_iter().collect()))
    }
}
