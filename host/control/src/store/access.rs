//! Role bindings and a tenant's own roles.
//!
//! Must never: keep a binding of a role, a project or a tenant that is no more.

use super::{Page, Store, now_ms, stored, stored_json, to_json};
use crate::policy::{HeldRole, Holding, Place, Source};
use crate::problem::Problem;
use crate::token::Role;
use bulkhead_core::code::Code;
use bulkhead_core::name::{ProjectId, RoleName};
use bulkhead_core::scope::TenantScope;

/// Subjects that one query looks for: a user and what groups it is in.
const SUBJECTS: usize = 8;

/// A role that is bound to somebody.
#[derive(Debug)]
pub(crate) struct BindingRow {
    pub(crate) subject: String,
    pub(crate) role: String,
    /// `None` where it is on the tenant.
    pub(crate) project: Option<String>,
    pub(crate) granted_ms: i64,
    pub(crate) granted_by: String,
}

/// A tenant's own role.
#[derive(Debug)]
pub(crate) struct RoleRow {
    pub(crate) name: RoleName,
    pub(crate) description: String,
    pub(crate) actions: Vec<String>,
    pub(crate) updated_ms: i64,
    pub(crate) updated_by: String,
}

/// A binding that is to be made or taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) subject: &'a str,
    pub(crate) role: &'a str,
    pub(crate) project: Option<&'a ProjectId>,
}

impl Store {
    /// The roles that are bound to any of these subjects.
    pub(crate) async fn bindings_of(&self, scope: &TenantScope, subjects: &[String]) -> Result<Vec<Holding>, Problem> {
        type Row = (String, String, String, Option<String>);
        let mut tx = self.reading(scope).await?;
        let mut holdings = Vec::new();
        for some in subjects.chunks(SUBJECTS) {
            let mut query = sqlx::query_as(
                "SELECT b.subject, b.project, b.role, c.actions FROM (
                     SELECT tenant, subject, '' AS project, role FROM tenant_bindings
                     WHERE tenant = $1 AND subject IN ($2, $3, $4, $5, $6, $7, $8, $9)
                     UNION ALL
                     SELECT tenant, subject, project, role FROM project_bindings
                     WHERE tenant = $1 AND subject IN ($2, $3, $4, $5, $6, $7, $8, $9)
                 ) b LEFT JOIN custom_roles c ON c.tenant = b.tenant AND c.role = b.role
                 ORDER BY b.subject, b.project, b.role",
            )
            .bind(scope.tenant().as_str());
            for i in 0..SUBJECTS {
                query = query.bind(some.get(i).unwrap_or(&some[0]));
            }
            let rows: Vec<Row> = query.fetch_all(&mut *tx).await?;
            for (subject, project, role, actions) in rows {
                let Some(role) = held(&role, actions.as_deref())? else { continue };
                let project: Option<ProjectId> = (!project.is_empty()).then(|| stored(&project)).transpose()?;
                let on = Place::of(scope.tenant(), project.as_ref());
                holdings.push(Holding { role, on, by: Source::Binding(subject) });
            }
        }
        Ok(holdings)
    }

    /// Bindings of a project, or of the tenant and all its projects, by subject. Each with the text that the next page begins after.
    pub(crate) async fn bindings(
        &self,
        scope: &TenantScope,
        project: Option<&ProjectId>,
        page: &Page,
    ) -> Result<Vec<(String, BindingRow)>, Problem> {
        type Row = (String, String, String, String, i64, String);
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, subject, project, role, granted_ms, granted_by FROM (
                 SELECT subject || ' ' || role AS id, subject, '' AS project, role, granted_ms, granted_by
                 FROM tenant_bindings WHERE tenant = $1 AND $2 = ''
                 UNION ALL
                 SELECT subject || ' ' || role || ' ' || project AS id, subject, project, role, granted_ms, granted_by
                 FROM project_bindings WHERE tenant = $1 AND ($2 = '' OR project = $2)
             ) b WHERE id > $3 ORDER BY id LIMIT $4",
        )
        .bind(scope.tenant().as_str())
        .bind(project.map_or("", ProjectId::as_str))
        .bind(&page.after)
        .bind(i64::from(page.limit))
        .fetch_all(&mut *tx)
        .await?;
        let row = |(id, subject, project, role, granted_ms, granted_by): Row| {
            let project = (!project.is_empty()).then_some(project);
            (id, BindingRow { subject, role, project, granted_ms, granted_by })
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Binds a role; `false` where it was bound before. `role` is one of ours, or one of the tenant's own that is there.
    pub(crate) async fn bind(
        &self,
        scope: &TenantScope,
        bound: Bound<'_>,
        by: &str,
        max: u64,
    ) -> Result<bool, Problem> {
        let tenant = scope.tenant().as_str();
        let mut tx = self.begin(scope).await?;
        let (count,): (i64,) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM tenant_bindings WHERE tenant = $1)
                  + (SELECT COUNT(*) FROM project_bindings WHERE tenant = $1)",
        )
        .bind(tenant)
        .fetch_one(&mut *tx)
        .await?;
        if count.cast_unsigned() >= max {
            let todo = "bind roles to groups instead of to users";
            return Err(Problem::at_limit("roleBindings", count.cast_unsigned(), max, todo));
        }
        let query = match bound.project {
            None => sqlx::query(
                "INSERT INTO tenant_bindings (tenant, subject, role, granted_ms, granted_by)
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            ),
            Some(_) => sqlx::query(
                "INSERT INTO project_bindings (tenant, subject, role, granted_ms, granted_by, project)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            ),
        };
        let query = query.bind(tenant).bind(bound.subject).bind(bound.role).bind(now_ms()).bind(by);
        let query = match bound.project {
            None => query,
            Some(project) => query.bind(project.as_str()),
        };
        let made = query.execute(&mut *tx).await?.rows_affected() == 1;
        // Looked at in the same transaction: a role that is deleted meanwhile leaves no binding behind.
        if bound.role.parse::<Role>().is_err() {
            let there: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM custom_roles WHERE tenant = $1 AND role = $2")
                .bind(tenant)
                .bind(bound.role)
                .fetch_optional(&mut *tx)
                .await?;
            if there.is_none() {
                return Err(no_role(bound.role));
            }
        }
        tx.commit().await?;
        Ok(made)
    }

    /// Takes a role back.
    pub(crate) async fn unbind(&self, scope: &TenantScope, bound: Bound<'_>) -> Result<(), Problem> {
        let query = match bound.project {
            None => sqlx::query("DELETE FROM tenant_bindings WHERE tenant = $1 AND subject = $2 AND role = $3"),
            Some(_) => sqlx::query(
                "DELETE FROM project_bindings WHERE tenant = $1 AND subject = $2 AND role = $3 AND project = $4",
            ),
        };
        let query = query.bind(scope.tenant().as_str()).bind(bound.subject).bind(bound.role);
        let query = match bound.project {
            None => query,
            Some(project) => query.bind(project.as_str()),
        };
        let mut tx = self.begin(scope).await?;
        let gone = query.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        if gone == 0 {
            return Err(Problem::not_found(format!("role `{}` of `{}`", bound.role, bound.subject)));
        }
        Ok(())
    }

    /// The tenant's own roles by name.
    pub(crate) async fn own_roles(&self, scope: &TenantScope) -> Result<Vec<RoleRow>, Problem> {
        type Row = (String, String, String, i64, String);
        let mut tx = self.reading(scope).await?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT role, description, actions, updated_ms, updated_by FROM custom_roles WHERE tenant = $1 ORDER BY role",
        )
        .bind(scope.tenant().as_str())
        .fetch_all(&mut *tx)
        .await?;
        rows.into_iter()
            .map(|(name, description, actions, updated_ms, updated_by)| {
                let (name, actions) = (stored(&name)?, stored_json(&actions)?);
                Ok(RoleRow { name, description, actions, updated_ms, updated_by })
            })
            .collect()
    }

    /// Makes or changes one of the tenant's own roles; `true` where it is new.
    pub(crate) async fn put_role(&self, scope: &TenantScope, role: &RoleRow, max: u64) -> Result<bool, Problem> {
        let tenant = scope.tenant().as_str();
        let mut tx = self.begin(scope).await?;
        let (others, this): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM custom_roles WHERE tenant = $1 AND role <> $2),
                    (SELECT COUNT(*) FROM custom_roles WHERE tenant = $1 AND role = $2)",
        )
        .bind(tenant)
        .bind(role.name.as_str())
        .fetch_one(&mut *tx)
        .await?;
        if others.cast_unsigned() >= max {
            let todo = "delete roles that are no longer used";
            return Err(Problem::at_limit("roles", others.cast_unsigned(), max, todo));
        }
        sqlx::query(
            "INSERT INTO custom_roles (tenant, role, description, actions, updated_ms, updated_by)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant, role) DO UPDATE SET description = excluded.description, actions = excluded.actions,
                 updated_ms = excluded.updated_ms, updated_by = excluded.updated_by",
        )
        .bind(tenant)
        .bind(role.name.as_str())
        .bind(&role.description)
        .bind(to_json(&role.actions)?)
        .bind(role.updated_ms)
        .bind(&role.updated_by)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(this == 0)
    }

    /// Deletes one of the tenant's own roles, which nobody may have.
    pub(crate) async fn delete_role(&self, scope: &TenantScope, role: &RoleName) -> Result<(), Problem> {
        let tenant = scope.tenant().as_str();
        let mut tx = self.begin(scope).await?;
        let (bound,): (i64,) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM tenant_bindings WHERE tenant = $1 AND role = $2)
                  + (SELECT COUNT(*) FROM project_bindings WHERE tenant = $1 AND role = $2)",
        )
        .bind(tenant)
        .bind(role.as_str())
        .fetch_one(&mut *tx)
        .await?;
        if bound > 0 {
            let detail = format!("the role `{role}` is bound {bound} times; take it back from everybody first");
            return Err(Problem::new(Code::RoleInUse, detail));
        }
        let gone = sqlx::query("DELETE FROM custom_roles WHERE tenant = $1 AND role = $2")
            .bind(tenant)
            .bind(role.as_str())
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() == 0 {
            return Err(Problem::not_found(format!("role `{role}` of your own")));
        }
        tx.commit().await?;
        Ok(())
    }
}

/// A bound role; `None` for one of which nobody knows any more what it may.
fn held(role: &str, actions: Option<&str>) -> Result<Option<HeldRole>, Problem> {
    if let Ok(role) = role.parse::<Role>() {
        return Ok(role.is_of_tenant().then_some(HeldRole::Shipped(role)));
    }
    let own = |actions| Ok(HeldRole::Own { name: stored(role)?, actions: stored_json(actions)? });
    actions.map(own).transpose()
}

pub(crate) fn no_role(role: &str) -> Problem {
    let detail = format!("there is no role `{role}` to give; `bulkhead access roles list` shows those that there are");
    Problem::new(Code::NoSuchRole, detail)
}
