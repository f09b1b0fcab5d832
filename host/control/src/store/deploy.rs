//! Bringing out a revision: applying a manifest, going back to an earlier one, or seeing what either would do.
//!
//! All of it is one transaction, which begins with the writer's lock: of two at once, the second sees what the first made.
//! Must never: keep a manifest that does not resolve, use a revision number twice, or let a name be used again while positions of
//! its former pipeline are left.

use super::pipelines::{PipelineRow, current, missing};
use super::{Store, Tx, entries, modules, now_ms, revisions, to_json};
use crate::condition::Condition;
use crate::port::Inspected;
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::grant;
use bulkhead_core::manifest::{ManifestError, ModuleRef, PipelineSpec, Start};
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::scope::TenantScope;
use bulkhead_core::tenant_limits::TenantLimits;
use bulkhead_vault::Vault;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is to run.
pub(crate) enum Wanted<'a> {
    /// A manifest as written, read, with what the caller found wrong outside of the database: with errors, or with modules missing,
    /// nothing is written and all are told together.
    Manifest { text: &'a str, spec: PipelineSpec<ModuleRef>, errors: Vec<ManifestError> },
    /// What this revision was, with the modules of that time.
    Revision { number: u64, errors: Vec<ManifestError> },
}

/// How it is to be brought out.
pub(crate) struct Terms<'a> {
    /// Who does it.
    pub(crate) by: &'a str,
    pub(crate) condition: &'a Condition,
    /// Where to begin; where the pipeline has positions, these become void.
    pub(crate) start: Option<Start>,
    /// Nothing is to be written.
    pub(crate) dry_run: bool,
    pub(crate) limits: &'a TenantLimits,
    pub(crate) vault: &'a Arc<Vault>,
}

/// What bringing out did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Applied {
    /// There was no such pipeline.
    Created,
    /// It has a new revision.
    Changed,
    /// It means what the last one meant.
    Unchanged,
}

/// See [`Store::deploy`].
pub(crate) struct Deployed {
    pub(crate) applied: Applied,
    pub(crate) before: Option<PipelineRow>,
    /// What runs, or would run.
    pub(crate) spec: PipelineSpec,
    /// The pipeline as this very call left it; `None` where it was a dry run of a new one.
    pub(crate) now: Option<PipelineRow>,
}

/// A revision to be written.
struct New<'a> {
    manifest: &'a str,
    spec: &'a PipelineSpec,
    rolled_back_to: Option<u64>,
}

impl Store {
    /// Makes a revision of what is wanted, unless it means what is there and no start is named.
    pub(crate) async fn deploy(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        wanted: Wanted<'_>,
        terms: &Terms<'_>,
    ) -> Result<Deployed, Problem> {
        let mut tx = self.begin(scope).await?;
        let before = current(&mut tx, scope, project, name).await?;
        terms.condition.check(before.as_ref().map(PipelineRow::etag).as_deref())?;
        let (manifest, spec, rolled_back_to) = match wanted {
            Wanted::Manifest { text, spec, errors } => {
                (text.to_owned(), resolve(&mut tx, scope, project, (spec, terms.vault), errors).await?, None)
            }
            Wanted::Revision { number, errors } => {
                if before.is_none() {
                    return Err(missing(name));
                }
                let (text, spec) = revisions::content(&mut tx, scope, project, name, number).await?;
                need_modules(&mut tx, scope, project, &spec, errors).await?;
                (text, spec, Some(number))
            }
        };
        let unfit = unfit_modules(&mut tx, scope, project, &spec).await?;
        if !unfit.is_empty() {
            return Err(manifest_problem(unfit));
        }
        let applied = match &before {
            Some(row) if row.spec == spec && terms.start.is_none() => Applied::Unchanged,
            Some(_) => Applied::Changed,
            None => {
                refuse_new(&mut tx, scope, project, name, terms.limits.pipelines).await?;
                Applied::Created
            }
        };
        if applied != Applied::Unchanged {
            within_limits(&mut tx, scope, (project, name), &spec, terms.limits).await?;
        }
        if terms.dry_run {
            return Ok(Deployed { applied, before, spec, now: None });
        }
        if applied == Applied::Unchanged {
            return Ok(Deployed { applied, spec, now: before, before: None });
        }
        let new = New { manifest: &manifest, spec: &spec, rolled_back_to };
        let told = tx.raise().await?;
        write(&mut tx, scope, project, &new, terms, told).await?;
        let now = current(&mut tx, scope, project, name).await?;
        self.commit_raised(tx).await?;
        Ok(Deployed { applied, before, spec, now })
    }

    /// What a manifest means in this project now, with the digests of its modules and the config entries that it takes.
    pub(crate) async fn resolve(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        spec: PipelineSpec<ModuleRef>,
        vault: &Arc<Vault>,
    ) -> Result<PipelineSpec, Problem> {
        resolve(&mut self.reading(scope).await?, scope, project, (spec, vault), Vec::new()).await
    }
}

/// Many errors in a manifest as one problem.
pub(crate) fn manifest_problem(errors: Vec<ManifestError>) -> Problem {
    let detail = match errors.len() {
        1 => "one thing is wrong with the manifest; see `errors`".to_owned(),
        n => format!("{n} things are wrong with the manifest; see `errors`"),
    };
    Problem::new(Code::ManifestInvalid, detail).with_errors(errors)
}

async fn resolve(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    (mut spec, vault): (PipelineSpec<ModuleRef>, &Arc<Vault>),
    mut errors: Vec<ManifestError>,
) -> Result<PipelineSpec, Problem> {
    errors.extend(entries::resolve(tx, scope, project, &mut spec, vault).await?);
    let refs: BTreeSet<_> = spec.stages.iter().map(|stage| stage.module.clone()).collect();
    let known = modules::resolve(tx, scope, project, refs).await?;
    match spec.resolve(|wanted| known.get(wanted).copied()) {
        Ok(spec) if errors.is_empty() => Ok(spec),
        Ok(_) => Err(manifest_problem(errors)),
        Err(missing) => {
            errors.extend(missing);
            Err(manifest_problem(errors))
        }
    }
}

/// What an earlier revision ran, or was granted, may have been deleted since. Its config stays what it was.
async fn need_modules(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    spec: &PipelineSpec,
    mut errors: Vec<ManifestError>,
) -> Result<(), Problem> {
    let refs = spec.stages.iter().map(|stage| ModuleRef::Digest(stage.module)).collect();
    let known = modules::resolve(tx, scope, project, refs).await?;
    for stage in spec.stages.iter().filter(|stage| !known.contains_key(&ModuleRef::Digest(stage.module))) {
        errors.push(ManifestError {
            code: Code::ModuleMissing,
            field: format!("stages[{}].module", stage.name),
            detail: format!("the module {} of that revision was deleted; upload it again first", stage.module),
        });
    }
    errors.extend(entries::missing_secrets(tx, scope, project, spec).await?);
    if errors.is_empty() { Ok(()) } else { Err(manifest_problem(errors)) }
}

/// One error for each capability that a stage's module imports and its manifest does not grant, and for each time of ticks that a module
/// has no use for.
async fn unfit_modules(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    spec: &PipelineSpec,
) -> Result<Vec<ManifestError>, Problem> {
    let mut errors = Vec::new();
    for stage in &spec.stages {
        let Inspected { imports, ticks } = modules::inspected(tx, scope, project, &stage.module).await?;
        if stage.tick_ms.is_some() && !ticks {
            errors.push(ManifestError {
                code: Code::TickMissing,
                field: format!("stages[{}].tickMs", stage.name),
                detail: format!(
                    "the module of stage `{}` does not tick; leave `tickMs` out, or give the stage a `tick`",
                    stage.name
                ),
            });
        }
        for missing in grant::missing(imports.iter().map(String::as_str), &stage.grants()) {
            let (import, field) = (missing.import(), missing.field());
            let detail = format!("the module of stage `{}` imports `{import}`; grant it: `{field}`", stage.name);
            errors.push(ManifestError {
                code: Code::GrantMissing,
                field: format!("stages[{}].{}", stage.name, field.split(':').next().unwrap_or(field)),
                detail,
            });
        }
    }
    Ok(errors)
}

/// What stands against a pipeline of a new name.
async fn refuse_new(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
    pipelines_max: u64,
) -> Result<(), Problem> {
    let left: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM leftovers WHERE tenant = $1 AND kind = 'group' AND project = $2 AND pipeline = $3",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .fetch_optional(&mut **tx)
    .await?;
    if left.is_some() {
        let detail = format!(
            "the pipeline `{name}` that was deleted is still letting go of its positions; try again in a few seconds"
        );
        return Err(Problem::conflict(detail));
    }
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM pipelines WHERE tenant = $1")
        .bind(scope.tenant().as_str())
        .fetch_one(&mut **tx)
        .await?;
    if count.cast_unsigned() >= pipelines_max {
        let todo = "delete pipelines that are no longer used";
        return Err(Problem::at_limit("pipelines", count.cast_unsigned(), pipelines_max, todo));
    }
    Ok(())
}

/// Refuses stages that would be too many, and one whose guest would never find room.
async fn within_limits(
    tx: &mut Tx,
    scope: &TenantScope,
    (project, name): (&ProjectId, &PipelineName),
    spec: &PipelineSpec,
    limits: &TenantLimits,
) -> Result<(), Problem> {
    let (others,): (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(stages), 0) AS BIGINT) FROM pipelines
         WHERE tenant = $1 AND NOT (project = $2 AND pipeline = $3)",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .fetch_one(&mut **tx)
    .await?;
    let (others, more) = (others.cast_unsigned(), spec.stages.len() as u64);
    if others + more > limits.stages {
        let todo = "make one stage of several, or delete pipelines that are no longer used";
        return Err(Problem::at_limit("stages", others, limits.stages, todo));
    }
    let largest = spec.stages.iter().map(|stage| stage.limits.memory_bytes).max().unwrap_or_default();
    if largest > limits.guest_memory_bytes {
        let todo = "lower `limits.memoryBytes` of the stage that asks for more than all guests may have together";
        return Err(Problem::at_limit("guestMemoryBytes", largest, limits.guest_memory_bytes, todo));
    }
    Ok(())
}

async fn write(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    new: &New<'_>,
    terms: &Terms<'_>,
    told_generation: u64,
) -> Result<(), Problem> {
    let name = &new.spec.name;
    let revision = next_revision(tx, scope, project, name).await?;
    let (spec, start) = (to_json(new.spec)?, terms.start.map(|start| start.to_string()));
    // A pipeline that was there begins anew once workers have left, which they are told with the next generation.
    let written = sqlx::query(
        "INSERT INTO pipelines (tenant, project, pipeline, first_revision, revision, manifest, spec, paused, created_ms,
                                updated_ms, incarnation, start_at, stages)
         SELECT tenant, project, $3, $4, $4, $5, $6, FALSE, $7, $7, $8, $9, $11 FROM projects
         WHERE tenant = $1 AND project = $2
         ON CONFLICT (tenant, project, pipeline) DO UPDATE SET revision = excluded.revision,
            manifest = excluded.manifest, spec = excluded.spec, updated_ms = excluded.updated_ms, stages = excluded.stages,
            start_at = COALESCE(excluded.start_at, pipelines.start_at),
            starting_over = pipelines.starting_over OR excluded.start_at IS NOT NULL,
            told_generation = CASE WHEN excluded.start_at IS NULL THEN pipelines.told_generation
                                   ELSE $10 END",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(revision)
    .bind(new.manifest)
    .bind(&spec)
    .bind(now_ms())
    .bind(uuid::Uuid::now_v7().to_string())
    .bind(&start)
    .bind(told_generation.cast_signed())
    .bind(i64::try_from(new.spec.stages.len()).unwrap_or(i64::MAX))
    .execute(&mut **tx)
    .await?;
    if written.rows_affected() == 0 {
        return Err(Problem::not_found(format!("project `{project}`")));
    }
    sqlx::query(
        "INSERT INTO applied (tenant, project, pipeline, revision, manifest, spec, start_at, rolled_back_to, applied_ms,
                              applied_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(revision)
    .bind(new.manifest)
    .bind(&spec)
    .bind(&start)
    .bind(new.rolled_back_to.map(u64::cast_signed))
    .bind(now_ms())
    .bind(terms.by)
    .execute(&mut **tx)
    .await?;
    revisions::prune(tx, scope, project, name, terms.limits.revisions).await?;
    write_uses(tx, scope, project, new.spec).await
}

async fn next_revision(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
) -> Result<i64, Problem> {
    let (revision,): (i64,) = sqlx::query_as(
        "INSERT INTO revisions (tenant, project, pipeline, revision) VALUES ($1, $2, $3, 1)
         ON CONFLICT (tenant, project, pipeline) DO UPDATE SET revision = revisions.revision + 1 RETURNING revision",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .fetch_one(&mut **tx)
    .await?;
    Ok(revision)
}

/// Replaces what the database knows of the modules and topics that a pipeline uses.
async fn write_uses(tx: &mut Tx, scope: &TenantScope, project: &ProjectId, spec: &PipelineSpec) -> Result<(), Problem> {
    let digests: BTreeSet<String> = spec.stages.iter().map(|stage| stage.module.to_string()).collect();
    let topics: BTreeSet<String> = spec.topics().into_iter().map(|(_, topic)| topic.to_string()).collect();
    let tables = [
        (
            "DELETE FROM pipeline_modules WHERE tenant = $1 AND project = $2 AND pipeline = $3",
            "INSERT INTO pipeline_modules (tenant, project, pipeline, digest) VALUES ($1, $2, $3, $4)",
            digests,
        ),
        (
            "DELETE FROM pipeline_topics WHERE tenant = $1 AND project = $2 AND pipeline = $3",
            "INSERT INTO pipeline_topics (tenant, project, pipeline, topic) VALUES ($1, $2, $3, $4)",
            topics,
        ),
    ];
    for (clear, insert, uses) in tables {
        let (tenant, project, pipeline) = (scope.tenant().as_str(), project.as_str(), spec.name.as_str());
        sqlx::query(clear).bind(tenant).bind(project).bind(pipeline).execute(&mut **tx).await?;
        for used in uses {
            sqlx::query(insert).bind(tenant).bind(project).bind(pipeline).bind(used).execute(&mut **tx).await?;
        }
    }
    Ok(())
}
