//! Dead letters over HTTP: whose they are, what they show, and what may be done with them how often.

use crate::client::Client;
use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use serde_json::{Value, json};

const LETTERS: &str = "/api/v1/tenants/acme/projects/default/pipelines/p/dead-letters";
const IN: &str = "/api/v1/tenants/acme/topics/in/records";
const DEAD: &str = "/api/v1/tenants/acme/topics/dead/records";

/// A dead letter as a worker would write it.
fn letter(module: &str, value: &str, changes: &[(&str, Option<&str>)]) -> Value {
    let mut headers = vec![("own".to_owned(), "kept".to_owned())];
    for (name, value) in [
        ("code", "BH0301"),
        ("topic", "in"),
        ("partition", "0"),
        ("offset", "41"),
        ("kind", "trap"),
        ("stage", "last"),
        ("module", module),
        ("project", "default"),
        ("pipeline", "p"),
        ("revision", "1"),
        ("reason", "unreachable"),
        ("fuel", "1234"),
        ("backtrace", "inner\nouter"),
    ] {
        match changes.iter().find(|(changed, _)| *changed == name) {
            Some((_, None)) => {}
            Some((_, Some(other))) => headers.push((format!("bulkhead-{name}"), (*other).to_owned())),
            None => headers.push((format!("bulkhead-{name}"), value.to_owned())),
        }
    }
    for (name, value) in changes.iter().filter(|(name, _)| matches!(*name, "left-out" | "value-bytes")) {
        headers.push((format!("bulkhead-{name}"), value.unwrap_or_default().to_owned()));
    }
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"key": "k", "value": value, "timestamp": 7, "headers": headers})
}

/// A tenant with the pipeline `p`, and its module's digest.
async fn with_pipeline(server: &Server) -> (Client, String) {
    let dev = ready(server, "acme").await;
    let made = dev.put("/api/v1/tenants/acme/projects/default/pipelines/p", MANIFEST).await.expect(201);
    let digest = made["modules"]["last"].as_str().unwrap().to_owned();
    (dev, digest)
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_pipelines_own_letters_are_listed_page_by_page_and_shown() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    let other = [("pipeline", Some("q"))];
    let elsewhere = [("project", Some("other"))];
    for changes in [&[][..], &other, &[], &elsewhere, &[("code", None)], &[("project", None)]] {
        dev.post(DEAD, &letter(&digest, "poison", changes)).await.expect(200);
    }
    let all = dev.get(LETTERS).await.expect(200);
    assert_eq!((ids(&all), &all["next"]), (vec!["0-0", "0-2", "0-5"], &Value::Null));
    let first = dev.get(&format!("{LETTERS}?limit=2")).await.expect(200);
    assert_eq!((ids(&first), &first["next"]), (vec!["0-0", "0-2"], &json!("0-2")));
    let second = dev.get(&format!("{LETTERS}?limit=2&after=0-2")).await.expect(200);
    assert_eq!((ids(&second), &second["next"]), (vec!["0-5"], &Value::Null));
    assert_eq!(ids(&dev.get(&format!("{LETTERS}?partition=1")).await.expect(200)), Vec::<&str>::new());

    let expected = json!({"id": "0-0", "code": "BH0301", "kind": "trap", "reason": "unreachable", "fuel": 1234,
        "stage": "last", "module": digest, "pipeline": "p", "revision": 1, "timestamp": 7, "state": "new",
        "source": {"topic": "in", "partition": 0, "offset": 41}});
    assert_eq!(all["items"][0], expected);
    let mut one = dev.get(&format!("{LETTERS}/0-0")).await.expect(200);
    let taken = |one: &mut Value, name: &str| one.as_object_mut().unwrap().remove(name).unwrap();
    let record = json!({"key": "k", "value": "poison", "timestamp": 7, "headers": [{"name": "own", "value": "kept"}]});
    assert_eq!(taken(&mut one, "record"), record);
    assert_eq!(taken(&mut one, "backtrace"), json!(["inner", "outer"]));
    assert_eq!(taken(&mut one, "complete"), json!(true));
    assert_eq!(one, expected);
    for missing in ["0-1", "0-3", "0-4", "0-99", "1-0", "7-0"] {
        dev.get(&format!("{LETTERS}/{missing}")).await.refused(404, "BH0005");
    }
    for bad in ["x", "0", "-1-0"] {
        dev.get(&format!("{LETTERS}/{bad}")).await.refused(400, "BH0007");
    }
    for bad in ["limit=0", "after=x", "colour=red"] {
        dev.get(&format!("{LETTERS}?{bad}")).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn a_replay_writes_the_record_again_once_for_its_pipeline() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    dev.post(DEAD, &letter(&digest, "poison", &[])).await.expect(200);
    let done = dev.post(&format!("{LETTERS}/0-0/replay"), &Value::Null).await.expect(200);
    assert_eq!((&done["state"], &done["replayedBy"]), (&json!("replayed"), &json!("developer@acme")));
    let headers = json!([{"name": "own", "value": "kept"}, {"name": "bulkhead-replay-of", "value": "default/p/0-0"}]);
    let record = json!({"offset": 0, "key": "k", "value": "poison", "timestamp": 7, "headers": headers});
    assert_eq!(dev.get(IN).await.expect(200)["records"], json!([record]));
    let shown = dev.get(&format!("{LETTERS}/0-0")).await.expect(200);
    assert_eq!((&shown["state"], &shown["replayedAt"]), (&json!("replayed"), &done["replayedAt"]));

    dev.post(&format!("{LETTERS}/0-0/replay"), &Value::Null).await.refused(409, "BH0034");
    dev.post(&format!("{LETTERS}/0-0/replay?again=true"), &Value::Null).await.expect(200);
    assert_eq!(dev.get(IN).await.expect(200)["next"], 2);
}

#[tokio::test]
async fn two_replays_at_once_write_one_record() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    dev.post(DEAD, &letter(&digest, "poison", &[])).await.expect(200);
    let once = || async { dev.post(&format!("{LETTERS}/0-0/replay"), &Value::Null).await.status };
    let mut told = [futures::join!(once(), once(), once())].map(|(a, b, c)| [a, b, c])[0];
    told.sort_unstable();
    assert_eq!(told, [200, 409, 409]);
    assert_eq!(dev.get(IN).await.expect(200)["next"], 1);
}

#[tokio::test]
async fn what_cannot_be_replayed_says_why_and_may_be_tried_again() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    dev.post(DEAD, &letter(&digest, "", &[("left-out", Some("value"))])).await.expect(200);
    dev.post(DEAD, &letter(&digest, "x", &[("topic", Some("elsewhere"))])).await.expect(200);
    dev.post(DEAD, &letter(&digest, "x", &[])).await.expect(200);
    assert_eq!(dev.get(&format!("{LETTERS}/0-0")).await.expect(200)["complete"], false);
    dev.post(&format!("{LETTERS}/0-0/replay"), &Value::Null).await.refused(422, "BH0035");
    dev.post(&format!("{LETTERS}/0-1/replay"), &Value::Null).await.refused(409, "BH0010");
    dev.delete("/api/v1/tenants/acme/topics/in?force=true").await.expect(204);
    dev.post(&format!("{LETTERS}/0-2/replay"), &Value::Null).await.refused(404, "BH0005");
    assert_eq!(dev.get(&format!("{LETTERS}/0-2")).await.expect(200)["state"], "new", "nothing was written");
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "in"})).await.expect(201);
    dev.post(&format!("{LETTERS}/0-2/replay"), &Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_dropped_letter_is_gone_until_its_topic_is_made_again() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    let put = async || dev.post(DEAD, &letter(&digest, "x", &[])).await.expect(200);
    put().await;
    put().await;
    dev.delete(&format!("{LETTERS}/0-0")).await.expect(204);
    assert_eq!(ids(&dev.get(LETTERS).await.expect(200)), ["0-1"]);
    dev.get(&format!("{LETTERS}/0-0")).await.refused(404, "BH0005");
    dev.delete(&format!("{LETTERS}/0-0")).await.refused(404, "BH0005");
    dev.post(&format!("{LETTERS}/0-0/replay?again=true"), &Value::Null).await.refused(404, "BH0005");
    dev.delete("/api/v1/tenants/acme/topics/dead?force=true").await.expect(204);
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "dead"})).await.expect(201);
    put().await;
    assert_eq!(ids(&dev.get(LETTERS).await.expect(200)), ["0-0"], "another record has that place now");
}

#[tokio::test]
async fn a_bundle_holds_what_another_machine_needs() {
    let server = Server::start().await;
    let (dev, digest) = with_pipeline(&server).await;
    dev.post(DEAD, &letter(&digest, "poison", &[])).await.expect(200);
    let answer = dev.get(&format!("{LETTERS}/0-0/bundle")).await.expect(200);
    let bundle: bulkhead_core::replay::Bundle = serde_json::from_value(answer).unwrap();
    assert_eq!((bundle.spec.stages.len(), bundle.letter.source.offset, bundle.timestamp), (2, 41, 7));
    assert_eq!((bundle.key.as_deref(), bundle.value.as_deref()), (Some(&b"k"[..]), Some(&b"poison"[..])));
    assert_eq!(bundle.headers.len(), 1);
    assert_eq!(bundle.topic_limits[&"out".parse().unwrap()], 1 << 20);
    let content = dev.get(&format!("/api/v1/tenants/acme/projects/default/modules/{digest}/content")).await;
    assert_eq!((content.status, content.text.as_bytes()), (200, &crate::harness::component("1")[..]));
    server
        .client("acme", bulkhead_control::Role::Viewer)
        .get(&format!("{LETTERS}/0-0/bundle"))
        .await
        .refused(403, "BH0004");
}
