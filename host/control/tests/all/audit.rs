//! The audit: that each decision leaves a line, what became of it another, and who may read them. That they cannot be changed unseen is
//! in [`crate::chains`].

use crate::harness::{Server, component};
use bulkhead_control::{Grant, Role};
use serde_json::{Value, json};

/// The platform's own lines, newest first.
pub(crate) async fn platform_lines(server: &Server) -> Vec<Value> {
    let page = server.platform().get("/api/v1/audit?limit=1000").await.expect(200);
    page["items"].as_array().unwrap().clone()
}

async fn rows(server: &Server, tenant: &str) -> Vec<Value> {
    let path = format!("/api/v1/tenants/{tenant}/audit?limit=1000");
    let page = server.client(tenant, Role::TenantAdmin).get(&path).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_decision_leaves_a_row_with_who_what_and_which_request() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let path = "/api/v1/tenants/acme/projects/default/modules/m";
    let done = dev.put(path, component("1")).await;
    let id = done.headers["x-request-id"].to_str().unwrap().to_owned();
    done.expect(201);
    server.client("acme", Role::Viewer).put(path, component("1")).await.refused(403, "BH0004");
    let rows = rows(&server, "acme").await;
    let of_it = |kind: &str| {
        let row = rows.iter().find(|row| row["requestId"] == id.as_str() && row["kind"] == kind);
        row.unwrap_or_else(|| panic!("the upload has no {kind}")).clone()
    };
    let allowed = of_it("decision");
    assert_eq!((&allowed["subject"], &allowed["action"]), (&json!("developer@acme"), &json!("modules.write")));
    assert_eq!((&allowed["target"], &allowed["allowed"]), (&json!(path), &json!(true)));
    assert_eq!((&allowed["method"], &allowed["from"]), (&json!("PUT"), &json!("127.0.0.1")));
    assert_eq!((&allowed["issuer"], &allowed["roles"]), (&json!("bulkhead"), &json!(["developer"])));
    assert_eq!(allowed["resource"], "project/default/module/m");
    assert_eq!(allowed["token"].as_str().map(str::len), Some(36), "the token's id, not the token");
    let became = of_it("outcome");
    assert_eq!((&became["of"], &became["status"]), (&allowed["seq"], &json!(201)));
    let denied = rows.iter().find(|row| row["allowed"] == false).expect("the denial has a row");
    assert_eq!((&denied["subject"], &denied["action"]), (&json!("viewer@acme"), &json!("modules.write")));
    assert!(denied["reason"].as_str().unwrap().contains("developer"));
}

#[tokio::test]
async fn an_intruders_row_is_its_own_tenants() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    globex.get("/api/v1/tenants/acme/topics").await.refused(404, "BH0005");
    let at_acme = |line: &Value| line["allowed"] == false && line["target"] == "/api/v1/tenants/acme/topics";
    assert!(rows(&server, "globex").await.iter().any(at_acme));
    // The platform keeps that it was, and of tenants no more than digests of their names.
    let of_a_tenant = |line: &&Value| line["allowed"] == false && line["subject"] == "(of a tenant)";
    let lines = platform_lines(&server).await;
    let told = lines.iter().find(of_a_tenant).expect("a line of the platform's").to_string();
    assert!(!told.contains("globex") && !told.contains("acme") && !told.contains("topics/"), "{told}");
    let text = json!(rows(&server, "acme").await).to_string();
    assert!(!text.contains("globex"), "something of the intruder was shown: {text}");
}

#[tokio::test]
async fn polls_of_workers_leave_no_rows_and_fetches_of_modules_do() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let module = dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("1")).await.expect(201);
    let before = rows(&server, "acme").await.len();
    for _ in 0..5 {
        server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    }
    let digest = module["digest"].as_str().unwrap();
    assert_eq!(server.worker().get(&format!("/internal/v1/modules/acme/{digest}")).await.status, 200);
    let after = rows(&server, "acme").await;
    // The fetch, and the reading of the audit before.
    assert_eq!(after.len(), before + 2);
    assert!(after.iter().any(|row| row["action"] == "workers.module" && row["subject"] == "worker pool-0"));
}

#[tokio::test]
async fn pages_go_on_where_the_last_ended() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for _ in 0..5 {
        dev.get("/api/v1/tenants/acme/topics").await.expect(200);
    }
    let admin = server.client("acme", Role::TenantAdmin);
    let first = admin.get("/api/v1/tenants/acme/audit?limit=3").await.expect(200);
    let next = first["next"].as_str().unwrap();
    let second = admin.get(&format!("/api/v1/tenants/acme/audit?limit=3&after={next}")).await.expect(200);
    let seqs: Vec<_> = [&first, &second].iter().flat_map(|page| page["items"].as_array().unwrap()).collect();
    let seqs: Vec<_> = seqs.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert!(seqs.windows(2).all(|two| two[0] == two[1] + 1), "newest first, without a gap or a repeat: {seqs:?}");
    for bad in ["after=x", "after=0", "after=-1", "limit=0", "since=yesterday", "allowed=maybe", "colour=red"] {
        admin.get(&format!("/api/v1/tenants/acme/audit?{bad}")).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn a_change_is_followed_by_what_became_of_it_and_a_look_is_not() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let projects = "/api/v1/tenants/acme/projects";
    let made = dev.post(projects, &json!({"name": "shop"})).await;
    let tag = made.etag();
    made.expect(201);
    dev.post(projects, &json!({"name": "shop"})).await.refused(409, "BH0010");
    dev.get(&format!("{projects}/shop")).await.expect(200);
    dev.send("DELETE", &format!("{projects}/shop"), ("if-match", "\"other\""), "").await.refused(412, "BH0013");
    dev.send("DELETE", &format!("{projects}/shop"), ("if-match", &tag), "").await.expect(204);
    let rows = rows(&server, "acme").await;
    let mut outcomes: Vec<_> = rows.iter().filter(|row| row["kind"] == "outcome").cloned().collect();
    outcomes.reverse();
    let told = |name: &str| outcomes.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("status"), [201, 409, 412, 204].map(|status| json!(status)));
    assert_eq!(told("code"), [json!(null), json!("BH0010"), json!("BH0013"), json!(null)]);
    assert_eq!(told("before"), [json!(null), json!(null), json!("\"other\""), json!(tag)]);
    assert_eq!(told("after")[0], json!(tag));
    for outcome in &outcomes {
        let decision = rows.iter().find(|row| row["seq"] == outcome["of"]).expect("it names its decision");
        assert_eq!(decision["requestId"], outcome["requestId"]);
        assert_eq!((&decision["kind"], &decision["action"]), (&json!("decision"), &outcome["action"]));
    }
}

#[tokio::test]
async fn what_operators_do_to_a_tenant_is_in_its_audit_and_in_the_platforms() {
    let server = Server::start().await;
    server.tenant("acme").await;
    server.platform().get("/api/v1/tenants/acme").await.expect(200);
    server.platform().get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
    for lines in [rows(&server, "acme").await, platform_lines(&server).await] {
        let of = |action: &str, allowed: bool| {
            lines
                .iter()
                .any(|line| line["subject"] == "operator" && line["action"] == action && line["allowed"] == allowed)
        };
        assert!(of("tenants.read", true) && of("topics.read", false), "{lines:?}");
    }
    let made = platform_lines(&server).await.into_iter().filter(|line| line["action"] == "tenants.create");
    let made: Vec<_> = made.map(|line| line["kind"].clone()).collect();
    assert_eq!(made, [json!("outcome"), json!("decision")]);
    server.client("acme", Role::TenantAdmin).get("/api/v1/audit").await.refused(403, "BH0004");
}

#[tokio::test]
async fn who_has_no_token_is_written_down_once_a_minute() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for _ in 0..20 {
        server.anybody().get("/api/v1/tenants/acme/topics").await.refused(401, "BH0001");
        server.with_token("nonsense").get("/api/v1/tenants/acme/topics").await.refused(401, "BH0002");
    }
    let refused: Vec<_> =
        platform_lines(&server).await.into_iter().filter(|line| line["action"] == "tokens.use").collect();
    let codes: Vec<_> = refused.iter().map(|line| line["code"].clone()).collect();
    assert_eq!(codes, [json!("BH0002"), json!("BH0001")], "one of each, whoever tries how often");
    assert_eq!((&refused[0]["from"], &refused[0]["subject"]), (&json!("127.0.0.1"), &json!("")));
    assert!(rows(&server, "acme").await.iter().all(|line| line["action"] != "tokens.use"));
}

#[tokio::test]
async fn a_token_of_a_tenant_that_is_not_there_is_refused_in_the_platforms_audit() {
    let server = Server::start().await;
    server.client("ghost", Role::Developer).get("/api/v1/tenants/ghost/topics").await.refused(404, "BH0005");
    let lines = platform_lines(&server).await;
    let told = lines.iter().find(|line| line["action"] == "topics.read").expect("a line of the platform's");
    assert_eq!((&told["allowed"], &told["subject"]), (&json!(false), &json!("(of a tenant)")));
}

#[tokio::test]
async fn the_audit_is_searched() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let admin = server.client("acme", Role::TenantAdmin);
    dev.post("/api/v1/tenants/acme/projects", &json!({"name": "shop"})).await.expect(201);
    dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("1")).await.expect(201);
    server.client("acme", Role::Viewer).delete("/api/v1/tenants/acme/projects/shop").await.refused(403, "BH0004");
    let found = async |query: &str| {
        let page = admin.get(&format!("/api/v1/tenants/acme/audit?{query}")).await.expect(200);
        let rows = page["items"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| format!("{} {}", row["kind"].as_str().unwrap(), row["action"].as_str().unwrap()))
            .collect()
    };
    let found = async |query: &str| -> Vec<String> { found(query).await };
    assert_eq!(found("allowed=false").await, ["decision projects.delete"]);
    assert_eq!(found("subject=viewer@acme").await, ["decision projects.delete"]);
    assert_eq!(found("resource=project/default").await, ["outcome modules.write", "decision modules.write"]);
    assert_eq!(found("resource=project/shop").await, ["decision projects.delete"]);
    assert_eq!(found("action=projects&kind=outcome").await, ["outcome projects.create"]);
    assert_eq!(found("action=projects.create").await.len(), 2);
    assert_eq!(found("action=project").await, Vec::<String>::new());
    assert_eq!(found("until=2001-01-01T00:00:00Z").await, Vec::<String>::new());
    assert_eq!(found("since=2001-01-01T00:00:00Z&action=modules").await.len(), 2);
}

#[tokio::test]
async fn tokens_and_bodies_are_never_in_it_and_texts_of_clients_are_tame() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let token =
        server.control.issuer().mint(&Grant::new("dev", Some("acme".parse().unwrap()), Role::Developer)).unwrap();
    let dev = server.with_token(&token);
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "marker-in-a-body", "partitions": 0})).await;
    let minted = server.client("acme", Role::TenantAdmin);
    let minted =
        minted.post("/api/v1/tenants/acme/tokens", &json!({"subject": "x", "role": "viewer"})).await.expect(201);
    dev.get(&format!("/api/v1/tenants/acme/topics/%1b%5b2J%e2%80%ae{}", "x".repeat(5_000))).await;
    let rows = rows(&server, "acme").await;
    let text = json!(rows).to_string();
    for secret in [token.as_str(), minted["token"].as_str().unwrap(), "marker-in-a-body"] {
        assert!(!text.contains(secret), "{secret} is in the audit");
    }
    let long = rows.iter().find(|row| row["action"] == "topics.read").unwrap();
    let resource = long["resource"].as_str().unwrap();
    assert!(resource.starts_with("topic/\\u{1b}[2J\\u{202e}xxx"), "{resource}");
    assert!(resource.len() <= 512 && long["target"].as_str().unwrap().len() <= 512);
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_written_down() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    crate::chains::by_hand(&server, &["ALTER TABLE audit_lines RENAME TO elsewhere"]).await;
    dev.post("/api/v1/tenants/acme/projects", &json!({"name": "shop"})).await.refused(500, "BH0012");
    crate::chains::by_hand(&server, &["ALTER TABLE elsewhere RENAME TO audit_lines"]).await;
    dev.get("/api/v1/tenants/acme/projects/shop").await.refused(404, "BH0005");
}
