//! The places that [`super::run`] takes the tenant out of.
//!
//! Must never: hold a place that a reader of the code would not take for a wall.

/// One place, changed.
pub(super) struct Mutant {
    /// What the tenant is taken out of.
    pub(super) name: &'static str,
    /// The file, from the repository's folder.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) find: &'static str,
    /// What is put there.
    pub(super) replace: &'static str,
}

/// All of them. Who may do what in which tenant is not among them: the roles of a token count in its tenant alone, and a `forbid` of
/// `policy/cedar/boundaries.cedar` says so once more, so each holds without the other. A condition on the tenant becomes one that is true of every row, and keeps its parameter, so that only its meaning is gone.
pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a transaction: what is read of a project",
        file: "host/control/src/store/projects.rs",
        find: "pub(crate) async fn list_projects(&self, scope: &TenantScope, page: &Page) -> Result<Vec<ProjectRow>, Problem> {\n        let mut tx = self.reading(scope).await?;",
        replace: "pub(crate) async fn list_projects(&self, scope: &TenantScope, page: &Page) -> Result<Vec<ProjectRow>, Problem> {\n        let mut tx = self.reading().await?;",
    },
    Mutant {
        name: "a query: the list of projects",
        file: "host/control/src/store/projects.rs",
        find: "FROM projects WHERE tenant = $1 AND project > $2\n",
        replace: "FROM projects WHERE CAST($1 AS TEXT) IS NOT NULL AND project > $2\n",
    },
    Mutant {
        name: "a query: one pipeline",
        file: "host/control/src/store/pipelines.rs",
        find: "FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline \",\n",
        replace: "FROM pipelines WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND pipeline \",\n",
    },
    Mutant {
        name: "a query: one revision",
        file: "host/control/src/store/revisions.rs",
        find: "WHERE tenant = $1 AND project = $2 AND pipeline = $3 AND revision = $4\",\n        )\n        .bind(scope",
        replace: "WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND pipeline = $3 AND revision = $4\",\n        )\n        .bind(scope",
    },
    Mutant {
        name: "a query: the list of modules",
        file: "host/control/src/store/modules.rs",
        find: "WHERE tenant = $1 AND project = $2 AND digest > $3 ORDER BY digest LIMIT $4",
        replace: "WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND digest > $3 ORDER BY digest LIMIT $4",
    },
    Mutant {
        name: "a query: the tags of a module",
        file: "host/control/src/store/tags.rs",
        find: "FROM tags WHERE tenant = $1 AND project = $2 AND name = $3 AND tag > $4",
        replace: "FROM tags WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND name = $3 AND tag > $4",
    },
    Mutant {
        name: "a query: lines of the log",
        file: "host/control/src/store/logs.rs",
        find: "WHERE tenant = $1 AND id > $2 AND project = $3",
        replace: "WHERE CAST($1 AS TEXT) IS NOT NULL AND id > $2 AND project = $3",
    },
    Mutant {
        name: "a query: lines of the audit",
        file: "host/control/src/store/audit/read.rs",
        find: "ON c.tenant = l.tenant\nWHERE l.tenant = $1 AND l.seq < $2",
        replace: "ON c.tenant = l.tenant\nWHERE CAST($1 AS TEXT) IS NOT NULL AND l.seq < $2",
    },
    Mutant {
        name: "a query: roles that were bound",
        file: "host/control/src/store/access.rs",
        find: "FROM project_bindings WHERE tenant = $1 AND ($2 = '' OR project = $2)",
        replace: "FROM project_bindings WHERE CAST($1 AS TEXT) IS NOT NULL AND ($2 = '' OR project = $2)",
    },
    Mutant {
        name: "a query: an entry of the config",
        file: "host/control/src/store/entries.rs",
        find: "WHERE tenant = $1 AND kind = $2 AND project = $3 AND name = $4\",\n",
        replace: "WHERE CAST($1 AS TEXT) IS NOT NULL AND kind = $2 AND project = $3 AND name = $4\",\n",
    },
    Mutant {
        name: "a change: a pipeline is paused",
        file: "host/control/src/store/pipelines.rs",
        find: "updated_ms = $5 WHERE tenant = $1 AND project = $2 AND pipeline = $3",
        replace: "updated_ms = $5 WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND pipeline = $3",
    },
    Mutant {
        name: "a change: a pipeline is deleted",
        file: "host/control/src/store/pipelines.rs",
        find: "\"DELETE FROM pipelines WHERE tenant = $1 AND project = $2 AND pipeline = $3\"",
        replace: "\"DELETE FROM pipelines WHERE CAST($1 AS TEXT) IS NOT NULL AND project = $2 AND pipeline = $3\"",
    },
    Mutant {
        name: "a change: the note of a replay in vain is taken back",
        file: "host/control/src/store/dead_letters.rs",
        find: "DELETE FROM dead_letters WHERE tenant = $1 AND topic = $2 AND partition = $3 AND place = $4",
        replace: "DELETE FROM dead_letters WHERE CAST($1 AS TEXT) IS NOT NULL AND topic = $2 AND partition = $3 AND place = $4",
    },
    Mutant {
        name: "a change: a secret is deleted",
        file: "host/control/src/store/entries.rs",
        find: "DELETE FROM entries WHERE tenant = $1 AND kind",
        replace: "DELETE FROM entries WHERE CAST($1 AS TEXT) IS NOT NULL AND kind",
    },
    Mutant {
        name: "what the database is told",
        file: "host/control/src/store/tx.rs",
        find: ".bind(tenant.as_str())\n                .execute(&mut **self)",
        replace: ".bind(\"\")\n                .execute(&mut **self)",
    },
    Mutant {
        name: "a query: what a tenant's worker is to run",
        file: "host/control/src/store/assignment.rs",
        find: "FROM pipelines WHERE ($1 = '' OR tenant = $1)",
        replace: "FROM pipelines WHERE ($1 = '' OR CAST($1 AS TEXT) IS NOT NULL)",
    },
];
