//! A tenant's life: names that nobody may have, plans, suspension, export, and the erasure's report.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use bulkhead_control::{Access, Role, check_export, routes, verify_report};
use serde_json::{Value, json};

const ACME: &str = "/api/v1/tenants/acme";

#[tokio::test]
async fn names_that_others_treat_specially_are_nobodys() {
    let server = Server::start().await;
    let platform = server.platform();
    for name in [
        "admin",
        "kafka",
        "root",
        "system",
        "bulkhead",
        "default",
        "kube-system",
        "system-x",
        "adm1n",
        "b0lkhead",
        "a--b",
    ] {
        let refused = platform.post("/api/v1/tenants", &json!({"name": name})).await.refused(422, "BH0070");
        assert!(refused["detail"].as_str().unwrap().contains("choose another name"), "{refused}");
    }
    let long = "a".repeat(300);
    for name in ["Admin", "a.b", "a/b", "../x", "аcme", "acme\u{200b}", "", " ", "system:admin", "a_b", long.as_str()]
    {
        platform.post("/api/v1/tenants", &json!({"name": name})).await.refused(400, "BH0007");
    }
    let listed = platform.get("/api/v1/tenants").await.expect(200);
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn a_plan_says_how_much_and_two_changes_at_once_are_told_apart() {
    let server = Server::start().await;
    let platform = server.platform();
    platform.post("/api/v1/tenants", &json!({"name": "acme", "plan": "gold"})).await.refused(422, "BH0072");
    let made =
        platform.post("/api/v1/tenants", &json!({"name": "acme", "plan": "trial", "displayName": "Acme Ltd."})).await;
    assert_eq!(made.expect(201)["plan"], json!("trial"));
    let dev = server.client("acme", Role::Developer);
    let many = json!({"name": "in", "partitions": 9});
    dev.post(&format!("{ACME}/topics"), &many).await.refused(422, "BH0085");

    let shown = platform.get(ACME).await;
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(shown.expect(200)["displayName"], json!("Acme Ltd."));
    let change = r#"{"plan": "standard"}"#;
    let first = platform.send("PATCH", ACME, ("if-match", &tag), change).await;
    assert_eq!(first.expect(200)["plan"], json!("standard"));
    platform.send("PATCH", ACME, ("if-match", &tag), r#"{"displayName": "B"}"#).await.refused(412, "BH0013");
    let shown = platform.get(ACME).await.expect(200);
    assert_eq!((&shown["plan"], &shown["displayName"]), (&json!("standard"), &json!("Acme Ltd.")));
    dev.post(&format!("{ACME}/topics"), &many).await.expect(201);
    platform.send("PATCH", ACME, ("x-a", "b"), r#"{"plan": "Gold"}"#).await.refused(400, "BH0007");
    platform.send("PATCH", ACME, ("x-a", "b"), r#"{"name": "globex"}"#).await.refused(400, "BH0007");
    let plans = platform.get("/api/v1/plans").await.expect(200);
    assert_eq!(plans["items"][0]["name"], json!("standard"));
    assert_eq!(plans["items"][1]["limits"]["partitions"], json!(8));
}

#[tokio::test]
async fn a_suspended_tenant_reads_and_does_nothing_else() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(&format!("{ACME}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    let neighbour = ready(&server, "globex").await;
    neighbour.put("/api/v1/tenants/globex/projects/default/pipelines/p", MANIFEST).await.expect(201);
    let platform = server.platform();
    platform.post(&format!("{ACME}/suspend"), &json!({"reason": " "})).await.refused(400, "BH0007");
    platform.post(&format!("{ACME}/suspend"), &json!({"reason": "unpaid"})).await.expect(200);

    let told = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    let tenants: Vec<_> = told["pipelines"].as_array().unwrap().iter().map(|p| p["tenant"].clone()).collect();
    assert_eq!(tenants, ["globex"], "it is told to nobody");
    let admin = server.client("acme", Role::TenantAdmin);
    let mut refused = 0;
    for route in routes().iter().filter(|route| matches!(route.access, Access::Tenant(_))) {
        let path = [
            ("{tenant}", "acme"),
            ("{project}", "default"),
            ("{module}", "m"),
            ("{tag}", "v1"),
            ("{pipeline}", "p"),
            ("{topic}", "in"),
            ("{letter}", "0-0"),
            ("{revision}", "1"),
        ]
        .iter()
        .fold(route.path.to_owned(), |path, (name, value)| path.replace(name, value));
        if path.contains('{') {
            continue;
        }
        let answer = crate::client::Answer::of(admin.request(route.method, &path).send().await.unwrap()).await;
        if route.method == "GET" || path.ends_with("/diff") {
            assert_ne!(answer.status, 423, "{route:?}");
        } else {
            let words = answer.refused(423, "BH0071")["detail"].as_str().unwrap().to_owned();
            assert!(words.contains("unpaid"), "{words}");
            refused += 1;
        }
    }
    assert!(refused > 10, "only {refused}");
    neighbour.post("/api/v1/tenants/globex/topics", &json!({"name": "more"})).await.expect(201);

    let resumed = platform.post(&format!("{ACME}/resume"), &json!({})).await.expect(200);
    assert_eq!(resumed.get("suspended"), None);
    let told = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    assert_eq!(told["pipelines"].as_array().unwrap().len(), 2);
    admin.post(&format!("{ACME}/topics"), &json!({"name": "more"})).await.expect(201);
}

/// What every worker has let go of is said only when it has: a generation that it has merely heard of is not enough.
#[tokio::test]
async fn a_suspension_is_in_effect_when_workers_say_so() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(&format!("{ACME}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    let mut report = crate::workers::report("pool-0", "1", 1, 10);
    report["settled"] = json!(1);
    server.worker().post("/internal/v1/report", &report).await.expect(204);
    server.platform().post(&format!("{ACME}/suspend"), &json!({"reason": "unpaid"})).await.expect(200);
    let told = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    let stopped = async || server.platform().get(ACME).await.expect(200)["suspended"]["stopped"].clone();
    report["generation"] = told["generation"].clone();
    server.worker().post("/internal/v1/report", &report).await.expect(204);
    assert_eq!(stopped().await, json!(false), "it has only heard of it");
    report["settled"] = told["generation"].clone();
    server.worker().post("/internal/v1/report", &report).await.expect(204);
    assert_eq!(stopped().await, json!(true));
}

#[tokio::test]
async fn an_export_is_whole_and_is_one_tenants() {
    let server = Server::start().await;
    for tenant in ["acme", "globex"] {
        let dev = ready(&server, tenant).await;
        let at = format!("/api/v1/tenants/{tenant}");
        dev.put(&format!("{at}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
        let record = json!({"key": format!("key-of-{tenant}"), "value": format!("value-of-{tenant}")});
        dev.post(&format!("{at}/topics/in/records"), &record).await.expect(200);
    }
    let admin = server.client("acme", Role::TenantAdmin);
    let export = admin.get(&format!("{ACME}/export")).await;
    assert_eq!(export.headers["content-type"], "application/x-ndjson");
    let end = check_export(&mut export.text.as_bytes()).unwrap();
    for kind in ["export", "project", "module", "module-bytes", "pipeline", "revision", "topic", "record", "audit"] {
        assert!(end["kinds"][kind].as_u64().unwrap_or_default() > 0, "no {kind}: {end}");
    }
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["tenant"], &lines[0]["format"]), (&json!("acme"), &json!("bulkhead-export/1")));
    let record = lines.iter().find(|line| line["kind"] == json!("record")).unwrap();
    assert_eq!((&record["key"], &record["value"]), (&json!("key-of-acme"), &json!("value-of-acme")));
    assert!(!export.text.contains("globex"), "something of the neighbour's");
    let bare = admin.get(&format!("{ACME}/export?records=false")).await.text;
    assert!(check_export(&mut bare.as_bytes()).unwrap()["kinds"].get("record").is_none());
}

#[tokio::test]
async fn an_erasure_ends_with_a_report_that_anybody_can_check() {
    let server = Server::start().await;
    ready(&server, "acme").await;
    let platform = server.platform();
    server.ports.topics.set_stuck(2);
    let erasure = platform.delete(ACME).await.expect(202);
    assert_eq!(erasure["remaining"], json!(["2 objects"]), "what is left is said");
    let keys = server.anybody().get("/.well-known/jwks.json").await.expect(200);
    let unfinished = verify_report(erasure["report"].as_str().unwrap(), &keys, None).unwrap();
    assert_eq!(unfinished["complete"], json!(false), "what is left makes it incomplete");
    platform.post("/api/v1/tenants", &json!({"name": "acme"})).await.refused(409, "BH0010");

    server.ports.topics.set_stuck(0);
    let server = server.restart().await;
    let control = std::sync::Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    let at = format!("/api/v1/erasures/{}", erasure["id"].as_str().unwrap());
    let platform = server.platform();
    server.until("it is complete", async || platform.get(&at).await.expect(200)["complete"] == json!(true)).await;
    let erasure = platform.get(&at).await.expect(200);
    let report = erasure["report"].as_str().unwrap();
    let document = verify_report(report, &keys, Some(&"acme".parse().unwrap())).unwrap();
    assert_eq!((&document["complete"], &document["by"]), (&json!(true), &json!("operator")));
    assert!(document["deleted"]["topics"].as_u64() > Some(0) && document["deleted"]["rows of modules"] == json!(1));
    assert!(!document.to_string().contains("acme") && !erasure.to_string().contains("acme"), "the name has to go too");
    assert!(verify_report(report, &keys, Some(&"globex".parse().unwrap())).is_err());
    let changed = report.replacen(&report[report.len() / 2..report.len() / 2 + 2], "zz", 1);
    assert!(verify_report(&changed, &keys, None).is_err());
    let token = server.control.issuer().mint(&bulkhead_control::Grant::new("x", None, Role::PlatformAdmin)).unwrap();
    assert!(verify_report(&token, &keys, None).is_err(), "a token is no report");
    server.with_token(report).get("/api/v1/tenants").await.refused(401, "BH0002");
    server.client("globex", Role::TenantAdmin).get(&at).await.refused(403, "BH0004");

    for file in ["control.db", "control.db-wal"] {
        let bytes = std::fs::read(server.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(4).any(|window| window == b"acme"), "{file} still holds the name");
    }
    platform.post("/api/v1/tenants", &json!({"name": "acme"})).await.expect(201);
    server.control.stop();
    background.await.unwrap();
}

/// Its people and programs do not all stop asking at once; what they send must not bring back what was forgotten.
#[tokio::test]
async fn who_goes_on_with_an_old_token_leaves_no_trace_of_the_tenant() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    server.platform().delete(ACME).await.expect(200);
    dev.get(&format!("{ACME}/topics")).await.refused(404, "BH0005");
    dev.post(&format!("{ACME}/topics"), &json!({"name": "in"})).await.refused(404, "BH0005");
    for file in ["control.db", "control.db-wal"] {
        let bytes = std::fs::read(server.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(4).any(|window| window == b"acme"), "{file} holds the name again");
    }
}
