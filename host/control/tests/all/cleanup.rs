//! What a deleted pipeline takes along, and when: after its workers, whatever is away, and over restarts.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use crate::workers::report;
use serde_json::json;
use std::sync::Arc;

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

async fn incarnation(server: &Server) -> String {
    let told = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    told["pipelines"][0]["incarnation"].as_str().unwrap().to_owned()
}

/// A worker that has not heard of it may be between two memberships: that the group is empty proves nothing.
#[tokio::test]
async fn nothing_goes_before_every_worker_has_heard() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let first = incarnation(&server).await;
    server.worker().post("/internal/v1/report", &report("pool-0", "1", 1, 10)).await.expect(204);
    dev.delete(AT).await.expect(202);
    assert_eq!(dev.put(AT, MANIFEST).await.refused(409, "BH0010")["code"], "BH0010");
    assert_eq!((server.ports.topics.forgotten(), server.ports.topics.cleared()), (vec![], vec![]));

    let told = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    let mut heard = report("pool-0", "1", 1, 10);
    heard["generation"] = told["generation"].clone();
    server.worker().post("/internal/v1/report", &heard).await.expect(204);
    dev.put(AT, MANIFEST).await.expect(201);
    assert_ne!(incarnation(&server).await, first);
    assert_eq!(server.ports.topics.forgotten(), ["acme/default/p"]);
    assert_eq!(server.ports.topics.cleared(), [format!("outputs of acme/default/p {first}")]);
}

/// The name is free as soon as the log has nothing of it any more; what the bucket has is found by the making that it belongs to.
#[tokio::test]
async fn staged_objects_go_when_the_bucket_is_back_over_a_restart_and_a_new_pipeline_of_the_name() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    server.ports.topics.set_bucket_away(true);
    let mut makings = Vec::new();
    for _ in 0..2 {
        dev.put(AT, MANIFEST).await.expect(201);
        makings.push(incarnation(&server).await);
        dev.delete(AT).await.expect(204);
    }
    dev.put(AT, MANIFEST).await.expect(201);
    let server = server.restart().await;
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    server.ports.topics.set_bucket_away(false);
    let staged = || {
        let mut all = server.ports.topics.cleared();
        all.retain(|cleared| cleared.starts_with("staged"));
        all
    };
    server.until("staged objects are gone", async || staged().len() >= 2).await;
    let wanted: Vec<_> = makings.iter().map(|making| format!("staged of acme/default/p {making}")).collect();
    assert_eq!(staged(), wanted, "of the deleted ones, and of no other");
    let dev = server.client("acme", bulkhead_control::Role::Developer);
    assert_eq!(dev.get(AT).await.expect(200)["paused"], json!(false));
    server.control.stop();
    background.await.unwrap();
}

/// A log that is away holds a deletion up, and ends none.
#[tokio::test]
async fn a_deletion_waits_for_the_log() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    let first = incarnation(&server).await;
    server.ports.topics.set_away(true);
    dev.delete(AT).await.expect(202);
    let server = server.restart().await;
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    server.ports.topics.set_away(false);
    let wanted = ["outputs", "staged"].map(|what| format!("{what} of acme/default/p {first}"));
    server.until("all of it is gone", async || server.ports.topics.cleared().len() >= 2).await;
    assert_eq!(server.ports.topics.cleared(), wanted);
    server.control.stop();
    background.await.unwrap();
}
