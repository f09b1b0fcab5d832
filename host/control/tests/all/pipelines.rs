//! Applying manifests, and everything that is refused.

use crate::client::Client;
use crate::harness::{Server, component};
use bulkhead_control::Role;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) const MANIFEST: &str = "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{topic: in}]
stages:
  - name: first
    module: m
    outputs: {next: {stage: last}}
  - name: last
    module: m:latest
    outputs: {out: {topic: out}}
deadLetter: {topic: dead}
";

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

/// A tenant with the topics and the module that [`MANIFEST`] names.
pub(crate) async fn ready(server: &Server, tenant: &str) -> Client {
    server.tenant(tenant).await;
    filled(server, tenant).await
}

/// The same in a tenant that is there.
pub(crate) async fn filled(server: &Server, tenant: &str) -> Client {
    let dev = server.client(tenant, Role::Developer);
    for topic in ["in", "out", "dead"] {
        dev.post(&format!("/api/v1/tenants/{tenant}/topics"), &json!({"name": topic})).await.expect(201);
    }
    dev.put(&format!("/api/v1/tenants/{tenant}/projects/default/modules/m"), component("1")).await.expect(201);
    dev
}

fn errors(problem: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    problem["errors"].as_array().unwrap().iter().map(|error| (text(&error["code"]), text(&error["field"]))).collect()
}

#[tokio::test]
async fn a_manifest_is_applied_changed_and_left_alone() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let made = dev.put(AT, MANIFEST).await.expect(201);
    assert_eq!((&made["revision"], &made["paused"], &made["manifest"]), (&json!(1), &json!(false), &json!(MANIFEST)));
    assert_eq!(made["modules"]["first"], made["modules"]["last"]);
    assert_eq!(made["status"]["phase"], Value::Null);
    assert_eq!(dev.put(AT, MANIFEST).await.expect(200)["revision"], 1, "nothing changed, so nothing is to restart");
    assert_eq!(
        dev.put(AT, MANIFEST.replace("{topic: in}", "{topic: in, start: latest}")).await.expect(200)["revision"],
        2
    );
    dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("2")).await.expect(201);
    let moved = dev.put(AT, MANIFEST).await.expect(200);
    assert_eq!(moved["revision"], 3, "the tag points elsewhere, so the same text means something new");
    assert_ne!(moved["modules"]["last"], made["modules"]["last"]);
    let list = dev.get("/api/v1/tenants/acme/projects/default/pipelines").await.expect(200);
    assert_eq!((&list["items"][0]["name"], list["items"][0].get("manifest")), (&json!("p"), None));
}

#[tokio::test]
async fn json_manifests_are_taken_too() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let manifest = json!({"apiVersion": "bulkhead/v1", "kind": "Pipeline", "name": "p", "inputs": [{"topic": "in"}],
        "stages": [{"name": "s", "module": "m", "outputs": {"out": {"topic": "out"}}}], "deadLetter": {"topic": "dead"}});
    dev.put(AT, manifest.to_string()).await.expect(201);
}

#[tokio::test]
async fn each_mistake_has_its_code_and_its_field() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let cases = [
        ("kind: Pipeline", "kind: Pipeline\ncolour: red", "BH0203", ""),
        ("{stage: last}", "{stage: first}", "BH0204", ""),
        ("module: m:latest", "module: n", "BH0205", "stages[last].module"),
        ("module: m:latest", "module: m:v2", "BH0205", "stages[last].module"),
        ("{stage: last}", "{stage: lst}", "BH0206", "stages[first].outputs.next.stage"),
        ("{topic: out}", "{topic: nowhere}", "BH0207", "stages[last].outputs.out.topic"),
        ("{topic: dead}", "{topic: nowhere}", "BH0207", "deadLetter.topic"),
        ("[{topic: in}]", "[{topic: nowhere}]", "BH0207", "inputs[0].topic"),
        ("name: p", "name: q", "BH0209", "name"),
        ("kind: Pipeline", "kind: [", "BH0202", ""),
    ];
    for (from, to, code, field) in cases {
        let text = MANIFEST.replacen(from, to, 1);
        assert_ne!(text, MANIFEST, "{from}");
        let problem = dev.put(AT, text).await.refused(422, "BH0201");
        let found = errors(&problem);
        assert!(found.iter().any(|(c, f)| c == code && f.contains(field)), "{to}: {found:?}");
    }
    dev.get(AT).await.refused(404, "BH0005");
}

#[tokio::test]
async fn all_that_is_missing_is_told_at_once() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let problem = dev.put(AT, MANIFEST.replace("name: p", "name: q")).await.refused(422, "BH0201");
    let mut codes: Vec<_> = errors(&problem).into_iter().map(|(code, _)| code).collect();
    codes.sort();
    assert_eq!(codes, ["BH0205", "BH0205", "BH0207", "BH0207", "BH0207", "BH0209"]);
}

#[tokio::test]
async fn bodies_that_are_no_manifest_are_refused() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let problem = dev.put(AT, vec![0xff, 0xfe]).await.refused(422, "BH0201");
    assert_eq!(errors(&problem)[0].0, "BH0202");
    dev.put(AT, "").await.refused(422, "BH0201");
    dev.put(AT, "x".repeat(300 * 1024)).await.refused(413, "BH0008");
}

#[tokio::test]
async fn another_tenants_module_and_topics_do_not_resolve() {
    let server = Server::start().await;
    let acme = ready(&server, "acme").await;
    let digest =
        acme.get("/api/v1/tenants/acme/projects/default/modules").await.expect(200)["items"][0]["digest"].clone();
    let globex = server.tenant("globex").await;
    let manifest = MANIFEST.replace("module: m:latest", &format!("module: {}", digest.as_str().unwrap()));
    let problem =
        globex.put("/api/v1/tenants/globex/projects/default/pipelines/p", manifest).await.refused(422, "BH0201");
    assert_eq!(errors(&problem).len(), 5, "two modules and three topics are acme's, not globex's: {problem}");
}

#[tokio::test]
async fn pausing_and_resuming_reach_workers_and_change_nothing_twice() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let generation = async || {
        let assignment = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
        (assignment["generation"].as_u64().unwrap(), assignment["pipelines"][0]["paused"].as_bool().unwrap())
    };
    let (first, _) = generation().await;
    assert_eq!(dev.post(&format!("{AT}/pause"), &json!({})).await.expect(200)["paused"], true);
    assert_eq!(generation().await, (first + 1, true));
    dev.post(&format!("{AT}/pause"), &json!({})).await.expect(200);
    assert_eq!(generation().await, (first + 1, true));
    assert_eq!(dev.post(&format!("{AT}/resume"), &json!({})).await.expect(200)["paused"], false);
    assert_eq!(generation().await, (first + 2, false));
    dev.post(&format!("{AT}x/pause"), &json!({})).await.refused(404, "BH0005");
}

#[tokio::test]
async fn a_deleted_pipelines_name_is_free_when_its_positions_are_forgotten_and_counts_on() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    server.ports.topics.set_members("acme/default/p", true);
    dev.delete(AT).await.expect(202);
    dev.get(AT).await.refused(404, "BH0005");
    dev.delete(AT).await.refused(404, "BH0005");
    dev.put(AT, MANIFEST).await.refused(409, "BH0010");
    server.ports.topics.set_members("acme/default/p", false);
    assert_eq!(dev.put(AT, MANIFEST).await.expect(201)["revision"], 2, "a worker must see that it is another");
    assert_eq!(server.ports.topics.forgotten(), ["acme/default/p"]);
    dev.delete(AT).await.expect(204);
    assert_eq!(server.ports.topics.forgotten().len(), 2);
}

#[tokio::test]
async fn the_background_forgets_positions_when_workers_have_left() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    server.ports.topics.set_members("acme/default/p", true);
    dev.delete(AT).await.expect(202);
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    server.ports.topics.set_members("acme/default/p", false);
    server.until("positions are forgotten", async || !server.ports.topics.forgotten().is_empty()).await;
    server.control.stop();
    background.await.unwrap();
}

#[tokio::test]
async fn a_tenants_pipelines_are_bounded() {
    let server = Server::with(|config| config.quotas.pipelines = 1).await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let other = "/api/v1/tenants/acme/projects/default/pipelines/q";
    dev.put(other, MANIFEST.replace("name: p", "name: q")).await.refused(422, "BH0085");
    dev.put(AT, MANIFEST.replace("{topic: in}", "{topic: in, start: latest}")).await.expect(200);
}

#[tokio::test]
async fn a_log_that_is_away_is_no_missing_topic() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    server.ports.topics.set_away(true);
    dev.put(AT, MANIFEST).await.refused(503, "BH0401");
    server.client("acme", Role::Viewer).get(AT).await.refused(404, "BH0005");
}

#[tokio::test]
async fn a_stage_without_the_grant_that_its_module_needs_is_refused() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("state")).await.expect(201);
    let problem = dev.put(AT, MANIFEST).await.expect(422);
    let expected = ["first", "last"].map(|stage| ("BH0210".to_owned(), format!("stages[{stage}].state")));
    assert_eq!(errors(&problem), expected);
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("`first`") && detail.contains("bulkhead:stage/state") && detail.contains("maxBytes"),
        "{detail}"
    );
    dev.get(AT).await.expect(404);
    let granted = MANIFEST.replace("outputs:", "state: {maxBytes: 4096}\n    outputs:");
    dev.put(AT, granted).await.expect(201);
}

#[tokio::test]
async fn ticks_for_a_module_that_has_no_use_for_them_are_refused() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let ticking = MANIFEST.replace("outputs:", "tickMs: 500\n    outputs:");
    let problem = dev.put(AT, ticking.clone()).await.expect(422);
    let expected = ["first", "last"].map(|stage| ("BH0218".to_owned(), format!("stages[{stage}].tickMs")));
    assert_eq!(errors(&problem), expected);
    dev.get(AT).await.expect(404);
    // What is known of it is kept with the module, for every later upload of the same bytes.
    for _ in 0..2 {
        let module = dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("ticks")).await;
        assert!([200, 201].contains(&module.status), "{}", module.text);
    }
    dev.put(AT, ticking).await.expect(201);
}

/// Made once: a worker that finds it gone must be able to say so.
#[tokio::test]
async fn state_gets_its_place_with_the_first_manifest_that_grants_it() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "wide", "partitions": 4})).await.expect(201);
    let stateful = MANIFEST.replace("module: m:latest", "module: m:latest\n    state: {}");
    dev.put(AT, MANIFEST).await.expect(201);
    assert_eq!(server.ports.topics.kept_state(), []);
    dev.put(AT, stateful.replace("{topic: in}", "{topic: nowhere}")).await.expect(422);
    assert_eq!(server.ports.topics.kept_state(), []);
    let stateful = stateful.replace("{topic: in}", "{topic: in}, {topic: wide}");
    dev.put(AT, stateful.clone()).await.expect(200);
    let once = [("acme/default/p".to_owned(), 4)];
    assert_eq!(server.ports.topics.kept_state(), once);
    dev.put(AT, stateful.replace("name: first", "name: one")).await.expect(200);
    assert_eq!(server.ports.topics.kept_state(), once);
}
