//! A tenant's projects, which nest by the dots in their names.
//!
//! Must never: leave a project without the one around it, or take a module, a pipeline or a project away with the one that holds it.

use super::{Page, Store, Tx, now_ms};
use crate::condition::Condition;
use crate::problem::Problem;
use crate::store::DEFAULT_PROJECT;
use bulkhead_core::code::Code;
use bulkhead_core::name::ProjectId;
use bulkhead_core::scope::TenantScope;

/// A project as it is kept.
#[derive(Debug)]
pub(crate) struct ProjectRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_ms: i64,
}

impl ProjectRow {
    /// The entity tag. Projects are made and deleted, not changed.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}.{}\"", self.name, self.created_ms)
    }
}

type Row = (String, String, i64);

impl Store {
    /// Makes a project in the one that its name says.
    pub(crate) async fn create_project(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        description: &str,
        projects_max: u64,
    ) -> Result<ProjectRow, Problem> {
        let mut tx = self.begin(scope).await?;
        if let Some(parent) = project.parent()
            && find(&mut tx, scope, &parent).await?.is_none()
        {
            let detail = format!("`{project}` lies in the project `{parent}`, which is not there; make that first");
            return Err(Problem::new(Code::ProjectParentMissing, detail));
        }
        if find(&mut tx, scope, project).await?.is_some() {
            return Err(Problem::conflict(format!("there is a project `{project}` already; choose another name")));
        }
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM projects WHERE tenant = $1")
            .bind(scope.tenant().as_str())
            .fetch_one(&mut *tx)
            .await?;
        if count.cast_unsigned() >= projects_max {
            let todo = "delete projects that are no longer used";
            return Err(Problem::at_limit("projects", count.cast_unsigned(), projects_max, todo));
        }
        let created_ms = now_ms();
        sqlx::query("INSERT INTO projects (tenant, project, description, created_ms) VALUES ($1, $2, $3, $4)")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .bind(description)
            .bind(created_ms)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(ProjectRow { name: project.to_string(), description: description.to_owned(), created_ms })
    }

    /// Projects by name.
    pub(crate) async fn list_projects(&self, scope: &TenantScope, page: &Page) -> Result<Vec<ProjectRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT project, description, created_ms FROM projects WHERE tenant = $1 AND project > $2
             ORDER BY project LIMIT $3",
        )
        .bind(scope.tenant().as_str())
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(from_row).collect())
    }

    /// One project.
    pub(crate) async fn project(&self, scope: &TenantScope, project: &ProjectId) -> Result<ProjectRow, Problem> {
        let mut tx = self.reading(scope).await?;
        let row: Option<Row> =
            sqlx::query_as("SELECT project, description, created_ms FROM projects WHERE tenant = $1 AND project = $2")
                .bind(scope.tenant().as_str())
                .bind(project.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        row.map(from_row).ok_or_else(|| missing(project))
    }

    /// Deletes an empty project.
    pub(crate) async fn delete_project(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        condition: &Condition,
    ) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        let there = find(&mut tx, scope, project).await?;
        condition.check(there.as_ref().map(ProjectRow::etag).as_deref())?;
        if there.is_none() {
            return Err(missing(project));
        }
        if project.as_str() == DEFAULT_PROJECT {
            let detail = "the project `default` is every tenant's; delete what is in it instead";
            return Err(Problem::new(Code::ProjectStays, detail));
        }
        refuse_full(&mut tx, scope, project).await?;
        sqlx::query("DELETE FROM projects WHERE tenant = $1 AND project = $2")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn find(tx: &mut Tx, scope: &TenantScope, project: &ProjectId) -> Result<Option<ProjectRow>, Problem> {
    let row: Option<Row> =
        sqlx::query_as("SELECT project, description, created_ms FROM projects WHERE tenant = $1 AND project = $2")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .fetch_optional(&mut **tx)
            .await?;
    Ok(row.map(from_row))
}

async fn refuse_full(tx: &mut Tx, scope: &TenantScope, project: &ProjectId) -> Result<(), Problem> {
    // Projects in it begin with its name and a dot; `/` is the character after the dot.
    let (projects, pipelines, modules, entries): (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM projects WHERE tenant = $1 AND project > $3 AND project < $4),
                (SELECT COUNT(*) FROM pipelines WHERE tenant = $1 AND project = $2),
                (SELECT COUNT(*) FROM modules WHERE tenant = $1 AND project = $2),
                (SELECT COUNT(*) FROM entries WHERE tenant = $1 AND project = $2)",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(format!("{project}."))
    .bind(format!("{project}/"))
    .fetch_one(&mut **tx)
    .await?;
    if projects + pipelines + modules + entries == 0 {
        return Ok(());
    }
    let detail = format!(
        "the project `{project}` holds {pipelines} pipelines, {modules} modules, {projects} projects and {entries} config entries and \
         secrets; delete these first"
    );
    Err(Problem::new(Code::ProjectNotEmpty, detail))
}

fn missing(project: &ProjectId) -> Problem {
    Problem::not_found(format!("project `{project}`"))
}

fn from_row((name, description, created_ms): Row) -> ProjectRow {
    ProjectRow { name, description, created_ms }
}
