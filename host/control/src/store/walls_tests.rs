//! What the database itself keeps apart, whatever a query forgets, and that it refuses roles for which it would not.
//!
//! Everything here writes SQL that no function of the store would: without a tenant, with another's, or against the policies.

use super::*;
use crate::policy::{Fleet, Platform};
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::TenantScope;
use bulkhead_test_services::ScratchDatabase;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions};
use std::collections::BTreeSet;
use std::time::Duration;

/// Not allowed: by a grant, or by a policy.
const REFUSED: &str = "42501";

fn access(database: &ScratchDatabase, connections: u32) -> Access {
    let owner = database.owner_url_file();
    Access::read(&database.server_url_file(), Some(&owner), Duration::ZERO, connections).unwrap()
}

/// A store with the tenants `acme` and `globex`, over this many connections.
async fn two_tenants(connections: u32) -> (ScratchDatabase, Store, TenantScope, TenantScope) {
    let database = ScratchDatabase::new(None).unwrap();
    let store = Store::open(&Place::Postgres(Box::new(access(&database, connections)))).await.unwrap();
    let scopes = ["acme", "globex"].map(|name| TenantScope::assume(name.parse::<TenantId>().unwrap()));
    for scope in &scopes {
        store
            .create_tenant(&Platform::for_test(), scope.tenant(), MetadataPlacement::Shared, ("standard", ""))
            .await
            .unwrap();
    }
    let [acme, globex] = scopes;
    (database, store, acme, globex)
}

/// The server's role, as anybody with its password would log in.
async fn logged_in(database: &ScratchDatabase) -> AnyConnection {
    let url = std::fs::read_to_string(database.server_url_file()).unwrap();
    let mut connection = url.parse::<AnyConnectOptions>().unwrap().connect().await.unwrap();
    sqlx::raw_sql("SET search_path TO bulkhead").execute(&mut connection).await.unwrap();
    connection
}

async fn count(connection: &mut AnyConnection, sql: &'static str) -> i64 {
    let (count,): (i64,) = sqlx::query_as(sql).fetch_one(connection).await.unwrap();
    count
}

fn code(result: Result<sqlx::any::AnyQueryResult, sqlx::Error>) -> String {
    let error = result.expect_err("the database should have refused it");
    error.as_database_error().and_then(|error| error.code()).map(|code| code.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_query_that_names_no_tenant_finds_nothing() {
    let (database, _store, ..) = two_tenants(4).await;
    database.run("INSERT INTO bulkhead.audit_chains VALUES ('_platform', 'c', 0, '', 0, 0)").unwrap();
    let mut connection = logged_in(&database).await;
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT CAST(c.relname AS TEXT) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'
         WHERE c.relnamespace = CAST('bulkhead' AS regnamespace) AND c.relkind = 'r'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.len() >= 15, "only {tables:?}");
    for (table,) in tables {
        let rows = format!("SELECT COUNT(*) FROM {table}");
        let (seen,): (i64,) = sqlx::query_as(AssertSqlSafe(rows)).fetch_one(&mut connection).await.unwrap();
        assert_eq!(seen, 0, "{table}");
        let gone = sqlx::query(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut connection).await;
        if table.starts_with("audit_lines") || table.starts_with("audit_checkpoints") {
            assert_eq!(code(gone), REFUSED, "{table}");
        } else {
            assert_eq!(gone.unwrap().rows_affected(), 0, "{table}");
        }
    }
    assert_eq!(database.run("SELECT COUNT(*) FROM bulkhead.projects").unwrap(), "2", "there was something to find");
}

#[tokio::test]
async fn a_transaction_of_one_tenant_neither_sees_nor_writes_rows_of_another() {
    let (database, store, acme, _) = two_tenants(4).await;
    let mut tx = store.begin(&acme).await.unwrap();
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 1, "a query that forgot its tenant");
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects WHERE tenant = 'globex'").await, 0);
    let changed = sqlx::query("UPDATE projects SET description = 'x'").execute(&mut *tx).await.unwrap();
    assert_eq!(changed.rows_affected(), 1);
    tx.commit().await.unwrap();
    for sql in [
        "INSERT INTO projects (tenant, project, created_ms) VALUES ('globex', 'theirs', 0)",
        "UPDATE projects SET tenant = 'globex', project = 'moved'",
        "INSERT INTO tenants (tenant, created_ms) VALUES ('initech', 0)",
        "INSERT INTO audit_lines VALUES ('globex', 1, 1, 'k', 's', 'a', 'x', TRUE, '{}', '', '')",
        "INSERT INTO audit_lines VALUES ('_platform', 1, 1, 'k', 's', 'a', 'x', TRUE, '{}', '', '')",
        "INSERT INTO audit_pruning VALUES ('globex', 9, 9, 9)",
    ] {
        let mut tx = store.begin(&acme).await.unwrap();
        assert_eq!(code(sqlx::query(sql).execute(&mut *tx).await), REFUSED, "{sql}");
    }
    let mut tx = store.begin(&acme).await.unwrap();
    let gone = sqlx::query("DELETE FROM tenants").execute(&mut *tx).await.unwrap();
    assert_eq!(gone.rows_affected(), 1);
    tx.commit().await.unwrap();
    assert_eq!(database.run("SELECT tenant, project, description FROM bulkhead.projects").unwrap(), "globex|default|");
}

#[tokio::test]
async fn each_reach_is_as_narrow_as_what_it_is_for() {
    let (_database, store, ..) = two_tenants(4).await;
    let mut tx = store.begin_platform(&Platform::for_test()).await.unwrap();
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM tenants").await, 2);
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 0, "the platform looks into no tenant");
    let mut tx = store.begin_fleet(&store.shared, &Fleet::for_test()).await.unwrap();
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM tenants").await, 0);
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 0, "workers are told pipelines and no more");
    let mut tx = store.begin_background().await.unwrap();
    assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 0);
    let gone = sqlx::query("DELETE FROM tenants").execute(&mut *tx).await.unwrap();
    assert_eq!(gone.rows_affected(), 0, "the background prunes, and deletes no tenant");
}

#[tokio::test]
async fn the_servers_role_cannot_take_the_walls_down() {
    let (database, ..) = two_tenants(4).await;
    let mut connection = logged_in(&database).await;
    for sql in [
        "ALTER TABLE projects DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE projects NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own ON projects",
        "CREATE POLICY mine ON projects USING (TRUE)",
        "TRUNCATE projects",
        "ALTER ROLE bulkhead BYPASSRLS",
        "SET ROLE bulkhead_owner",
        "CREATE TABLE bulkhead.mine (x INTEGER)",
        "DELETE FROM generation",
        "UPDATE audit_lines SET subject = 'nobody'",
        "DELETE FROM audit_lines",
        "DELETE FROM audit_checkpoints",
        "UPDATE _sqlx_migrations SET version = 0",
        // Not a way around the policies, but an error where there is one.
        "SET row_security = off; DELETE FROM projects",
    ] {
        assert_eq!(code(sqlx::raw_sql(sql).execute(&mut connection).await), REFUSED, "{sql}");
    }
}

#[tokio::test]
async fn a_pooled_connection_carries_no_tenant_to_the_next() {
    let (_database, store, acme, _) = two_tenants(1).await;
    for commit in [true, false] {
        let mut tx = store.begin(&acme).await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 1);
        if commit {
            tx.commit().await.unwrap();
        } else {
            drop(tx);
        }
        let mut tx = store.begin_fleet(&store.shared, &Fleet::for_test()).await.unwrap();
        assert_eq!(count(&mut tx, "SELECT COUNT(*) FROM projects").await, 0);
        let (left,): (String,) = sqlx::query_as("SELECT COALESCE(current_setting('bulkhead.tenant', TRUE), '')")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(left, "");
    }
}

#[tokio::test]
async fn a_role_that_the_walls_do_not_bind_is_refused() {
    let (database, store, ..) = two_tenants(4).await;
    store.close().await;
    let open = async |file: &std::path::Path| {
        let access = Access::read(file, None, Duration::ZERO, 4).unwrap();
        Store::open(&Place::Postgres(Box::new(access)))
            .await
            .map(drop)
            .map_err(|error| (error.code.id(), error.message))
    };
    let (code, message) = open(&database.owner_url_file()).await.unwrap_err();
    assert!(code == "BH0621" && message.contains("it owns"), "{code}: {message}");
    let wide = format!("wide_{}", database.name);
    let file = database.owner_url_file().with_file_name("wide");
    let url = std::fs::read_to_string(database.server_url_file()).unwrap();
    for (right, why) in [("BYPASSRLS", "BYPASSRLS"), ("SUPERUSER", "superuser"), ("CREATEROLE", "CREATEROLE")] {
        database.run(&format!("CREATE ROLE {wide} LOGIN {right} PASSWORD 'pg-test-secret'")).unwrap();
        std::fs::write(&file, url.replacen("bulkhead:", &format!("{wide}:"), 1)).unwrap();
        let (code, message) = open(&file).await.unwrap_err();
        assert!(code == "BH0621" && message.contains(why), "{code}: {message}");
        assert!(!message.contains("pg-test-secret"), "{message}");
        database.run(&format!("DROP ROLE {wide}")).unwrap();
    }
    database.run("CREATE TABLE bulkhead.forgotten (tenant TEXT PRIMARY KEY)").unwrap();
    let (code, message) = open(&database.server_url_file()).await.unwrap_err();
    assert!(code == "BH0621" && message.contains("`forgotten`"), "{code}: {message}");
    let same = Access::read(&database.owner_url_file(), Some(&database.owner_url_file()), Duration::ZERO, 4);
    assert_eq!(same.unwrap_err().code.id(), "BH0621");
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused() {
    let database = ScratchDatabase::new(None).unwrap();
    let alone = Access::read(&database.server_url_file(), None, Duration::ZERO, 4).unwrap();
    let open = async || {
        Store::open(&Place::Postgres(Box::new(alone.clone()))).await.map(drop).map_err(|error| error.code.id())
    };
    assert_eq!(open().await, Err("BH0623"), "nobody has made the tables");
    migrate(&access(&database, 4)).await.unwrap();
    assert_eq!(open().await, Ok(()));
    let last = database.run("DELETE FROM bulkhead._sqlx_migrations WHERE version = (SELECT MAX(version) FROM bulkhead._sqlx_migrations) RETURNING version");
    assert_eq!(open().await, Err("BH0623"), "{last:?} is missing");
    database.run("INSERT INTO bulkhead._sqlx_migrations VALUES (9999, 'later', now(), TRUE, '', 0)").unwrap();
    assert_eq!(open().await, Err("BH0622"));
    let owner = migrate(&access(&database, 4)).await.unwrap_err();
    assert_eq!(owner.code.id(), "BH0622", "the owner must not go back either");
}

/// Two processes on one database: what SQLite's one writer keeps apart, a tenant's lock does.
#[tokio::test]
async fn two_processes_do_not_get_into_each_others_way() {
    let (database, one, acme, globex) = two_tenants(8).await;
    let two = Store::open(&Place::Postgres(Box::new(access(&database, 8)))).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let stores = [std::sync::Arc::new(one), std::sync::Arc::new(two)];
    for i in 0..40 {
        let (store, scope) = (stores[i % 2].clone(), if i % 4 < 2 { acme.clone() } else { globex.clone() });
        tasks.spawn(async move {
            let project = format!("p{i}").parse().unwrap();
            store.create_project(&scope, &project, "", 6).await.map(drop).map_err(|problem| problem.code.id())
        });
    }
    let all = tasks.join_all().await;
    let made = all.iter().filter(|result| result.is_ok()).count();
    let refused: BTreeSet<_> = all.into_iter().filter_map(Result::err).collect();
    assert_eq!((made, refused), (10, BTreeSet::from(["BH0085"])), "six for each tenant, `default` among them");
}

#[tokio::test]
async fn a_generation_is_told_to_other_processes() {
    let (database, one, acme, _) = two_tenants(4).await;
    let two = Store::open(&Place::Postgres(Box::new(access(&database, 4)))).await.unwrap();
    let mut heard = two.generations();
    let tx = one.begin(&acme).await.unwrap();
    let raised = one.commit_raised(tx).await.unwrap();
    assert_eq!(*one.generations().borrow(), raised);
    two.hear().await.unwrap();
    assert!(heard.has_changed().unwrap());
    assert_eq!(*heard.borrow_and_update(), raised);
}

#[tokio::test]
async fn who_knows_a_generation_has_seen_every_change_up_to_it() {
    let (_database, store, acme, globex) = two_tenants(4).await;
    let mut first = store.begin(&acme).await.unwrap();
    let told = first.raise().await.unwrap();
    let mut second = store.begin(&globex).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(300), second.raise()).await;
    assert!(waits.is_err(), "the second was told {waits:?} while the first, told {told}, could still be undone");
}
