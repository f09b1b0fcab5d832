//! A start at any deploy: positions become void exactly once, and never while a worker may still commit some.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use crate::workers::report;
use serde_json::{Value, json};
use std::sync::Arc;

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

async fn told(server: &Server) -> Value {
    server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200)
}

/// Returns after the background has looked at everything at least once: each erasure of a tenant is ended in a pass of its own.
async fn passes(server: &Server) {
    let platform = server.platform();
    for name in ["first", "second"] {
        server.tenant(name).await;
        server.ports.topics.set_stuck(1);
        let begun = platform.delete(&format!("/api/v1/tenants/{name}")).await.expect(202);
        server.ports.topics.set_stuck(0);
        let at = format!("/api/v1/erasures/{}", begun["id"].as_str().unwrap());
        server.until("a pass ends it", async || platform.get(&at).await.expect(200)["complete"] == true).await;
    }
}

#[tokio::test]
async fn a_new_pipeline_begins_where_it_is_told() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let made = dev.put(&format!("{AT}?start=offset:7"), MANIFEST).await.expect(201);
    assert_eq!(made["startingOver"], false, "there is nothing to begin anew");
    assert_eq!(told(&server).await["pipelines"][0]["spec"]["inputs"][0]["start"], json!({"offset": 7}));
    assert_eq!(dev.get(&format!("{AT}/revisions/1")).await.expect(200)["start"], "offset:7");
    for bad in ["never", "offset:-1", "time:noon", ""] {
        dev.put(&format!("{AT}?start={bad}"), MANIFEST).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn positions_become_void_when_workers_have_heard_and_left() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let worker = server.worker();
    dev.put(AT, MANIFEST).await.expect(201);
    worker.post("/internal/v1/report", &report("pool-0", "1", 1, 10)).await.expect(204);
    let before = told(&server).await;
    assert_eq!(before["pipelines"][0]["initialised"], json!({"in": [0, 1]}));
    server.ports.topics.set_members("acme/default/p", true);

    let again = dev.put(&format!("{AT}?start=time:2026-01-31T12:00:00Z"), MANIFEST).await.expect(200);
    assert_eq!(
        (&again["applied"], &again["startingOver"], &again["revision"]),
        (&json!("changed"), &json!(true), &json!(2))
    );
    let waiting = told(&server).await;
    assert_eq!((&waiting["pipelines"][0]["paused"], &waiting["pipelines"][0]["starts"]), (&json!(true), &json!(0)));

    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    // The worker has not heard yet: an empty group proves nothing.
    server.ports.topics.set_members("acme/default/p", false);
    passes(&server).await;
    assert!(!server.ports.topics.forgotten().contains(&"acme/default/p".to_owned()), "a worker did not know");
    let mut heard = report("pool-0", "1", 2, 10);
    heard["generation"] = waiting["generation"].clone();
    worker.post("/internal/v1/report", &heard).await.expect(204);
    server.until("it begins anew", async || dev.get(AT).await.expect(200)["startingOver"] == json!(false)).await;
    assert_eq!(server.ports.topics.forgotten().iter().filter(|group| *group == "acme/default/p").count(), 1);

    let after = told(&server).await;
    let pipeline = &after["pipelines"][0];
    assert_eq!(
        (&pipeline["paused"], &pipeline["starts"], &pipeline["initialised"]),
        (&json!(false), &json!(1), &json!({}))
    );
    assert_eq!(pipeline["spec"]["inputs"][0]["start"], json!({"timeMs": 1_769_860_800_000_i64}));
    assert_eq!(pipeline["incarnation"], before["pipelines"][0]["incarnation"]);
    // What the worker says of the positions before is no longer true.
    worker.post("/internal/v1/report", &report("pool-0", "1", 2, 11)).await.expect(204);
    assert_eq!(told(&server).await["pipelines"][0]["initialised"], json!({}));
    let mut since = report("pool-0", "1", 2, 12);
    since["pipelines"][0]["starts"] = json!(1);
    worker.post("/internal/v1/report", &since).await.expect(204);
    assert_eq!(told(&server).await["pipelines"][0]["initialised"], json!({"in": [0, 1]}));
    assert_eq!(dev.get(AT).await.expect(200)["status"]["totals"]["recordsIn"], 12, "what was done stays counted");
    server.control.stop();
    background.await.unwrap();
}

#[tokio::test]
async fn a_pipeline_made_again_is_told_apart_from_the_deleted_one() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let first = told(&server).await["pipelines"][0]["incarnation"].clone();
    dev.delete(AT).await.expect(204);
    dev.put(AT, MANIFEST).await.expect(201);
    let second = told(&server).await["pipelines"][0]["incarnation"].clone();
    assert_ne!(first, second);
    let mut late = report("pool-0", "1", 2, 10);
    late["pipelines"][0]["incarnation"] = first;
    server.worker().post("/internal/v1/report", &late).await.expect(204);
    let pipeline = told(&server).await["pipelines"][0].clone();
    assert_eq!(pipeline["initialised"], json!({}), "a worker that missed the deletion speaks of the former one");
}
