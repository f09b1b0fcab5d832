//! Two tenants that gave everything the same names: each sees its own, and what one changes or deletes is its own.
//!
//! Where names differ, a query that forgot its tenant may find nothing by luck. Here it finds the other's.
//! Must never: have a change that is not made, or a reading that finds nothing: either would prove nothing.

use super::filled::{Filled, fill};
use super::paths::named;
use super::table::{Row, rows};
use crate::client::{Answer, Client};
use crate::harness::Server;
use crate::pipelines::MANIFEST;
use bulkhead_control::Role;
use serde_json::json;
use std::collections::BTreeMap;

const NAME: &str = "same";
const ACME: &str = "zqacmezq";
const GLOBEX: &str = "zqglobexzq";

fn path_of(row: &Row, tenant: &str, own: &Filled) -> String {
    let topic = format!("{NAME}.in");
    let module = if row.path.ends_with("/content") { &own.digest } else { NAME };
    // Of what is changed and then deleted, something is left for what comes after.
    let tag = if row.method == "GET" { "latest" } else { "another" };
    let project = if row.method == "DELETE" && row.path.ends_with("{project}") { "another" } else { NAME };
    let subject = format!("user:{NAME}");
    let values = [
        ("{tenant}", tenant),
        ("{project}", project),
        ("{module}", module),
        ("{tag}", tag),
        ("{pipeline}", NAME),
        ("{revision}", "1"),
        ("{topic}", &topic),
        ("{letter}", "0-0"),
        ("{digest}", &own.digest),
        ("{subject}", &subject),
        ("{role}", NAME),
        ("{name}", NAME),
    ];
    named(row, &values)
}

/// Rows of one tenant's things, those aside that a tenant admin may not use.
fn of_a_tenant() -> impl Iterator<Item = Row> {
    rows().into_iter().filter(|row| row.has("tenant") && row.lets("tenant-admin"))
}

/// What a tenant's readings say. Its audit is left out, into which each of them writes a line, and so is the export, which holds it.
async fn readings(admin: &Client, tenant: &str, own: &Filled) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for row in of_a_tenant() {
        let grows = row.path.contains("/audit") || row.path.ends_with("/export");
        if row.method == "GET" && !grows {
            let path = path_of(&row, tenant, own);
            let path = if row.path.ends_with("/explain") { format!("{path}?action=topics.read") } else { path };
            // Not up to now, which is in the answer.
            let path = if row.path.ends_with("/usage") { format!("{path}?to=2030-01") } else { path };
            let answer = admin.get(&path).await;
            let text = match answer.headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
                Some(id) => answer.text.replace(id, "ID"),
                None => answer.text,
            };
            said.insert(path, format!("{} {text}", answer.status));
        }
    }
    said
}

/// What a change sends.
fn body(row: &Row, own: &Filled) -> String {
    let last = row.path.rsplit('/').next().unwrap_or_default();
    match (row.method, last) {
        ("PUT", "{pipeline}") | ("POST", "diff") => MANIFEST
            .replace("name: p\n", &format!("name: {NAME}\n"))
            .replace("topic: ", &format!("topic: {NAME}."))
            .replace("module: m", &format!("module: {NAME}")),
        ("PUT", "{module}") => "\0asm changed".to_owned(),
        ("PUT", "{tag}") => json!({"digest": own.digest}).to_string(),
        ("PUT", "{name}") => json!("changed").to_string(),
        ("PUT", "{role}") if row.path.contains("/roles/") => json!({"actions": ["logs.read"]}).to_string(),
        ("PUT", "{role}") => String::new(),
        ("PUT", "topic") => json!({"topic": format!("{NAME}.out")}).to_string(),
        ("POST", "rollback") => json!({"revision": 1}).to_string(),
        ("POST", "records") => json!({"value": "changed"}).to_string(),
        ("POST", "tokens") => json!({"subject": "eve", "role": "viewer"}).to_string(),
        ("POST", "topics" | "projects") => json!({"name": "another"}).to_string(),
        ("POST", "pause" | "resume" | "replay" | "rotate") => String::new(),
        _ => "{}".to_owned(),
    }
}

async fn change(admin: &Client, row: &Row, own: &Filled) -> Answer {
    let path = path_of(row, "acme", own);
    let path = if row.path.ends_with("{topic}") { format!("{path}?force=true") } else { path };
    let request = admin.request(row.method, &path);
    let request = if row.method == "DELETE" { request } else { request.body(body(row, own)) };
    Answer::of(request.send().await.unwrap()).await
}

/// The changes in an order in which each finds what it changes: what is deleted goes from the inside out.
fn changes() -> Vec<Row> {
    let mut changes: Vec<_> = of_a_tenant().filter(|row| row.method != "GET").collect();
    let inside = |row: &Row| {
        let order = ["{letter}", "{pipeline}", "{tag}", "{module}", "{topic}", "{role}", "{name}", "{project}"];
        order.iter().position(|end| row.path.ends_with(end)).unwrap_or(0)
    };
    // Bindings go before the role that they give.
    changes.sort_by_key(|row| (row.method == "DELETE", inside(row), !row.path.contains("/bindings/")));
    changes
}

/// Replays acme's letter while its topic is away: what was noted of the replay is taken back.
async fn replay_in_vain(acme: &Client) {
    let topics = "/api/v1/tenants/acme/topics";
    let letter = format!("/api/v1/tenants/acme/projects/{NAME}/pipelines/{NAME}/dead-letters/0-0");
    acme.delete(&format!("{topics}/{NAME}.in?force=true")).await.expect(204);
    acme.post(&format!("{letter}/replay"), &json!(null)).await.refused(404, "BH0005");
    acme.post(topics, &json!({"name": format!("{NAME}.in")})).await.expect(201);
}

#[tokio::test]
async fn what_one_of_two_alike_changes_is_its_own() {
    let server = Server::start().await;
    let acme_has = fill(&server, "acme", NAME, ACME).await;
    let globex_has = fill(&server, "globex", NAME, GLOBEX).await;
    let (acme, globex) = (server.client("acme", Role::TenantAdmin), server.client("globex", Role::TenantAdmin));
    let another = json!({"name": "another", "description": GLOBEX});
    globex.post("/api/v1/tenants/globex/projects", &another).await.expect(201);
    let replay = format!("/api/v1/tenants/globex/projects/{NAME}/pipelines/{NAME}/dead-letters/0-0/replay");
    globex.post(&replay, &json!(null)).await.expect(200);
    let (own, before) = (readings(&acme, "acme", &acme_has).await, readings(&globex, "globex", &globex_has).await);
    for (readings, marker, other) in [(&own, ACME, GLOBEX), (&before, GLOBEX, ACME)] {
        let wrong = |(_, said): &(&String, &String)| said.contains(other) || !said.starts_with("200 ");
        let wrong: Vec<_> = readings.iter().filter(wrong).collect();
        assert!(wrong.is_empty(), "these read nothing, or what is another's: {wrong:#?}");
        let told = readings.values().filter(|said| said.contains(marker)).count();
        assert!(told >= 8, "only {told} readings show anything of the tenant's own");
    }
    replay_in_vain(&acme).await;
    let mut idle = Vec::new();
    for row in changes() {
        let answer = change(&acme, &row, &acme_has).await;
        if answer.status >= 400 {
            idle.push(format!("{} {}: {}", row.method, row.path, answer.text));
        }
    }
    assert!(idle.is_empty(), "changes that were not made: {idle:#?}");
    let same = async |when: &str| {
        let now = readings(&globex, "globex", &globex_has).await;
        let other: Vec<_> = now.iter().filter(|(path, said)| before[*path] != **said).collect();
        assert!(other.is_empty(), "not what they were {when}: {other:#?}");
    };
    same("before acme's changes").await;
    let platform = server.platform();
    for (method, path) in [("POST", "/suspend"), ("POST", "/resume"), ("DELETE", "")] {
        let request = platform.request(method, &format!("/api/v1/tenants/acme{path}")).body(r#"{"reason": "unpaid"}"#);
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert!(answer.status < 300, "{}", answer.text);
    }
    same("before acme was erased").await;
}
