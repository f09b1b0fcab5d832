//! Tags one by one: listing, reading, pointing and taking away. Uploads point theirs in [`super::modules`].
//!
//! Must never: point at a module that the project does not have.

use super::{Page, Store, Tx, now_ms, stored};
use crate::condition::Condition;
use crate::problem::Problem;
use bulkhead_core::name::{ModuleDigest, ModuleName, ProjectId};
use bulkhead_core::scope::TenantScope;

/// A tag as it is kept.
#[derive(Debug)]
pub(crate) struct TagRow {
    pub(crate) tag: String,
    pub(crate) digest: ModuleDigest,
    pub(crate) updated_ms: i64,
}

impl TagRow {
    /// The entity tag: what it points at is all that can be set.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}\"", self.digest.hex())
    }
}

type Row = (String, String, i64);

impl Store {
    /// A name's tags.
    pub(crate) async fn list_tags(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        name: &ModuleName,
        page: &Page,
    ) -> Result<Vec<TagRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT tag, digest, updated_ms FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND tag > $4
             ORDER BY tag LIMIT $5",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter().map(from_row).collect()
    }

    /// One tag of a name.
    pub(crate) async fn tag(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        (name, tag): (&ModuleName, &ModuleName),
    ) -> Result<TagRow, Problem> {
        let mut tx = self.reading(scope).await?;
        find(&mut tx, scope, project, (name, tag)).await?.ok_or_else(|| missing(name, tag))
    }

    /// Points a tag at a module of the project. `true` where the tag is new.
    pub(crate) async fn put_tag(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        (name, tag): (&ModuleName, &ModuleName),
        digest: &ModuleDigest,
        condition: &Condition,
    ) -> Result<(bool, TagRow), Problem> {
        let mut tx = self.begin(scope).await?;
        let before = find(&mut tx, scope, project, (name, tag)).await?;
        condition.check(before.as_ref().map(TagRow::etag).as_deref())?;
        let put = sqlx::query(
            "INSERT INTO tags (tenant, project, name, tag, digest, updated_ms)
             SELECT tenant, project, $3, $4, digest, $6 FROM modules WHERE tenant = $1 AND project = $2 AND digest = $5
             ON CONFLICT (tenant, project, name, tag) DO UPDATE SET digest = excluded.digest,
                updated_ms = excluded.updated_ms",
        )
        .bind(scope.tenant().as_str())
        .bind(project.as_str())
        .bind(name.as_str())
        .bind(tag.as_str())
        .bind(digest.to_string())
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        if put.rows_affected() == 0 {
            return Err(Problem::not_found(format!("module {digest} in the project `{project}`")));
        }
        let now = find(&mut tx, scope, project, (name, tag)).await?.ok_or_else(|| missing(name, tag))?;
        tx.commit().await?;
        Ok((before.is_none(), now))
    }

    /// Takes a tag away.
    pub(crate) async fn delete_tag(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        (name, tag): (&ModuleName, &ModuleName),
        condition: &Condition,
    ) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        let before = find(&mut tx, scope, project, (name, tag)).await?;
        condition.check(before.as_ref().map(TagRow::etag).as_deref())?;
        if before.is_none() {
            return Err(missing(name, tag));
        }
        sqlx::query("DELETE FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND tag = $4")
            .bind(scope.tenant().as_str())
            .bind(project.as_str())
            .bind(name.as_str())
            .bind(tag.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn find(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    (name, tag): (&ModuleName, &ModuleName),
) -> Result<Option<TagRow>, Problem> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT tag, digest, updated_ms FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND tag = $4",
    )
    .bind(scope.tenant().as_str())
    .bind(project.as_str())
    .bind(name.as_str())
    .bind(tag.as_str())
    .fetch_optional(&mut **tx)
    .await?;
    row.map(from_row).transpose()
}

fn missing(name: &ModuleName, tag: &ModuleName) -> Problem {
    Problem::not_found(format!("tag `{name}:{tag}`"))
}

fn from_row((tag, digest, updated_ms): Row) -> Result<TagRow, Problem> {
    Ok(TagRow { tag, digest: stored(&digest)?, updated_ms })
}
