//! The workers' side: assignments, reports, modules.

use crate::client::Answer;
use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use serde_json::{Value, json};
use std::sync::Arc;

const POLL: &str = "/internal/v1/assignment?worker=pool-0";
const REPORT: &str = "/internal/v1/report";
const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

/// A report on acme's pipeline `p`.
pub(crate) fn report(worker: &str, boot: &str, revision: u64, records_in: u64) -> Value {
    json!({"worker": worker, "boot": boot, "generation": 1, "settled": 1_000_000, "pipelines": [{
        "tenant": "acme", "project": "default", "pipeline": "p", "revision": revision, "phase": "running",
        "code": null, "message": null, "lag": 5, "partitions": 2,
        "totals": {"records_in": records_in, "records_out": 1, "bytes_in": 2, "bytes_out": 3, "dead_letters": 0, "fuel": 7},
        "initialised": {"in": [0, 1]}}]})
}

async fn poll(server: &Server, path: &str, known: Option<&str>) -> Answer {
    let request = server.worker().request("GET", path);
    let request = match known {
        Some(etag) => request.header("if-none-match", etag),
        None => request,
    };
    Answer::of(request.send().await.unwrap()).await
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_assignment_holds_every_tenants_pipelines_and_is_read_by_the_workers_type() {
    let server = Server::start().await;
    for tenant in ["acme", "globex"] {
        let dev = ready(&server, tenant).await;
        dev.put(&format!("/api/v1/tenants/{tenant}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    }
    let answer = poll(&server, POLL, None).await;
    let assignment: bulkhead_core::assignment::Assignment = serde_json::from_str(&answer.text).unwrap();
    let tenants: Vec<_> = assignment.pipelines.iter().map(|pipeline| pipeline.key.tenant.as_str()).collect();
    assert_eq!(tenants, ["acme", "globex"]);
    assert_eq!(assignment.pipelines[0].spec.stages.len(), 2);
    assert_eq!(etag(&answer), format!("\"g{}\"", assignment.generation));
    assert_eq!(poll(&server, POLL, Some(&etag(&answer))).await.status, 304);
    assert_eq!(poll(&server, POLL, Some("\"other\"")).await.status, 200);
    server.worker().get("/internal/v1/assignment?worker=Not_A_Slot").await.refused(400, "BH0007");
    server.worker().get("/internal/v1/assignment?worker=pool-0&wait=61").await.refused(400, "BH0007");
    server.worker().get("/internal/v1/assignment").await.refused(400, "BH0007");
}

#[tokio::test]
async fn a_long_poll_ends_with_the_change_that_it_waits_for() {
    let server = Arc::new(Server::start().await);
    let dev = ready(&server, "acme").await;
    let known = etag(&poll(&server, POLL, None).await);
    let waiting = {
        let (server, known) = (Arc::clone(&server), known.clone());
        tokio::spawn(async move { poll(&server, "/internal/v1/assignment?worker=pool-0&wait=60", Some(&known)).await })
    };
    dev.put(AT, MANIFEST).await.expect(201);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.json()["pipelines"][0]["pipeline"], "p", "the poll returned without the change");
    assert_eq!(poll(&server, "/internal/v1/assignment?worker=pool-0&wait=1", Some(&etag(&answer))).await.status, 304);
}

#[tokio::test]
async fn a_stop_ends_long_polls() {
    let server = Arc::new(Server::start().await);
    let known = etag(&poll(&server, POLL, None).await);
    let waiting = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { poll(&server, "/internal/v1/assignment?worker=pool-0&wait=60", Some(&known)).await })
    };
    server.control.stop();
    // Half of the poll's own wait: without the stop it would end too, but only then.
    let answer = tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("the poll waits on");
    assert_eq!(answer.unwrap().status, 304);
}

#[tokio::test]
async fn reports_become_the_status_that_a_tenant_sees() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let worker = server.worker();
    worker.post(REPORT, &report("pool-0", "a", 1, 10)).await.expect(204);
    let mut second = report("pool-1", "b", 1, 5);
    second["pipelines"][0]["phase"] = json!("backoff");
    second["pipelines"][0]["code"] = json!("BH0311");
    second["pipelines"][0]["message"] = json!("stage `first` fails always");
    server.worker_in("pool-1", None).post(REPORT, &second).await.expect(200);
    let status = dev.get(AT).await.expect(200)["status"].clone();
    assert_eq!((&status["phase"], &status["code"]), (&json!("backoff"), &json!("BH0311")));
    assert_eq!((&status["lag"], &status["partitions"], &status["workers"]), (&json!(10), &json!(4), &json!(2)));
    assert_eq!((&status["totals"]["recordsIn"], &status["totals"]["fuel"]), (&json!(15), &json!(14)));
    assert!(status["reportAgeMs"].is_u64() && status["runningRevision"] == 1);
}

#[tokio::test]
async fn totals_survive_boots_repeats_and_late_reports() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let worker = server.worker();
    // The same again; a new boot; a late one of the old boot; an older one of the new.
    for (boot, records, total) in
        [("a", 10, 10), ("a", 10, 10), ("a", 25, 25), ("b", 3, 28), ("a", 10, 28), ("b", 1, 28), ("b", 4, 29)]
    {
        worker.post(REPORT, &report("pool-0", boot, 1, records)).await.expect(204);
        let totals = dev.get(AT).await.expect(200)["status"]["totals"].clone();
        assert_eq!(totals["recordsIn"], total, "after {boot} said {records}");
    }
}

#[tokio::test]
async fn initialised_partitions_reach_every_worker() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let before = poll(&server, POLL, None).await;
    assert_eq!(before.json()["pipelines"][0]["initialised"], json!({}));
    let mut said = report("pool-0", "a", 1, 1);
    said["pipelines"][0]["initialised"]["stranger"] = json!([0]);
    server.worker().post(REPORT, &said).await.expect(204);
    let after = poll(&server, POLL, Some(&etag(&before))).await;
    assert_eq!(after.json()["pipelines"][0]["initialised"], json!({"in": [0, 1]}));
    server.worker().post(REPORT, &report("pool-0", "a", 1, 2)).await.expect(204);
    assert_eq!(poll(&server, POLL, Some(&etag(&after))).await.status, 304, "nothing new, so nothing to fetch");
    dev.delete("/api/v1/tenants/acme/topics/in?force=true").await.expect(204);
    assert_eq!(poll(&server, POLL, None).await.json()["pipelines"][0]["initialised"], json!({}));
}

#[tokio::test]
async fn a_late_report_on_a_deleted_pipeline_is_not_the_new_ones() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    dev.delete(AT).await.expect(204);
    server.worker().post(REPORT, &report("pool-0", "a", 1, 10)).await.expect(204);
    assert_eq!(dev.put(AT, MANIFEST).await.expect(201)["revision"], 2);
    // Another count than before, or it would be taken for a repeat.
    server.worker().post(REPORT, &report("pool-0", "a", 1, 11)).await.expect(204);
    let status = dev.get(AT).await.expect(200)["status"].clone();
    assert_eq!((&status["totals"]["recordsIn"], &status["phase"]), (&json!(0), &Value::Null));
    assert_eq!(poll(&server, POLL, None).await.json()["pipelines"][0]["initialised"], json!({}));
}

#[tokio::test]
async fn reports_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    let worker = server.worker();
    worker.post(REPORT, &json!({})).await.refused(400, "BH0007");
    worker.post(REPORT, &report("Bad Slot", "a", 1, 1)).await.refused(400, "BH0007");
    worker.post(REPORT, &report("pool-0", "", 1, 1)).await.refused(400, "BH0007");
    worker.post(REPORT, &report("pool-0", &"x".repeat(65), 1, 1)).await.refused(400, "BH0007");
}

#[tokio::test]
async fn modules_are_fetched_by_tenant_and_digest() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    server.tenant("globex").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let digest = dev.get(AT).await.expect(200)["modules"]["first"].as_str().unwrap().to_owned();
    let bytes = server.worker().get(&format!("/internal/v1/modules/acme/{digest}")).await;
    assert_eq!((bytes.status, &bytes.headers["content-type"]), (200, &"application/wasm".parse().unwrap()));
    assert_eq!(bytes.text.as_bytes(), crate::harness::component("1"));
    server.worker().get(&format!("/internal/v1/modules/globex/{digest}")).await.refused(404, "BH0005");
    server.worker().get("/internal/v1/modules/acme/sha256:00").await.refused(400, "BH0007");
}

#[tokio::test]
async fn stages_are_summed_over_the_workers_that_run_them() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    for (worker, records) in [("pool-0", 10), ("pool-1", 5)] {
        let mut said = report(worker, "1", 1, records);
        let first = json!({"records_in": records, "records_out": 2 * records, "faults": 1, "fuel": 100});
        said["pipelines"][0]["stages"] = json!({"first": first, "former": first});
        let heard = server.worker_in(worker, None).post(REPORT, &said).await;
        assert!(matches!(heard.status, 200 | 204), "{heard:?}");
    }
    let stages = dev.get(&format!("{AT}/stages")).await.expect(200);
    let items = stages["items"].as_array().unwrap();
    let shown: Vec<_> = items.iter().map(|item| (item["stage"].as_str().unwrap(), &item["recordsIn"])).collect();
    assert_eq!(shown, [("first", &json!(15)), ("last", &json!(0))], "in running order, and none that is no more");
    assert_eq!((&items[0]["recordsOut"], &items[0]["faults"], &items[0]["fuel"]), (&json!(30), &json!(2), &json!(200)));
    dev.get(&format!("{AT}x/stages")).await.refused(404, "BH0005");
}

#[tokio::test]
async fn a_worker_speaks_for_its_slot_and_its_scope_only() {
    let server = Server::start().await;
    for tenant in ["acme", "globex"] {
        let dev = ready(&server, tenant).await;
        dev.put(&format!("/api/v1/tenants/{tenant}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    }
    let own = server.worker_in("globex-0", Some("globex"));
    own.get(POLL).await.refused(403, "BH0004");
    own.post(REPORT, &report("pool-0", "a", 1, 1)).await.refused(403, "BH0004");
    // What it says of acme's pipeline is not heard, alone or among its own.
    own.post(REPORT, &report("globex-0", "a", 1, 1)).await.refused(404, "BH0005");
    let line = json!({"tenant": "acme", "project": "default", "pipeline": "p", "stage": null, "at_ms": 1, "level": "info",
        "code": null, "message": "forged"});
    own.post("/internal/v1/logs", &json!({"worker": "globex-0", "lines": [line]})).await.refused(404, "BH0005");
    let acme = server.client("acme", bulkhead_control::Role::Viewer);
    assert_eq!(acme.get(AT).await.expect(200)["status"]["phase"], Value::Null);
    assert_eq!(acme.get("/api/v1/tenants/acme/projects/default/logs").await.expect(200)["items"], json!([]));

    let mine = "/internal/v1/assignment?worker=globex-0";
    let told: bulkhead_core::assignment::Assignment = serde_json::from_str(&own.get(mine).await.text).unwrap();
    let tenants: Vec<_> = told.pipelines.iter().map(|pipeline| pipeline.key.tenant.as_str()).collect();
    assert_eq!(tenants, ["globex"]);
    // Both scopes are told of one generation, each its own.
    let pool: bulkhead_core::assignment::Assignment =
        serde_json::from_str(&poll(&server, POLL, None).await.text).unwrap();
    assert_eq!((pool.generation, pool.pipelines.len()), (told.generation, 2));
    assert_eq!(
        serde_json::from_str::<Value>(&own.get(mine).await.text).unwrap()["pipelines"].as_array().unwrap().len(),
        1
    );
    let mut said = report("globex-0", "a", 1, 3);
    said["pipelines"][0]["tenant"] = json!("globex");
    own.post(REPORT, &said).await.expect(204);
}
