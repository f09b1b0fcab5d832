//! What was applied stays to be seen, compared and gone back to.

use crate::harness::{Server, component};
use crate::pipelines::{MANIFEST, ready};
use serde_json::{Value, json};

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";
const MODULE: &str = "/api/v1/tenants/acme/projects/default/modules/m";

fn paths(answer: &Value) -> Vec<&str> {
    answer["changes"].as_array().unwrap().iter().map(|change| change["path"].as_str().unwrap()).collect()
}

fn latest() -> String {
    MANIFEST.replace("{topic: in}", "{topic: in, start: latest}") + "# a remark\n"
}

#[tokio::test]
async fn every_applied_manifest_is_kept_as_it_was_written() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    assert_eq!(dev.put(AT, MANIFEST).await.expect(201)["applied"], "created");
    assert_eq!(dev.put(AT, latest()).await.expect(200)["applied"], "changed");
    assert_eq!(dev.put(AT, latest()).await.expect(200)["applied"], "unchanged");
    let list = dev.get(&format!("{AT}/revisions")).await.expect(200);
    let shown: Vec<_> = list["items"].as_array().unwrap().iter().map(|r| (&r["revision"], &r["current"])).collect();
    assert_eq!(shown, [(&json!(2), &json!(true)), (&json!(1), &json!(false))]);
    assert_eq!(list["items"][0].get("manifest"), None, "a list is no place for whole manifests");
    let page = dev.get(&format!("{AT}/revisions?limit=1")).await.expect(200);
    assert_eq!((&page["items"][0]["revision"], &page["next"]), (&json!(2), &json!("2")));
    let page = dev.get(&format!("{AT}/revisions?limit=1&after=2")).await.expect(200);
    assert_eq!(page["items"][0]["revision"], 1);
    let second = dev.get(&format!("{AT}/revisions/2")).await.expect(200);
    assert_eq!((&second["manifest"], &second["appliedBy"]), (&json!(latest()), &json!("developer@acme")));
    dev.get(&format!("{AT}/revisions/3")).await.refused(404, "BH0005");
    dev.get(&format!("{AT}/revisions/one")).await.refused(400, "BH0007");
    dev.get(&format!("{AT}/revisions?after=x")).await.refused(400, "BH0007");
}

#[tokio::test]
async fn going_back_brings_the_modules_of_that_time() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let first = dev.put(AT, MANIFEST).await.expect(201);
    dev.put(MODULE, component("2")).await.expect(201);
    let second = dev.put(AT, latest()).await.expect(200);
    assert_ne!(first["modules"], second["modules"]);
    let back = dev.post(&format!("{AT}/rollback"), &json!({"revision": 1})).await.expect(200);
    assert_eq!((&back["revision"], &back["applied"]), (&json!(3), &json!("changed")));
    assert_eq!((&back["modules"], &back["manifest"]), (&first["modules"], &first["manifest"]));
    let third = dev.get(&format!("{AT}/revisions/3")).await.expect(200);
    assert_eq!((&third["rolledBackTo"], &third["current"]), (&json!(1), &json!(true)));
    let again = dev.post(&format!("{AT}/rollback"), &json!({"revision": 1})).await.expect(200);
    assert_eq!((&again["revision"], &again["applied"]), (&json!(3), &json!("unchanged")));
    dev.post(&format!("{AT}/rollback"), &json!({"revision": 9})).await.refused(404, "BH0005");
    dev.post(&format!("{AT}x/rollback"), &json!({"revision": 1})).await.refused(404, "BH0005");
}

#[tokio::test]
async fn what_is_gone_cannot_be_gone_back_to_and_all_of_it_is_told() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let first = dev.put(AT, MANIFEST).await.expect(201);
    dev.put(MODULE, component("2")).await.expect(201);
    for topic in ["in2", "out2", "dead2"] {
        dev.post("/api/v1/tenants/acme/topics", &json!({"name": topic})).await.expect(201);
    }
    let others = MANIFEST.replace("topic: in", "topic: in2").replace("topic: out", "topic: out2");
    dev.put(AT, others).await.expect(200);
    let digest = first["modules"]["first"].as_str().unwrap();
    dev.delete(&format!("/api/v1/tenants/acme/projects/default/modules/{digest}")).await.expect(204);
    dev.delete("/api/v1/tenants/acme/topics/in").await.expect(204);
    let problem = dev.post(&format!("{AT}/rollback"), &json!({"revision": 1})).await.refused(422, "BH0201");
    let mut codes: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["BH0205", "BH0205", "BH0207"]);
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 2);
}

#[tokio::test]
async fn a_dry_run_tells_everything_and_writes_nothing() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let dry = format!("{AT}?dryRun=true");
    let plan = dev.put(&dry, MANIFEST).await.expect(200);
    assert_eq!((&plan["dryRun"], &plan["applied"], &plan["revision"]), (&json!(true), &json!("created"), &Value::Null));
    dev.get(AT).await.refused(404, "BH0005");
    let made = dev.put(AT, MANIFEST).await.expect(201);
    let generation =
        async || server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200)["generation"].clone();
    let before = generation().await;
    let plan = dev.put(&format!("{dry}&start=latest"), latest()).await.expect(200);
    assert_eq!((&plan["applied"], &plan["revision"], &plan["start"]), (&json!("changed"), &json!(1), &json!("latest")));
    assert_eq!(plan["changes"], json!([{"path": "inputs.in.start", "from": "earliest", "to": "latest"}]));
    assert_eq!(plan["modules"], made["modules"]);
    let broken = dev.put(&dry, latest().replace("{topic: out}", "{topic: nowhere}")).await.refused(422, "BH0201");
    assert_eq!(broken["errors"][0]["code"], "BH0207");
    let back = dev.post(&format!("{AT}/rollback?dryRun=true"), &json!({"revision": 1})).await.expect(200);
    assert_eq!((&back["applied"], &back["changes"]), (&json!("unchanged"), &json!([])));
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 1);
    assert_eq!(generation().await, before, "workers must not hear of a dry run");
    let audit = server.client("acme", bulkhead_control::Role::TenantAdmin).get("/api/v1/tenants/acme/audit").await;
    let audit = audit.expect(200);
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["kind"] == "decision")
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions.iter().filter(|action| **action == "pipelines.apply").count(), 1, "{actions:?}");
    for odd in ["dryRun=True", "dryRun=1", "dry%52un=true", "dryRun=%74rue"] {
        dev.put(&format!("{AT}?{odd}"), latest()).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn manifests_and_revisions_are_compared() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let new = dev.post_text(&format!("{AT}/diff"), MANIFEST).await.expect(200);
    assert_eq!((&new["from"], paths(&new).contains(&"stages")), (&Value::Null, true));
    dev.put(AT, MANIFEST).await.expect(201);
    dev.put(AT, latest()).await.expect(200);
    let against = dev.post_text(&format!("{AT}/diff"), MANIFEST).await.expect(200);
    assert_eq!((&against["from"], &against["to"], paths(&against)), (&json!(2), &Value::Null, vec!["inputs.in.start"]));
    let two = dev.post_text(&format!("{AT}/diff?from=1&to=2"), "").await.expect(200);
    assert_eq!(two["changes"], json!([{"path": "inputs.in.start", "from": "earliest", "to": "latest"}]));
    assert_eq!(paths(&dev.post_text(&format!("{AT}/diff?to=2"), "").await.expect(200)), [""; 0]);
    dev.post_text(&format!("{AT}/diff?to=7"), "").await.refused(404, "BH0005");
    dev.post_text(&format!("{AT}/diff?to=1"), MANIFEST).await.refused(400, "BH0007");
    dev.post_text(&format!("{AT}/diff"), "").await.refused(422, "BH0201");
    assert_eq!(dev.get(AT).await.expect(200)["revision"], 2);
}

#[tokio::test]
async fn revisions_are_bounded_and_end_with_their_pipeline() {
    let server = Server::with(|config| config.quotas.revisions = 2).await;
    let dev = ready(&server, "acme").await;
    for n in 1..=4 {
        dev.put(AT, MANIFEST.replace("deadLetter", &format!("batch: {{lingerMs: {n}}}\ndeadLetter"))).await;
    }
    let numbers = async || {
        let list = dev.get(&format!("{AT}/revisions")).await.expect(200);
        list["items"].as_array().unwrap().iter().map(|r| r["revision"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers().await, [4, 3]);
    dev.delete(AT).await.expect(204);
    dev.get(&format!("{AT}/revisions")).await.refused(404, "BH0005");
    dev.put(AT, MANIFEST).await.expect(201);
    assert_eq!(numbers().await, [5]);
}
