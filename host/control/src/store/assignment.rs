//! What workers are to run, and what pipelines have done so far.
//!
//! Must never: leave a pipeline out of an assignment because it cannot be read: a worker would stop it.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, entries, keys, stored, stored_json};
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::assignment::{Assignment, PipelineAssignment, PipelineKey, Totals};
use bulkhead_core::manifest::{PipelineSpec, Start};
use bulkhead_core::name::{PipelineName, ProjectId, TenantId, TopicName};
use bulkhead_core::scope::TenantScope;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Sums of the columns of `totals`, as SQL gives them.
type Totals64 = (i64, i64, i64, i64, i64, i64);

/// A pipeline as it is told to workers.
type Told = (String, String, String, i64, String, i64, String, Option<String>, i64, i64);

type Initialised = BTreeMap<PipelineKey, BTreeMap<TopicName, BTreeSet<i32>>>;

impl Store {
    /// Every pipeline that a worker may run, as of one generation: of every tenant that is not suspended, or of the one that it works for. Of a
    /// home of one's own that is away: what it said last.
    pub(crate) async fn assignment(&self, fleet: &Fleet) -> Result<Assignment, Problem> {
        // The generation is read first, with the shared rows: what other homes then say may be newer, and never older.
        let (generation, mut pipelines) = self.told_by(&self.shared, fleet).await?;
        let erasures = self.erasures_begun().await?;
        for (tenant, home) in self.own_homes().await? {
            if !fleet.works_for(&tenant) {
                continue;
            }
            match unless_own(Some(&tenant), self.told_by(&home, fleet).await)? {
                Some((_, told)) => {
                    self.homes.told.lock().insert(tenant, told.clone());
                    pipelines.extend(told);
                }
                None => {
                    let last = self.homes.told.lock().get(&tenant).cloned();
                    pipelines.extend(last.ok_or_else(|| Problem::database_away("a tenant's own, since the start"))?);
                }
            }
        }
        pipelines.sort_by(|a, b| a.key.cmp(&b.key));
        let (mut tenants, held) = self.worker_limits(fleet).await?;
        for told in &mut pipelines {
            told.held = held.get(&told.key.tenant).cloned();
        }
        tenants.retain(|tenant, _| pipelines.binary_search_by(|told| told.key.tenant.cmp(tenant)).is_ok());
        let fleet = self.fleet_name(fleet).await?;
        Ok(Assignment { generation, pipelines, erasures, tenants, fleet })
    }

    /// What the tenants of one home run, and the generation there.
    async fn told_by(&self, home: &Arc<Database>, fleet: &Fleet) -> Result<(u64, Vec<PipelineAssignment>), Problem> {
        let whose = fleet.tenant().map_or("", TenantId::as_str);
        // One read transaction, so that generation and rows belong together.
        let mut tx = self.reading_fleet(home, fleet).await?;
        let (generation,): (i64,) = sqlx::query_as("SELECT generation FROM generation").fetch_one(&mut *tx).await?;
        let rows: Vec<Told> = sqlx::query_as(
            "SELECT tenant, project, pipeline, revision, spec, CAST(paused AS INTEGER), incarnation, start_at, starts,
                    CAST(starting_over AS INTEGER)
             FROM pipelines WHERE ($1 = '' OR tenant = $1)
                AND tenant NOT IN (SELECT tenant FROM tenants WHERE suspended_ms IS NOT NULL)
             ORDER BY tenant, project, pipeline",
        )
        .bind(whose)
        .fetch_all(&mut *tx)
        .await?;
        let partitions: Vec<(String, String, String, String, i32)> = sqlx::query_as(
            "SELECT tenant, project, pipeline, topic, partition FROM initialised WHERE $1 = '' OR tenant = $1",
        )
        .bind(whose)
        .fetch_all(&mut *tx)
        .await?;
        let stamps = entries::stamps(&mut tx).await?;
        let versions = keys::versions(&mut tx, whose).await?;
        drop(tx);
        // Later is as good: a module is there before who runs it, and stays as it is.
        let ticking = self.ticking(home).await?;

        let mut initialised = Initialised::new();
        for (tenant, project, pipeline, topic, partition) in partitions {
            let topics = initialised.entry(key(&tenant, &project, &pipeline)?).or_default();
            topics.entry(stored(&topic)?).or_default().insert(partition);
        }
        let mut pipelines = rows
            .into_iter()
            .map(|row| told(row, &mut initialised, &stamps, &versions))
            .collect::<Result<Vec<_>, Problem>>()?;
        pipelines.iter_mut().for_each(|pipeline| pipeline.ticks = ticking.has(pipeline));
        Ok((generation.cast_unsigned(), pipelines))
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

fn told(
    row: Told,
    initialised: &mut Initialised,
    stamps: &entries::Stamps,
    versions: &HashMap<String, u32>,
) -> Result<PipelineAssignment, Problem> {
    let (tenant, project, pipeline, revision, spec, paused, incarnation, start_at, starts, starting_over) = row;
    let key = key(&tenant, &project, &pipeline)?;
    let mut spec: PipelineSpec = stored_json(&spec)?;
    if let Some(start_at) = start_at {
        let start: Start = stored(&start_at)?;
        spec.inputs.iter_mut().for_each(|input| input.start = start);
    }
    Ok(PipelineAssignment {
        initialised: initialised.remove(&key).unwrap_or_default(),
        secrets: stamps.of(&key, &spec),
        // A tenant without a key gets its first when a worker asks for it.
        key_version: if spec.seals() { versions.get(&tenant).copied().unwrap_or(1) } else { 0 },
        key,
        incarnation,
        starts: starts.cast_unsigned(),
        revision: revision.cast_unsigned(),
        spec,
        // Until its positions are forgotten, nobody may run it.
        paused: paused != 0 || starting_over != 0,
        held: None,
        ticks: true,
    })
}

fn key(tenant: &str, project: &str, pipeline: &str) -> Result<PipelineKey, Problem> {
    Ok(PipelineKey { tenant: stored(tenant)?, project: stored(project)?, pipeline: stored(pipeline)? })
}
