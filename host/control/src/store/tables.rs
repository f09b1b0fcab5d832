//! Every table that holds rows of tenants, by name: what an erasure counts, removes and looks at again.
//!
//! A test compares the list with the database's own catalogue, so that a table with a column `tenant` cannot be forgotten here.
//! Must never: name a table whose rows are not one tenant's.

/// A table of tenants' rows, with the statements that an erasure needs of it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(super) count: &'static str,
    pub(super) clear: &'static str,
}

macro_rules! tables {
    ($($name:literal),* $(,)?) => {
        /// All of them. Those that others refer to come after these.
        pub(crate) const TABLES: &[Table] = &[$(Table {
            name: $name,
            count: concat!("SELECT COUNT(*) FROM ", $name, " WHERE tenant = $1"),
            clear: concat!("DELETE FROM ", $name, " WHERE tenant = $1"),
        }),*];
    };
}

tables!(
    "answers",
    "applied",
    "audit_chains",
    "audit_checkpoints",
    "audit_lines",
    "audit_pruning",
    "audit_topics",
    "custom_roles",
    "dead_letters",
    "entries",
    "grant_use_boots",
    "grant_uses",
    "initialised",
    "leftovers",
    "log_lines",
    "log_usage",
    "pipeline_modules",
    "pipeline_topics",
    "totals",
    "pipelines",
    "revisions",
    "tags",
    "modules",
    "project_bindings",
    "projects",
    "tenant_bindings",
    "tenant_keys",
    "usage_hours",
    "usage_positions",
    "tenants",
);
