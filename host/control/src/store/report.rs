//! What workers reported and must outlive them: totals, and which partitions have had a position.
//!
//! Counters are cumulative within one boot of one worker, so a row for each boot holds the last of them and a pipeline's totals
//! are the sum of its rows: a report that comes twice, or late, counts once.
//! Must never: count a report about a deleted pipeline for a new one of its name.

use super::database::Database;
use super::homes::unless_own;
use super::{Store, Tx, now_ms};
use crate::policy::Fleet;
use crate::problem::Problem;
use bulkhead_core::assignment::{PipelineKey, PipelineReport, Totals};
use bulkhead_core::name::TenantId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reporter<'a> {
    pub(crate) worker: &'a str,
    pub(crate) boot: &'a str,
}

impl Store {
    /// Merges what changed since the worker's last report. Gives the tenants of whom nothing was merged, since their own metadata is away:
    /// that has to be said again.
    pub(crate) async fn merge_report(
        &self,
        fleet: &Fleet,
        reporter: Reporter<'_>,
        changed: &[&PipelineReport],
    ) -> Result<BTreeSet<TenantId>, Problem> {
        let mut away = BTreeSet::new();
        for (home, tenants) in self.by_home(by_tenant(changed)).await? {
            let own = tenants.keys().next().filter(|_| home.own).map(|tenant| (*tenant).clone());
            let merged = self.merge_in(&home, fleet, reporter, tenants).await;
            if unless_own(own.as_ref(), merged)?.is_none() {
                away.extend(own);
            }
        }
        Ok(away)
    }

    async fn merge_in(
        &self,
        home: &Arc<Database>,
        fleet: &Fleet,
        reporter: Reporter<'_>,
        tenants: BTreeMap<&TenantId, Vec<&PipelineReport>>,
    ) -> Result<(), Problem> {
        let mut tx = self.begin_fleet(home, fleet).await?;
        let mut initialised = 0;
        for (tenant, reports) in tenants {
            tx.turn_to(tenant).await?;
            for report in reports {
                let Some(starts) = starts_of(&mut tx, report).await? else { continue };
                // What had a position before the pipeline began anew has none now.
                if starts == report.starts {
                    initialised += merge_initialised(&mut tx, report).await?;
                }
                merge_totals(&mut tx, reporter, &report.key, &report.totals).await?;
                super::uses::merge(&mut tx, reporter, report).await?;
            }
        }
        // A worker that joins later must know of these partitions, so they are part of the assignment.
        if initialised > 0 {
            self.commit_raised(tx).await?;
        } else {
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What is said of each tenant, in the order of their names, in which every transaction turns to them: so none waits for another in a circle.
fn by_tenant<'a>(changed: &[&'a PipelineReport]) -> BTreeMap<&'a TenantId, Vec<&'a PipelineReport>> {
    let mut tenants: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for report in changed {
        tenants.entry(&report.key.tenant).or_default().push(*report);
    }
    tenants
}

/// How often the pipeline that a report speaks of began anew; `None` where that is one which was deleted.
async fn starts_of(tx: &mut Tx, report: &PipelineReport) -> Result<Option<u64>, Problem> {
    let PipelineReport { key, incarnation, revision, .. } = report;
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT starts FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND first_revision <= $4
            AND ($5 = '' OR incarnation = $5)",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(whole(*revision))
    .bind(incarnation)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|(starts,)| starts.cast_unsigned()))
}

async fn merge_initialised(tx: &mut Tx, report: &PipelineReport) -> Result<u64, Problem> {
    let mut new = 0;
    for (topic, partitions) in &report.initialised {
        for partition in partitions {
            // Only of topics that the pipeline uses: a report that was on its way when a topic left the manifest adds nothing.
            let inserted = sqlx::query(
                "INSERT INTO initialised (tenant, project, pipeline, topic, partition)
                 SELECT tenant, project, pipeline, topic, $5 FROM pipeline_topics
                 WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND topic = $4 ON CONFLICT DO NOTHING",
            )
            .bind(report.key.tenant.as_str())
            .bind(report.key.project.as_str())
            .bind(report.key.pipeline.as_str())
            .bind(topic.as_str())
            .bind(*partition)
            .execute(&mut **tx)
            .await?;
            new += inserted.rows_affected();
        }
    }
    Ok(new)
}

async fn merge_totals(tx: &mut Tx, reporter: Reporter<'_>, key: &PipelineKey, totals: &Totals) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO totals (tenant, project, pipeline, worker, boot, records_in, records_out, bytes_in, bytes_out,
                             dead_letters, fuel, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (tenant, project, pipeline, worker, boot) DO UPDATE SET records_in = excluded.records_in,
            records_out = excluded.records_out, bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out,
            dead_letters = excluded.dead_letters, fuel = excluded.fuel, updated_ms = excluded.updated_ms
         WHERE excluded.records_in >= totals.records_in AND excluded.fuel >= totals.fuel",
    )
    .bind(key.tenant.as_str())
    .bind(key.project.as_str())
    .bind(key.pipeline.as_str())
    .bind(reporter.worker)
    .bind(reporter.boot)
    .bind(whole(totals.records_in))
    .bind(whole(totals.records_out))
    .bind(whole(totals.bytes_in))
    .bind(whole(totals.bytes_out))
    .bind(whole(totals.dead_letters))
    .bind(whole(totals.fuel))
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
