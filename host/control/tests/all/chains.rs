//! The chains of the audit: whatever is done to the database by hand is found, at its line; and what the server itself prunes is not
//! taken for that.

use crate::harness::Server;
use crate::metadata::Metadata;
use bulkhead_control::audit::{JwkSet, read_checkpoint};
use bulkhead_control::{ControlConfig, Role};
use bulkhead_core::audit::{Anchor, Checker, Verdict, seal};
use bulkhead_test_services::Postgres;
use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, SqliteConnection};
use std::time::Duration;

/// Statements on the real database, as somebody who may do anything there would send them. PostgreSQL has no triggers to take away first:
/// it refuses the server's role, and nobody above it.
pub(crate) async fn by_hand(server: &Server, statements: &[impl AsRef<str>]) {
    let statements = statements.iter().map(AsRef::as_ref);
    match &server.metadata {
        Metadata::File => {
            let file = server.data_dir().join("control.db");
            let mut database = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
            for statement in statements {
                let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut database).await;
                done.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
            database.close().await.unwrap();
        }
        Metadata::Postgres(shared, _) => {
            for statement in statements.filter(|statement| !statement.starts_with("DROP TRIGGER")) {
                let of_platform = statement.contains("_platform");
                let (schema, database) = match server.metadata.home("acme").filter(|_| !of_platform) {
                    Some(home) => home,
                    None => ("bulkhead".to_owned(), shared.name.clone()),
                };
                let sql = format!("SET search_path TO \"{schema}\"; {statement}");
                Postgres::shared().run(&database, &sql).unwrap();
            }
        }
    }
}

/// The database as the server itself reaches it, for the tenant `acme`.
async fn as_the_server(server: &Server) -> AnyConnection {
    sqlx::any::install_default_drivers();
    match &server.metadata {
        Metadata::File => {
            let file = server.data_dir().join("control.db");
            AnyConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap()
        }
        Metadata::Postgres(shared, _) => {
            let (schema, database) = server.metadata.home("acme").expect("a home on PostgreSQL");
            let url = std::fs::read_to_string(shared.server_url_file()).unwrap();
            let url = url.replace(&format!("/{}", shared.name), &format!("/{database}"));
            let mut connection = AnyConnection::connect(&url).await.unwrap();
            let tenant = format!("SET search_path TO \"{schema}\"; SET bulkhead.tenant TO 'acme'");
            sqlx::raw_sql(AssertSqlSafe(tenant)).execute(&mut connection).await.unwrap();
            connection
        }
    }
}

/// What an export holds: lines, and checkpoints whose signatures fit.
pub(crate) async fn export(server: &Server, path: &str, platform: bool) -> (Vec<Value>, Vec<Anchor>) {
    let client = if platform { server.platform() } else { server.client("acme", Role::TenantAdmin) };
    let answer = client.send("GET", path, ("accept", "application/x-ndjson"), "").await;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/x-ndjson".parse().unwrap()));
    let keys: JwkSet =
        serde_json::from_value(server.anybody().get("/.well-known/jwks.json").await.expect(200)).unwrap();
    let all = answer.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (checkpoints, lines): (Vec<_>, Vec<_>) = all.partition(|line| line["checkpoint"].is_string());
    let anchors = checkpoints.iter().map(|line| read_checkpoint(line["checkpoint"].as_str().unwrap(), &keys).unwrap());
    (lines, anchors.collect())
}

const ACME: &str = "/api/v1/tenants/acme/audit";

fn check(lines: &[Value], anchors: &[Anchor]) -> Verdict {
    let mut checker = Checker::new(anchors.iter().cloned(), false);
    lines.iter().for_each(|line| checker.line(line));
    checker.end()
}

async fn found(server: &Server) -> Vec<String> {
    let (lines, anchors) = export(server, ACME, false).await;
    check(&lines, &anchors)
        .findings
        .iter()
        .map(|finding| format!("{} {}", finding.seq, finding.wrong.as_str()))
        .collect()
}

/// A server whose tenant `acme` has at least ten lines.
async fn busy(change: impl FnOnce(&mut ControlConfig)) -> Server {
    let server = Server::with(change).await;
    let dev = server.tenant("acme").await;
    for _ in 0..10 {
        dev.get("/api/v1/tenants/acme/topics").await.expect(200);
    }
    server
}

#[tokio::test]
async fn both_chains_hold_and_end_where_their_signed_end_says() {
    let server = busy(|_| {}).await;
    for (path, platform) in [(ACME, false), ("/api/v1/audit", true)] {
        let (lines, anchors) = export(&server, path, platform).await;
        let verdict = check(&lines, &anchors);
        assert_eq!((verdict.wrong, verdict.findings.len()), (0, 0), "{verdict:?}");
        let end = anchors.last().unwrap();
        assert_eq!((end.seq, &end.hash), (lines.len() as u64, &verdict.hash));
        // The end that was read is held to the lines.
        assert_eq!(check(&lines[..lines.len() - 1], &anchors).findings[0].wrong.as_str(), "cut-off");
    }
    let checkpoints = server.client("acme", Role::TenantAdmin).get(&format!("{ACME}/checkpoints")).await.expect(200);
    assert!(checkpoints["head"]["seq"].as_i64() > Some(10), "{checkpoints}");
}

#[tokio::test]
async fn requests_at_once_make_one_chain_without_a_gap() {
    let server = busy(|_| {}).await;
    let dev = server.client("acme", Role::Developer);
    let asked = (0..100).map(|_| {
        let dev = dev.clone();
        tokio::spawn(async move { dev.get("/api/v1/tenants/acme/topics").await.expect(200) })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    let (lines, anchors) = export(&server, ACME, false).await;
    let verdict = check(&lines, &anchors);
    assert_eq!(verdict.wrong, 0, "{verdict:?}");
    assert!(lines.len() > 110);
    let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| line["requestId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "each request has its line");
}

#[tokio::test]
async fn the_database_itself_refuses_changes() {
    let server = busy(|_| {}).await;
    by_hand(&server, &["INSERT INTO audit_checkpoints VALUES ('acme', 1, 'pruned', 0, 'none')"]).await;
    let mut database = as_the_server(&server).await;
    for statement in [
        "UPDATE audit_lines SET subject = 'nobody' WHERE seq = 3",
        "DELETE FROM audit_lines WHERE seq = 3",
        "DELETE FROM audit_lines",
        "UPDATE audit_checkpoints SET token = ''",
        "DELETE FROM audit_checkpoints",
    ] {
        let error = sqlx::query(statement).execute(&mut database).await.unwrap_err().to_string();
        let refused = ["of the audit is never changed", "of the audit goes only", "permission denied"];
        assert!(refused.iter().any(|words| error.contains(words)), "{statement}: {error}");
    }
    drop(database);
    by_hand(&server, &["DROP TRIGGER audit_checkpoints_go_by_pruning", "DELETE FROM audit_checkpoints"]).await;
    assert_eq!(found(&server).await, Vec::<String>::new());
}

const UNGUARD: &str = "DROP TRIGGER audit_lines_stay";
const UNGUARD_DELETE: &str = "DROP TRIGGER audit_lines_go_by_pruning";

#[tokio::test]
async fn a_changed_line_is_found_whichever_column_was_changed() {
    let server = busy(|_| {}).await;
    by_hand(&server, &[UNGUARD]).await;
    let changes = [
        "UPDATE audit_lines SET subject = 'nobody' WHERE tenant = 'acme' AND seq = 1",
        "UPDATE audit_lines SET at_ms = at_ms + 1 WHERE tenant = 'acme' AND seq = 2",
        "UPDATE audit_lines SET allowed = NOT allowed WHERE tenant = 'acme' AND seq = 3",
        "UPDATE audit_lines SET action = 'topics.write' WHERE tenant = 'acme' AND seq = 4",
        "UPDATE audit_lines SET resource = 'topic/t' WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_lines SET rest = '{}' WHERE tenant = 'acme' AND seq = 6",
        "UPDATE audit_lines SET kind = 'use' WHERE tenant = 'acme' AND seq = 7",
    ];
    by_hand(&server, &changes).await;
    let expected: Vec<_> = (1..=7).map(|seq| format!("{seq} changed")).collect();
    assert_eq!(found(&server).await, expected);
}

#[tokio::test]
async fn a_missing_line_and_a_missing_beginning_are_found() {
    let server = busy(|_| {}).await;
    by_hand(&server, &[UNGUARD_DELETE, "DELETE FROM audit_lines WHERE tenant = 'acme' AND seq IN (1, 5)"]).await;
    assert_eq!(found(&server).await, ["1 missing", "5 missing"]);
}

#[tokio::test]
async fn lines_that_changed_places_are_found() {
    let server = busy(|_| {}).await;
    let swap = [
        UNGUARD,
        "UPDATE audit_lines SET seq = -4 WHERE tenant = 'acme' AND seq = 4",
        "UPDATE audit_lines SET seq = 4 WHERE tenant = 'acme' AND seq = 5",
        "UPDATE audit_lines SET seq = 5 WHERE tenant = 'acme' AND seq = -4",
    ];
    by_hand(&server, &swap).await;
    let found = found(&server).await;
    assert_eq!(found[..2], ["4 changed".to_owned(), "4 unconnected".to_owned()], "{found:?}");
}

/// Writes a line anew at `seq`, hashed as the format says, as a forger would who knows it.
async fn forge(server: &Server, seq: u64, insert: bool) {
    let (lines, _) = export(server, ACME, false).await;
    let mut line: Map<String, Value> = lines[seq as usize - 1].as_object().unwrap().clone();
    let (chain, prev) = (line["chain"].as_str().unwrap().to_owned(), line["prev"].as_str().unwrap().to_owned());
    line.insert("subject".to_owned(), json!("somebody else"));
    line.remove("hash");
    let line = seal(line, &chain, seq, &prev).unwrap();
    let mut statements = vec!["DROP TRIGGER IF EXISTS audit_lines_stay".to_owned()];
    if insert {
        // Room for one more, from the end so that no two have a number.
        let moved = (seq..=lines.len() as u64 + 20).rev();
        statements.extend(
            moved.map(|seq| format!("UPDATE audit_lines SET seq = seq + 1 WHERE tenant = 'acme' AND seq = {seq}")),
        );
        statements.push(format!(
            "INSERT INTO audit_lines SELECT tenant, {seq}, at_ms, kind, subject, action, resource, allowed, rest, prev, hash
             FROM audit_lines WHERE tenant = 'acme' AND seq = {seq} + 1"
        ));
        statements.push("UPDATE audit_chains SET seq = seq + 1 WHERE tenant = 'acme'".to_owned());
    }
    let hash = line["hash"].as_str().unwrap();
    statements.push(format!(
        "UPDATE audit_lines SET subject = 'somebody else', hash = '{hash}' WHERE tenant = 'acme' AND seq = {seq}"
    ));
    by_hand(server, &statements).await;
}

#[tokio::test]
async fn a_line_that_was_replaced_or_put_in_with_a_fitting_hash_is_found() {
    let server = busy(|_| {}).await;
    forge(&server, 4, false).await;
    assert_eq!(found(&server).await, ["5 unconnected"], "the line after it follows another");
    let server = busy(|_| {}).await;
    forge(&server, 4, true).await;
    let found = found(&server).await;
    assert!(found.contains(&"5 changed".to_owned()) && found.contains(&"5 unconnected".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_cut_off_end_is_found_even_where_the_chains_own_end_was_moved_back() {
    // Often enough that the background signs while the test goes on.
    let server = busy(|config| config.audit_checkpoint_every = Duration::ZERO).await;
    let running = {
        let control = server.control.clone();
        tokio::spawn(async move { control.run().await })
    };
    let checkpoints =
        || async { server.client("acme", Role::TenantAdmin).get(&format!("{ACME}/checkpoints")).await.expect(200) };
    server.until("a checkpoint", async || !checkpoints().await["items"].as_array().unwrap().is_empty()).await;
    server.control.stop();
    running.await.unwrap();
    let signed = checkpoints().await["items"].as_array().unwrap().last().unwrap()["seq"].as_u64().unwrap();
    by_hand(
        &server,
        &[
            UNGUARD_DELETE,
            "DELETE FROM audit_lines WHERE tenant = 'acme' AND seq > 4",
            "UPDATE audit_chains SET seq = 4, hash = (SELECT hash FROM audit_lines WHERE tenant = 'acme' AND seq = 4)
         WHERE tenant = 'acme'",
        ],
    )
    .await;
    let (lines, anchors) = export(&server, ACME, false).await;
    // What asking for the audit itself has added since is all that is there; the signature knows more.
    assert!((lines.len() as u64) < signed, "the test asked too often");
    let verdict = check(&lines, &anchors);
    assert_eq!(verdict.findings.last().map(|finding| (finding.seq, finding.wrong.as_str())), Some((signed, "cut-off")));
}

#[tokio::test]
async fn a_pruned_chain_goes_on_from_its_signed_checkpoint() {
    let server = busy(|config| config.audit_rows_max = 4).await;
    let control = server.control.clone();
    let running = tokio::spawn(async move { control.run().await });
    let (mut lines, mut anchors) = export(&server, ACME, false).await;
    server
        .until("lines are pruned", async || {
            (lines, anchors) = export(&server, ACME, false).await;
            lines.iter().any(|line| line["kind"] == "pruned")
        })
        .await;
    let verdict = check(&lines, &anchors);
    assert_eq!((verdict.wrong, verdict.pruned), (0, true), "{verdict:?}");
    let pruned = lines.iter().find(|line| line["kind"] == "pruned").unwrap();
    assert_eq!(pruned["until"].as_u64().map(|until| until + 1), lines[0]["seq"].as_u64());
    // Without it, or with one line less after it, the beginning is missing.
    let others: Vec<_> = anchors.iter().filter(|anchor| !anchor.pruned).cloned().collect();
    assert!(check(&lines, &others).findings.iter().any(|finding| finding.wrong.as_str() == "missing"));
    assert_eq!(check(&lines[1..], &anchors).wrong, 1);
    server.control.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn a_new_tenant_begins_a_chain_of_its_own() {
    let server = busy(|_| {}).await;
    let (before, _) = export(&server, ACME, false).await;
    server.platform().delete("/api/v1/tenants/acme").await.expect(200);
    server.tenant("acme").await;
    let (after, anchors) = export(&server, ACME, false).await;
    assert_ne!(before[0]["chain"], after[0]["chain"]);
    assert_eq!(check(&after, &anchors).wrong, 0);
    let text = json!(after).to_string();
    assert!(after[0]["seq"] == 1 && !text.contains("tenants.delete") && !text.contains("developer@acme"), "{text}");
    // That it was deleted is for the platform to know.
    assert!(crate::audit::platform_lines(&server).await.iter().any(|line| line["action"] == "tenants.delete"));
}

#[tokio::test]
async fn a_checkpoint_is_no_token_and_a_token_no_checkpoint() {
    let server = busy(|_| {}).await;
    let head = server.client("acme", Role::TenantAdmin).get(&format!("{ACME}/checkpoints")).await.expect(200);
    let checkpoint = head["head"]["checkpoint"].as_str().unwrap().to_owned();
    server.with_token(&checkpoint).get("/api/v1/whoami").await.refused(401, "BH0002");
    let keys: JwkSet =
        serde_json::from_value(server.anybody().get("/.well-known/jwks.json").await.expect(200)).unwrap();
    assert!(read_checkpoint(&checkpoint, &keys).is_ok());
    let other = Server::start().await;
    let others: JwkSet =
        serde_json::from_value(other.anybody().get("/.well-known/jwks.json").await.expect(200)).unwrap();
    assert!(read_checkpoint(&checkpoint, &others).is_err(), "another server's key");
    let (first, last) = checkpoint.split_at(checkpoint.len() - 10);
    assert!(read_checkpoint(&format!("{first}AAAA{}", &last[4..]), &keys).is_err(), "a changed signature");
    let token = server.control.issuer().mint(&bulkhead_control::Grant::new("x", None, Role::PlatformAdmin)).unwrap();
    assert!(read_checkpoint(&token, &keys).is_err());
}
