//! Of two who change what both have read, one is told; and two at once never make a mixture.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use bulkhead_control::Role;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";

fn linger(n: usize) -> String {
    MANIFEST.replace("deadLetter", &format!("batch: {{lingerMs: {n}}}\ndeadLetter"))
}

#[tokio::test]
async fn a_change_to_what_somebody_else_changed_is_refused() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.send("PUT", AT, ("if-match", "*"), MANIFEST).await.refused(412, "BH0013");
    let made = dev.send("PUT", AT, ("if-none-match", "*"), MANIFEST).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let read = dev.get(AT).await.etag();
    assert_eq!(made.etag(), read, "what made it and what reads it name the same state");
    dev.send("PUT", AT, ("if-none-match", "*"), linger(1)).await.refused(412, "BH0013");

    let paused = dev.send("POST", &format!("{AT}/pause"), ("if-match", &read), "").await;
    assert_eq!((paused.status, dev.get(AT).await.etag()), (200, paused.etag()));
    for (method, path) in
        [("POST", "/resume"), ("POST", "/rollback"), ("PUT", ""), ("PUT", "?dryRun=true"), ("DELETE", "")]
    {
        let body = if path == "/rollback" { json!({"revision": 1}).to_string() } else { linger(2) };
        dev.send(method, &format!("{AT}{path}"), ("if-match", &read), body).await.refused(412, "BH0013");
    }
    let changed = dev.send("PUT", AT, ("if-match", &paused.etag()), linger(3)).await;
    assert_eq!((changed.status, &changed.json()["revision"]), (200, &json!(2)));
    dev.send("PUT", AT, ("if-match", "no quotes"), linger(4)).await.refused(400, "BH0007");
    assert_eq!(dev.send("DELETE", AT, ("if-match", &changed.etag()), "").await.status, 204);
    let again = dev.put(AT, MANIFEST).await;
    assert_ne!(again.etag(), read, "a pipeline made again is another");
}

#[tokio::test]
async fn projects_and_tags_keep_their_conditions_too() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let project = "/api/v1/tenants/acme/projects/shop";
    let made = dev.post("/api/v1/tenants/acme/projects", &json!({"name": "shop"})).await;
    assert_eq!(made.etag(), dev.get(project).await.etag());
    dev.send("DELETE", project, ("if-match", "\"other\""), "").await.refused(412, "BH0013");
    assert_eq!(dev.send("DELETE", project, ("if-match", &made.etag()), "").await.status, 204);

    let tag = "/api/v1/tenants/acme/projects/default/modules/m/tags/latest";
    let read = dev.get(tag).await;
    let body = json!({"digest": read.json()["digest"]}).to_string();
    dev.send("PUT", tag, ("if-none-match", "*"), body.clone()).await.refused(412, "BH0013");
    dev.send("PUT", tag, ("if-match", "\"other\""), body.clone()).await.refused(412, "BH0013");
    assert_eq!(dev.send("PUT", tag, ("if-match", &read.etag()), body).await.status, 200);
    dev.send("DELETE", tag, ("if-match", "\"other\""), "").await.refused(412, "BH0013");
}

#[tokio::test]
async fn of_many_applies_with_one_tag_one_wins() {
    let server = Arc::new(Server::start().await);
    let dev = ready(&server, "acme").await;
    let tag = dev.put(AT, MANIFEST).await.etag();
    // None of these is what the manifest has by default: an apply that changes nothing is welcome besides.
    let applies = (101..=112).map(|n| {
        let (dev, tag) = (server.client("acme", Role::Developer), tag.clone());
        tokio::spawn(async move { dev.send("PUT", AT, ("if-match", &tag), linger(n)).await })
    });
    let mut statuses = Vec::new();
    for apply in applies.collect::<Vec<_>>() {
        let answer = apply.await.unwrap();
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 11]].concat());
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 2);
}

#[tokio::test]
async fn applies_at_once_serialise_and_each_is_answered_with_its_own() {
    let server = Arc::new(Server::start().await);
    let dev = ready(&server, "acme").await;
    let applies = (1..=12).map(|n| {
        let dev = server.client("acme", Role::Developer);
        tokio::spawn(async move { (n, dev.put(AT, linger(n)).await) })
    });
    let mut revisions = BTreeSet::new();
    for apply in applies.collect::<Vec<_>>() {
        let (n, answer) = apply.await.unwrap();
        let view = answer.json();
        let revision = view["revision"].as_u64().unwrap();
        assert_eq!(view["manifest"], linger(n), "revision {revision} was answered with another's manifest");
        let kept = dev.get(&format!("{AT}/revisions/{revision}")).await.expect(200);
        assert_eq!(kept["manifest"], linger(n));
        revisions.insert(revision);
    }
    assert_eq!(revisions, (1..=12).collect());
    let last = dev.get(AT).await.expect(200);
    assert_eq!(last["manifest"], dev.get(&format!("{AT}/revisions/12")).await.expect(200)["manifest"]);
}
