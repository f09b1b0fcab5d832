//! Plans, limits of one tenant's own, and what whoever meets a limit is told.

use crate::client::Client;
use crate::harness::{Server, component};
use crate::pipelines::{MANIFEST, ready};
use crate::workers::report;
use bulkhead_control::Role;
use serde_json::{Value, json};

const ACME: &str = "/api/v1/tenants/acme";
const LIMITS: &str = "/api/v1/tenants/acme/limits";
const GOLD: &str = "/api/v1/plans/gold";
const IN: &str = "/api/v1/tenants/acme/topics/in/records";

async fn limit(client: &Client, name: &str) -> Value {
    let limits = client.get(LIMITS).await.expect(200);
    limits["items"].as_array().unwrap().iter().find(|limit| limit["name"] == name).unwrap().clone()
}

async fn change(server: &Server, limits: Value) -> Value {
    server.platform().send("PATCH", ACME, ("x-a", "b"), json!({"limits": limits}).to_string()).await.expect(200)
}

#[tokio::test]
async fn a_plan_is_made_changed_and_deleted_while_the_server_runs() {
    let server = Server::start().await;
    let platform = server.platform();
    let made = platform.put(GOLD, json!({"limits": {"topics": 1}}).to_string()).await;
    let tag = made.headers["etag"].to_str().unwrap().to_owned();
    let made = made.expect(201);
    assert_eq!((&made["limits"]["topics"], &made["limits"]["modules"]), (&json!(1), &json!(1_000)));
    assert_eq!((&made["says"], &made["changed"]), (&json!(["topics"]), &json!(true)));
    platform.post("/api/v1/tenants", &json!({"name": "acme", "plan": "gold"})).await.expect(201);
    let dev = server.client("acme", Role::Developer);
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "a"})).await.expect(201);
    let more = json!({"name": "b"});
    let refused = dev.post("/api/v1/tenants/acme/topics", &more).await.refused(422, "BH0085");
    let told = ["limit", "used", "allowed", "unit"].map(|member| refused[member].clone());
    assert_eq!(told, [json!("topics"), json!(1), json!(1), json!("count")]);

    let two = json!({"limits": {"topics": 2}}).to_string();
    platform.send("PUT", GOLD, ("if-match", "\"0.0\""), two.clone()).await.refused(412, "BH0013");
    platform.send("PUT", GOLD, ("if-match", &tag), two).await.expect(200);
    dev.post("/api/v1/tenants/acme/topics", &more).await.expect(201);

    for (bad, code) in [(json!({"topcis": 1}), "BH0088"), (json!({"partitions": 0}), "BH0089")] {
        platform.put(GOLD, json!({"limits": bad}).to_string()).await.refused(422, code);
    }
    platform.put(GOLD, r#"{"limits": {"topics": -1}}"#).await.refused(400, "BH0007");
    platform.delete(GOLD).await.refused(409, "BH0090");
    platform.delete("/api/v1/plans/standard").await.refused(409, "BH0090");
    platform.send("PATCH", ACME, ("x-a", "b"), r#"{"plan": "standard"}"#).await.expect(200);
    platform.delete(GOLD).await.expect(204);
    platform.get(GOLD).await.refused(404, "BH0005");
    dev.get("/api/v1/plans/standard").await.refused(403, "BH0004");
}

#[tokio::test]
async fn what_an_admin_said_outlives_a_restart_and_the_file_is_asked_for_the_rest() {
    let server = Server::with(|config| config.quotas.topics = 7).await;
    server.platform().put(GOLD, r#"{"limits": {"modules": 5}}"#).await.expect(201);
    server.platform().put("/api/v1/plans/trial", r#"{"limits": {"modules": 6}}"#).await.expect(200);
    let server = server.restart_with(|config| config.quotas.topics = 8).await;
    let plans = server.platform().get("/api/v1/plans").await.expect(200);
    let said: Vec<_> = plans["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plan| json!([plan["name"], plan["limits"]["topics"], plan["limits"]["modules"]]))
        .collect();
    assert_eq!(said, [json!(["gold", 8, 5]), json!(["standard", 8, 1_000]), json!(["trial", 8, 6])]);
}

#[tokio::test]
async fn a_tenant_has_limits_of_its_own_and_sees_what_it_uses() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(&format!("{ACME}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    let topics = limit(&dev, "topics").await;
    let shown = ["used", "limit", "unit", "from", "default", "min"].map(|field| topics[field].clone());
    assert_eq!(shown, [json!(3), json!(1_000), json!("count"), json!("default"), json!(1_000), json!(0)]);
    assert_eq!(limit(&dev, "stages").await["used"], json!(2));
    assert_eq!(limit(&dev, "modules").await["used"], json!(1));

    dev.send("PATCH", ACME, ("x-a", "b"), r#"{"limits": {"topics": 9}}"#).await.refused(403, "BH0004");
    change(&server, json!({"topics": 3, "stages": 2})).await;
    assert_eq!(limit(&server.platform(), "topics").await["from"], json!("override"));
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "more"})).await.refused(422, "BH0085");
    let other = MANIFEST.replace("name: p", "name: q");
    let q = format!("{ACME}/projects/default/pipelines/q");
    assert_eq!(dev.put(&q, other.clone()).await.refused(422, "BH0085")["limit"], json!("stages"));
    change(&server, json!({"topics": null, "stages": null, "guestMemoryBytes": 1 << 20})).await;
    assert_eq!(dev.put(&q, other.clone()).await.refused(422, "BH0085")["limit"], json!("guestMemoryBytes"));
    change(&server, json!({"guestMemoryBytes": null})).await;
    dev.put(&q, other).await.expect(201);
    let platform = server.platform();
    for (bad, code) in [(json!({"nothing": 1}), "BH0088"), (json!({"burstSeconds": 0}), "BH0089")] {
        let bad = json!({"limits": bad}).to_string();
        platform.send("PATCH", ACME, ("x-a", "b"), bad).await.refused(422, code);
    }
}

#[tokio::test]
async fn workers_are_told_of_limits_and_which_part_of_a_rate_is_theirs() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(&format!("{ACME}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    server.tenant("idle").await;
    let told = async || server.worker().get("/internal/v1/assignment?worker=pool-0").await;
    let before = told().await;
    let tag = before.headers["etag"].clone();
    let tenants = before.expect(200)["tenants"].clone();
    assert_eq!(tenants.as_object().unwrap().keys().collect::<Vec<_>>(), ["acme"], "who runs nothing is not told of");
    change(&server, json!({"fuelPerSecond": 5_000_000})).await;
    let after = told().await;
    assert_ne!(after.headers["etag"], tag, "workers hear of it");
    assert_eq!(after.expect(200)["tenants"]["acme"]["fuel_per_second"], json!(5_000_000));

    let with = |worker: &str, partitions: u64| {
        let mut report = report(worker, worker, 1, 1);
        report["pipelines"][0]["partitions"] = json!(partitions);
        report["tenants"] = json!({"acme": {"fuelPerSecond": 1_000 * partitions, "bytesInPerSecond": 1,
            "bytesOutPerSecond": 1, "instances": 1, "guestMemoryBytes": 10}});
        report
    };
    const REPORT: &str = "/internal/v1/report";
    server.worker().post(REPORT, &with("pool-0", 3)).await.expect(204);
    let second = server.worker_in("pool-1", None).post(REPORT, &with("pool-1", 1)).await.expect(200);
    assert_eq!(second, json!({"shares": {"acme": 250}, "complete": false}));
    let first = server.worker().post(REPORT, &with("pool-0", 3)).await.expect(200);
    assert_eq!(first, json!({"shares": {"acme": 750}, "complete": false}));
    assert_eq!(limit(&dev, "fuelPerSecond").await["used"], json!(4_000));
    assert_eq!(limit(&dev, "guestMemoryBytes").await["used"], json!(10), "of each worker, the one that has most");
}

#[tokio::test]
async fn whoever_writes_faster_than_its_rate_is_told_when_to_come_again_and_a_neighbour_is_not() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let neighbour = ready(&server, "globex").await;
    change(&server, json!({"bytesOutPerSecond": 1_024, "burstSeconds": 1})).await;
    let line = format!("{{\"value\": \"{}\"}}\n", "x".repeat(8_000));
    dev.post_text(IN, line.clone()).await.expect(200);
    let refused = dev.post_text(IN, line.clone()).await;
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let refused = refused.refused(429, "BH0086");
    assert!((1..=8).contains(&wait), "{wait} s for 8,000 bytes at 1,024 a second");
    let told = ["limit", "allowed", "unit"].map(|member| refused[member].clone());
    assert_eq!(told, [json!("bytesOutPerSecond"), json!(1_024), json!("bytes/s")]);
    assert!(refused["freesAt"].as_str().unwrap().ends_with('Z'), "{refused}");
    let exact = refused["retryAfterMs"].as_u64().unwrap();
    assert!(exact > (wait - 1) * 1_000 && exact <= wait * 1_000 + 1, "{exact} ms, and {wait} s in the header");
    neighbour.post_text("/api/v1/tenants/globex/topics/in/records", line.clone()).await.expect(200);
    change(&server, json!({"bytesOutPerSecond": null, "burstSeconds": null})).await;
    dev.post_text(IN, line).await.expect(200);
}

#[tokio::test]
async fn compiling_has_its_hour_and_an_upload_its_bytes() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let at = |n: u32| format!("{ACME}/projects/default/modules/m{n}");
    change(&server, json!({"compileSecondsPerHour": 1})).await;
    // Each takes 400 ms of a core.
    for n in 0..3 {
        dev.put(&at(n), component(&n.to_string())).await.expect(201);
    }
    assert_eq!(limit(&dev, "compileSecondsPerHour").await["used"], json!(1));
    let refused = dev.put(&at(3), component("3")).await.refused(429, "BH0086");
    assert_eq!(refused["limit"], json!("compileSecondsPerHour"));
    dev.put(&at(4), component("2")).await.expect(200);
    change(&server, json!({"uploadBytes": 1_024})).await;
    let large = dev.put(&at(5), component(&"x".repeat(2_000))).await.refused(413, "BH0105");
    assert_eq!((&large["limit"], &large["allowed"]), (&json!("uploadBytes"), &json!(1_024)));
}
