//! Pipelines: applying manifests, pausing, deleting.
//!
//! Must never: keep a manifest that does not resolve, use a revision number twice, or let a name be used again while positions of
//! its former pipeline are left.

use super::{Page, Store, Tx, modules, now_ms, stored, stored_json, to_json};
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::grant;
use bulkhead_core::manifest::{ManifestError, ModuleRef, PipelineSpec};
use bulkhead_core::name::{PipelineName, ProjectId};
use bulkhead_core::scope::TenantScope;
use std::collections::BTreeSet;

/// A pipeline as it is kept.
#[derive(Debug)]
pub(crate) struct PipelineRow {
    pub(crate) name: PipelineName,
    pub(crate) revision: u64,
    /// The revision that made it: lower ones belong to a deleted pipeline of this name.
    pub(crate) first_revision: u64,
    /// As written by its tenant.
    pub(crate) manifest: String,
    pub(crate) spec: PipelineSpec,
    pub(crate) paused: bool,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
}

/// What applying a manifest did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// There was no such pipeline.
    Created,
    /// It has a new revision.
    Changed,
    /// The manifest means what the last one meant.
    Unchanged,
}

type Row = (String, i64, i64, String, String, bool, i64, i64);

impl Store {
    /// Applies a checked manifest: resolves its modules and makes a revision of it, unless nothing changed. `errors` are what
    /// the caller found wrong outside; with them, or with modules missing, nothing is written and all are told together.
    pub(crate) async fn apply(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        spec: PipelineSpec<ModuleRef>,
        manifest: &str,
        mut errors: Vec<ManifestError>,
        pipelines_max: u64,
    ) -> Result<Applied, Problem> {
        let mut tx = self.begin().await?;
        let refs: BTreeSet<_> = spec.stages.iter().map(|stage| stage.module.clone()).collect();
        let known = modules::resolve(&mut tx, scope, project, refs).await?;
        let spec = match spec.resolve(|wanted| known.get(wanted).copied()) {
            Ok(spec) if errors.is_empty() => spec,
            Ok(_) => return Err(manifest_problem(errors)),
            Err(missing) => {
                errors.extend(missing);
                return Err(manifest_problem(errors));
            }
        };
        let missing = missing_grants(&mut tx, scope, project, &spec).await?;
        if !missing.is_empty() {
            return Err(manifest_problem(missing));
        }
        let json = to_json(&spec)?;
        let current: Option<(String,)> =
            sqlx::query_as("SELECT spec FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline = $3")
                .bind(scope.tenant().as_str())
                .bind(project.as_str())
                .bind(spec.name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let applied = match current {
            Some((current,)) if current == json => return Ok(Applied::Unchanged),
            Some(_) => Applied::Changed,
            None => {
                refuse_new(&mut tx, scope, project, &spec.name, pipelines_max).await?;
                Applied::Created
            }
        };
        let revision = next_revision(&mut tx, scope, project, &spec.name).await?;
        write(&mut tx, scope, project, &spec.name, (revision, manifest, &json)).await?;
        write_uses(&mut tx, scope, project, &spec).await?;
        self.commit_raised(tx).await?;
        Ok(applied)
    }

    /// A project's pipelines by name.
    pub(crate) async fn pipelines(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        page: &Page,
    ) -> Result<Vec<PipelineRow>, Problem> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT pipeline, revision, first_revision, manifest, spec, paused, created_ms, updated_ms FROM pipelines
             WHERE tenant = $1 AND project = $2 AND pipeline > $3 ORDER BY pipeline LIMIT $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(&page.after)
        .bind(page.limit)
        .fetch_all(&self.read)
        .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// One pipeline.
    pub(crate) async fn pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
    ) -> Result<PipelineRow, Problem> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT pipeline, revision, first_revision, manifest, spec, paused, created_ms, updated_ms FROM pipelines
             WHERE tenant = $1 AND project = $2 AND pipeline = $3",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .fetch_optional(&self.read)
        .await?;
        row.map(from_row).transpose()?.ok_or_else(|| missing(name))
    }

    /// Pauses or resumes. Doing it twice changes nothing.
    pub(crate) async fn set_paused(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
        paused: bool,
    ) -> Result<(), Problem> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE pipelines SET paused = $4, updated_ms = $5
             WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND paused <> $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(paused)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        if changed.rows_affected() > 0 {
            self.commit_raised(tx).await?;
        }
        Ok(())
    }

    /// Deletes a pipeline and leaves a note to forget its positions.
    pub(crate) async fn delete_pipeline(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &PipelineName,
    ) -> Result<(), Problem> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline = $3")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() == 0 {
            return Err(missing(name));
        }
        sqlx::query(
            "INSERT INTO leftovers (tenant, kind, project, pipeline, since_ms) VALUES ($1, 'group', $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        self.commit_raised(tx).await?;
        Ok(())
    }
}

/// One error for each capability that a stage's module imports and its manifest does not grant.
async fn missing_grants(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    spec: &PipelineSpec,
) -> Result<Vec<ManifestError>, Problem> {
    let mut errors = Vec::new();
    for stage in &spec.stages {
        let imports = modules::imports(tx, scope, project, &stage.module).await?;
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

/// Many errors in a manifest as one problem.
pub(crate) fn manifest_problem(errors: Vec<ManifestError>) -> Problem {
    let detail = match errors.len() {
        1 => "one thing is wrong with the manifest; see `errors`".to_owned(),
        n => format!("{n} things are wrong with the manifest; see `errors`"),
    };
    Problem::new(Code::ManifestInvalid, detail).with_errors(errors)
}

fn missing(name: &PipelineName) -> Problem {
    Problem::not_found(format!("pipeline `{name}`"))
}

fn from_row(
    (name, revision, first, manifest, spec, paused, created_ms, updated_ms): Row,
) -> Result<PipelineRow, Problem> {
    Ok(PipelineRow {
        name: stored(&name)?,
        revision: revision.cast_unsigned(),
        first_revision: first.cast_unsigned(),
        manifest,
        spec: stored_json(&spec)?,
        paused,
        created_ms,
        updated_ms,
    })
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
        let detail = format!("a tenant has at most {pipelines_max} pipelines; delete some that are no longer used");
        return Err(Problem::new(Code::LimitExceeded, detail));
    }
    Ok(())
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

async fn write(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    name: &PipelineName,
    (revision, manifest, spec): (i64, &str, &str),
) -> Result<(), Problem> {
    let written = sqlx::query(
        "INSERT INTO pipelines (tenant, project, pipeline, first_revision, revision, manifest, spec, paused, created_ms,
                                updated_ms)
         SELECT tenant, project, $3, $4, $4, $5, $6, FALSE, $7, $7 FROM projects WHERE tenant = $1 AND project = $2
         ON CONFLICT (tenant, project, pipeline) DO UPDATE SET revision = excluded.revision, manifest = excluded.manifest,
            spec = excluded.spec, updated_ms = excluded.updated_ms",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(revision)
    .bind(manifest)
    .bind(spec)
    .bind(now_ms())
    .execute(&mut **tx)
    .await?;
    if written.rows_affected() == 0 {
        return Err(Problem::not_found(format!("project `{project}`")));
    }
    Ok(())
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
