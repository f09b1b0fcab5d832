//! Where a tenant may be named: the few places that make a scope of a name, the one that opens transactions, and the SQL itself.
//!
//! The compiler asks each function for a scope, and PostgreSQL each query for its tenant. Here is what neither sees: who calls the maker of
//! scopes, and, since SQLite has no row-level security, whether a query says its tenant at all.
//! Must never: allow a place without a reason. A place that is gone leaves its list, or the test fails: lists only shrink by themselves.

use crate::text::{code_lines, literals};
use crate::workspace::sources;
use std::path::Path;

/// Where the host makes a scope of a tenant's name, how often, and how its right to is established there.
const SCOPES: [(&str, usize, &str); 18] = [
    ("host/bulkhead/src/replay.rs", 1, "a developer's own machine, with what the server gave"),
    ("host/control/src/policy/mod.rs", 1, "the policy check"),
    ("host/control/src/policy/record.rs", 1, "the policy, for the audit's own lines"),
    ("host/control/src/store/audit/checkpoints.rs", 1, "the background, for chains to be signed"),
    ("host/control/src/store/audit/topic.rs", 1, "the background, for lines that go to tenants' topics"),
    ("host/control/src/store/usage.rs", 1, "the background, for records of usage to be counted"),
    ("host/control/src/store/uses.rs", 1, "the background, for uses that go into the audit"),
    ("host/control/src/store/erasures.rs", 1, "the background, for tenants being erased"),
    ("host/control/src/store/homes.rs", 1, "the name of a home, and no more"),
    ("host/control/src/store/leftovers.rs", 1, "the background, for what a deletion left"),
    ("host/control/src/store/month.rs", 1, "the background, which looks at every tenant's limits"),
    ("host/control/src/store/starts.rs", 1, "the background, for pipelines that begin anew"),
    ("host/flow/src/bucket.rs", 1, "the assignment"),
    ("host/flow/src/pipeline/source/join.rs", 1, "the assignment"),
    ("host/flow/src/pipeline/stand_by.rs", 1, "the assignment"),
    ("host/flow/src/sink/mod.rs", 2, "the assignment"),
    ("host/log/src/conformance/names.rs", 1, "the suite that every log has to pass"),
    ("host/core/src/scope.rs", 0, "where the maker is"),
];

/// Queries of the store that name no tenant: a part of each, and why it may.
const ALL_TENANTS: [(&str, &str, &str); 38] = [
    ("assignment.rs", "FROM generation", "the generation is one for all"),
    ("fleet.rs", "FROM modules WHERE ticks", "workers are told which of every tenant's modules act on time"),
    ("answers.rs", "DELETE FROM answers WHERE kept_ms < $1", "the background prunes by age"),
    ("checkpoints.rs", "FROM audit_chains c LEFT JOIN", "the background looks which chains have grown"),
    ("topic.rs", "code, since_ms FROM audit_topics", "the background sends lines to every tenant's topic"),
    ("usage.rs", "LEFT JOIN usage_positions p", "the background looks how far every tenant's records are counted"),
    ("usage.rs", "DELETE FROM usage_hours WHERE hour", "the background prunes by age"),
    ("usage.rs", "WHERE hour >= $1 AND hour < $2 GROUP BY tenant", "the platform's bill"),
    ("uses.rs", "WHERE due_ms <= $1", "the background tells the audit of every tenant's"),
    ("entries.rs", "FROM entries WHERE kind = 'secret'", "workers are told the stamps of every tenant's secrets"),
    ("keys.rs", "SELECT tenant FROM tenants ORDER BY", "the vault holds every tenant's keys, for the log"),
    ("keys.rs", "FROM tenant_keys ORDER BY tenant", "every key is wrapped again under a new master key"),
    ("erasures.rs", "SELECT DISTINCT digest FROM modules", "compiled code of no tenant's module goes"),
    ("erasures.rs", "verified, ended_ms, report FROM erasures", "erasures are the platform's, by number"),
    ("erasures.rs", "UPDATE erasures SET deleted", "the same"),
    ("erasures.rs", "SET state = 'scrubbing'", "the same"),
    ("erasures.rs", "SET state = 'complete'", "the same"),
    ("erasures.rs", "SELECT COUNT(*) FROM erasures", "the same"),
    ("homes.rs", "WHERE metadata <> 'shared'", "the background visits every home"),
    ("export.rs", "SELECT ", "the rest of it, with the tenant, is joined by `concat!`"),
    ("leftovers.rs", "ORDER BY kind, since_ms", "the background clears away after every tenant"),
    ("leftovers.rs", "INSERT INTO totals", "the background folds every tenant's counters, by tenant"),
    ("leftovers.rs", "DELETE FROM totals", "the background folds every tenant's counters"),
    ("lives.rs", "SELECT DISTINCT plan FROM tenants", "the start looks whether every plan is known"),
    ("logs.rs", "DELETE FROM log_lines WHERE at_ms", "the background prunes by age"),
    ("logs.rs", "UPDATE log_usage SET\n", "the background counts again, by tenant"),
    ("mod.rs", "FROM generation", "the generation is one for all"),
    ("mod.rs", "UPDATE generation", "the generation is one for all"),
    ("month.rs", "FROM tenants ORDER BY tenant", "the background looks at every tenant's limits"),
    ("owner.rs", "WHERE metadata <> 'shared'", "the owner prepares every home"),
    ("plans.rs", "FROM plans", "plans are the platform's"),
    ("plans.rs", "FROM tenants WHERE plan = $1", "a plan goes only when nobody has it"),
    ("postgres.rs", "FROM _sqlx_migrations", "which changes the schema has had"),
    ("starts.rs", "WHERE starting_over LIMIT", "the background begins every tenant's pipelines anew"),
    ("tables.rs", "SELECT COUNT(*) FROM ", "the rest of it, with the tenant, is joined by `concat!`"),
    ("tables.rs", "DELETE FROM ", "the same"),
    ("tenants.rs", "WHERE tenant > $1", "the platform lists tenants"),
    ("tx.rs", "UPDATE generation", "the generation is one for all"),
];

/// The host's own code, tests left out, with its path from the root.
fn host() -> Vec<(String, String)> {
    let of_tests = |path: &Path| {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        name == "tests" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
    };
    let host = sources().into_iter().filter(|(path, _)| path.starts_with("host") && !of_tests(path));
    let code = |text: String| text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
    host.map(|(path, text)| (path.display().to_string(), code(text))).collect()
}

#[test]
fn scopes_are_made_where_a_right_was_established() {
    let mut found: Vec<_> = SCOPES.iter().map(|(file, ..)| (file.to_string(), 0)).collect();
    for (path, text) in host() {
        let code = code_lines(&text).join("\n");
        let made = code.matches("TenantScope::assume").count();
        assert!(!code.contains("TenantScope as "), "{path}: a scope under another name is not seen here");
        match found.iter_mut().find(|(file, _)| *file == path) {
            Some((_, count)) => *count = made,
            None if made > 0 => found.push((path, made)),
            None => {}
        }
    }
    let wanted: Vec<_> = SCOPES.iter().map(|(file, count, _)| (file.to_string(), *count)).collect();
    assert_eq!(found, wanted, "a scope that nobody has checked reaches all that is a tenant's");
}

#[test]
fn sql_is_run_in_the_store_only_and_transactions_begin_in_one_place() {
    let mut seen = 0;
    for (path, text) in host() {
        let code = code_lines(&text).join("\n");
        let runs = ["sqlx::query", "sqlx::raw_sql", "QueryBuilder"].iter().any(|runs| code.contains(runs));
        let begins = ["begin_with(", ".acquire()", "home.read", "home.write", "shared.write", "shared.read"];
        let begins = begins.iter().any(|begins| code.contains(begins));
        seen += usize::from(runs);
        assert!(!runs || path.starts_with("host/control/src/store/"), "{path} runs SQL; only the store may");
        assert!(
            !begins
                || !path.starts_with("host/control/src/store/")
                // Files are written anew outside any transaction, and nobody's rows are read.
                || ["store/tx.rs", "store/scrub.rs"].iter().any(|file| path.ends_with(file)),
            "{path} takes a connection; only store/tx.rs may, which knows whose it is"
        );
    }
    assert!(seen >= 10, "only {seen} files with SQL were found");
}

#[test]
fn every_query_names_its_tenant() {
    let (mut seen, mut used, mut wrong) = (0, vec![false; ALL_TENANTS.len()], Vec::new());
    for (path, text) in host().iter().filter(|(path, _)| path.starts_with("host/control/src/store/")) {
        let file = path.rsplit('/').next().unwrap_or_default();
        for sql in literals(text).into_iter().filter(|text| is_query(text)) {
            seen += 1;
            // A row that is written says whose it is, or the table refuses it.
            let written = sql.starts_with("INSERT") && sql.contains("VALUES");
            let named = sql.split("tenant = $").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if written || named || sql.contains("pg_") || sql.contains("set_config") || sql == "SELECT 1" {
                continue;
            }
            let allowed = ALL_TENANTS.iter().position(|(of, part, _)| *of == file && sql.contains(part));
            match allowed {
                Some(at) => used[at] = true,
                None => wrong.push(format!("{path}: {sql}")),
            }
        }
    }
    assert!(wrong.is_empty(), "queries without a tenant:\n{}", wrong.join("\n"));
    let unused: Vec<_> = ALL_TENANTS.iter().zip(used).filter(|(_, used)| !used).map(|(rule, _)| rule).collect();
    assert!(unused.is_empty(), "take these from the list: {unused:?}");
    assert!(seen >= 80, "only {seen} queries were found");
}

fn is_query(text: &str) -> bool {
    let text = text.trim_start_matches(['\\', '\n', ' ']);
    ["SELECT ", "INSERT ", "UPDATE ", "DELETE "].iter().any(|verb| text.starts_with(verb))
}
