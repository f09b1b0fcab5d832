//! The audit: that each decision leaves a row, and who may read it.

use crate::harness::{Server, component};
use bulkhead_control::Role;
use serde_json::{Value, json};

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
    let allowed = rows.iter().find(|row| row["requestId"] == id.as_str()).expect("the upload has a row");
    assert_eq!((&allowed["subject"], &allowed["action"]), (&json!("developer@acme"), &json!("modules.write")));
    assert_eq!((&allowed["target"], &allowed["allowed"]), (&json!(path), &json!(true)));
    let denied = rows.iter().find(|row| row["allowed"] == false).expect("the denial has a row");
    assert_eq!((&denied["subject"], &denied["action"]), (&json!("viewer@acme"), &json!("modules.write")));
    assert!(denied["reason"].as_str().unwrap().contains("developer"));
}

#[tokio::test]
async fn an_intruders_row_is_its_own_tenants() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    globex.get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
    let own = rows(&server, "globex").await;
    assert!(own.iter().any(|row| row["allowed"] == false && row["target"] == "/api/v1/tenants/acme/topics"));
    assert!(rows(&server, "acme").await.iter().all(|row| row["subject"] != "developer@globex"), "a subject was shown");
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
    assert!(after.iter().any(|row| row["action"] == "workers.module" && row["subject"] == "pool-0"));
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
    let id = |page: &Value, i: usize| page["items"][i]["id"].as_str().unwrap().to_owned();
    assert!(id(&first, 0) > id(&first, 2) && id(&first, 2) > id(&second, 0), "newest first, without a gap or a repeat");
}
