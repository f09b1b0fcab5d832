//! What workers are to run, and what pipelines have done so far.
//!
//! Must never: leave a pipeline out of an assignment because it cannot be read: a worker would stop it.

use super::{Store, entries, stored, stored_json};
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::assignment::{Assignment, PipelineAssignment, PipelineKey, Totals};
use bulkhead_core::manifest::{PipelineSpec, Start};
use bulkhead_core::name::{PipelineName, ProjectId, TopicName};
use bulkhead_core::scope::TenantScope;
use std::collections::{BTreeMap, BTreeSet};

/// Sums of the columns of `totals`, as SQL gives them.
type Totals64 = (i64, i64, i64, i64, i64, i64);

/// A pipeline as it is told to workers.
type Told = (String, String, String, i64, String, i64, String, Option<String>, i64, i64);

type Initialised = BTreeMap<PipelineKey, BTreeMap<TopicName, BTreeSet<i32>>>;

impl Store {
    /// Every pipeline of every tenant, as of one generation.
    pub(crate) async fn assignment(&self, fleet: &Fleet) -> Result<Assignment, Problem> {
        // One read transaction, so that generation and rows belong together.
        let mut tx = self.reading_fleet(fleet).await?;
        let (generation,): (i64,) = sqlx::query_as("SELECT generation FROM generation").fetch_one(&mut *tx).await?;
        let rows: Vec<Told> = sqlx::query_as(
            "SELECT tenant, project, pipeline, revision, spec, CAST(paused AS INTEGER), incarnation, start_at, starts,
                    CAST(starting_over AS INTEGER)
             FROM pipelines ORDER BY tenant, project, pipeline",
        )
        .fetch_all(&mut *tx)
        .await?;
        let partitions: Vec<(String, String, String, String, i32)> =
            sqlx::query_as("SELECT tenant, project, pipeline, topic, partition FROM initialised")
                .fetch_all(&mut *tx)
                .await?;
        let stamps = entries::stamps(&mut tx).await?;
        drop(tx);

        let mut initialised = Initialised::new();
        for (tenant, project, pipeline, topic, partition) in partitions {
            let topics = initialised.entry(key(&tenant, &project, &pipeline)?).or_default();
            topics.entry(stored(&topic)?).or_default().insert(partition);
        }
        let mut pipelines = Vec::with_capacity(rows.len());
        for row in rows {
            let (tenant, project, pipeline, revision, spec, paused, incarnation, start_at, starts, starting_over) = row;
            let key = key(&tenant, &project, &pipeline)?;
            let mut spec: PipelineSpec = stored_json(&spec)?;
            if let Some(start_at) = start_at {
                let start: Start = stored(&start_at)?;
                spec.inputs.iter_mut().for_each(|input| input.start = start);
            }
            pipelines.push(PipelineAssignment {
                initialised: initialised.remove(&key).unwrap_or_default(),
                secrets: stamps.of(&key, &spec),
                key,
                incarnation,
                starts: starts.cast_unsigned(),
                revision: revision.cast_unsigned(),
                spec,
                // Until its positions are forgotten, nobody may run it.
                paused: paused != 0 || starting_over != 0,
            });
        }
        Ok(Assignment { generation: generation.cast_unsigned(), pipelines })
    }

    /// What a pipeline has done since it was made.
    pub(crate) async fn totals(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        pipeline: &PipelineName,
    ) -> Result<Totals, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Totals64 = sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(records_in), 0) AS BIGINT), CAST(COALESCE(SUM(records_out), 0) AS BIGINT),
                    CAST(COALESCE(SUM(bytes_in), 0) AS BIGINT), CAST(COALESCE(SUM(bytes_out), 0) AS BIGINT),
                    CAST(COALESCE(SUM(dead_letters), 0) AS BIGINT), CAST(COALESCE(SUM(fuel), 0) AS BIGINT)
             FROM totals WHERE tenant = $1 AND project = $2 AND pipeline = $3",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(pipeline.as_str())
        .fetch_one(&mut *tx)
        .await?;
        Ok(Totals {
            records_in: row.0.cast_unsigned(),
            records_out: row.1.cast_unsigned(),
            bytes_in: row.2.cast_unsigned(),
            bytes_out: row.3.cast_unsigned(),
            dead_letters: row.4.cast_unsigned(),
            fuel: row.5.cast_unsigned(),
        })
    }
}

fn key(tenant: &str, project: &str, pipeline: &str) -> Result<PipelineKey, Problem> {
    Ok(PipelineKey { tenant: stored(tenant)?, project: stored(project)?, pipeline: stored(pipeline)? })
}
