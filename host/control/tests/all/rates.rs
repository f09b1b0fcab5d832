//! More requests than allowed: who is refused, what they are told, and what it costs the others.

use crate::harness::Server;
use bulkhead_control::{Rate, Role, openapi};
use bulkhead_core::tenant_limits::TenantLimits;
use serde_json::{Value, json};

/// Rates at which nothing comes back while a test runs.
fn scarce(server_quotas: &mut TenantLimits) {
    (server_quotas.api_requests_per_second, server_quotas.api_burst) = (1, 10);
}

/// The lines of a tenant's audit that tell of refusals for coming too often.
async fn told(server: &Server, tenant: &str) -> Vec<Value> {
    let lines = server.client(tenant, Role::Auditor).get(&format!("/api/v1/tenants/{tenant}/audit?limit=1000")).await;
    let lines = lines.expect(200)["items"].as_array().unwrap().clone();
    lines.into_iter().filter(|line| line["action"] == "requests.send").collect()
}

#[tokio::test]
async fn a_token_has_four_fifths_of_its_tenants_requests_and_a_neighbour_its_own() {
    let server = Server::with(|config| scarce(&mut config.quotas)).await;
    let (acme, globex) = (server.tenant("acme").await, server.tenant("globex").await);
    let topics = "/api/v1/tenants/acme/topics";
    let first = acme.get(topics).await;
    assert_eq!(first.headers["ratelimit-policy"], r#""token";q=8;w=8, "tenant";q=10;w=10"#);
    assert_eq!(first.headers["ratelimit"], r#""token";r=7;t=1, "tenant";r=9;t=1"#);
    for _ in 0..7 {
        acme.get(topics).await.expect(200);
    }
    let refused = acme.get(topics).await;
    assert_eq!(refused.headers["retry-after"], "1");
    let problem = refused.refused(429, "BH0019");
    assert!(problem["detail"].as_str().unwrap().starts_with("this token has sent"), "{problem}");
    let told = ["limit", "allowed", "unit"].map(|member| problem[member].clone());
    assert_eq!(told, [json!("apiRequestsPerSecond"), json!(1), json!("requests/s")], "a token's part, rounded up");
    assert!((1..=9).contains(&problem["used"].as_u64().unwrap()), "{problem}");
    assert!((1..=1_001).contains(&problem["retryAfterMs"].as_u64().unwrap()), "{problem}");
    assert!(problem["freesAt"].as_str().unwrap().ends_with('Z'), "{problem}");
    let described: Value = serde_json::from_str(openapi()).unwrap();
    let described = &described["components"]["schemas"]["RateProblem"]["allOf"][1]["properties"];
    for member in described.as_object().unwrap().keys() {
        assert!(!problem[member].is_null(), "`{member}` is described, and not in {problem}");
    }
    // Somebody else of the tenant has what is left of it.
    let other = server.client("acme", Role::Viewer);
    other.get(topics).await.expect(200);
    other.get(topics).await.expect(200);
    let problem = other.get(topics).await.refused(429, "BH0019");
    assert!(problem["detail"].as_str().unwrap().starts_with("this tenant has sent"), "{problem}");
    // So has whoever has a new token only what the tenant has.
    server.client("acme", Role::TenantAdmin).get(topics).await.refused(429, "BH0019");
    globex.get("/api/v1/tenants/globex/topics").await.expect(200);
}

#[tokio::test]
async fn a_storm_of_refusals_is_one_line_of_the_audit() {
    let server = Server::with(|config| scarce(&mut config.quotas)).await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    for _ in 0..60 {
        acme.post("/api/v1/tenants/acme/topics", &json!({"name": "t"})).await;
    }
    let counted = |name: &str| {
        let families = server.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>()
    };
    assert!(counted("bulkhead_http_limited_total") >= 50.0);
    server.until("it is told", async || told_later(&server).await == 1).await;
    globex.get("/api/v1/tenants/globex/topics").await.expect(200);
    assert_eq!(told(&server, "globex").await, Vec::<Value>::new());
}

/// Lines that tell of it, as soon as the auditor is let in again.
async fn told_later(server: &Server) -> usize {
    let answer = server.client("acme", Role::Auditor).get("/api/v1/tenants/acme/audit?limit=1000").await;
    if answer.status == 429 {
        return 0;
    }
    let answer = answer.expect(200);
    let lines = answer["items"].as_array().unwrap();
    let told: Vec<_> = lines.iter().filter(|line| line["action"] == "requests.send").collect();
    assert!(told.iter().all(|line| line["code"] == "BH0019" && line["allowed"] == false), "{told:?}");
    told.len()
}

#[tokio::test]
async fn a_plan_that_changes_holds_within_seconds() {
    let server = Server::with(|config| scarce(&mut config.quotas)).await;
    let acme = server.tenant("acme").await;
    for _ in 0..12 {
        acme.get("/api/v1/tenants/acme/topics").await;
    }
    acme.get("/api/v1/tenants/acme/topics").await.refused(429, "BH0019");
    server
        .platform()
        .send("PATCH", "/api/v1/tenants/acme", ("if-match", "*"), r#"{"plan": "trial"}"#)
        .await
        .expect(200);
    server
        .until("trial's rate holds", async || {
            let answer = acme.get("/api/v1/tenants/acme/topics").await;
            answer.headers["ratelimit-policy"].to_str().unwrap().contains(r#""tenant";q=100;w=2"#)
        })
        .await;
}

#[tokio::test]
async fn whoever_has_no_token_is_limited_by_address_and_nobody_else_by_that() {
    let server = Server::with(|config| config.address_rate = Rate::new(1, 5)).await;
    let acme = server.tenant("acme").await;
    let (anybody, wrong) = (server.anybody(), server.with_token("nonsense"));
    for _ in 0..3 {
        anybody.get("/api/v1/tenants/acme").await.refused(401, "BH0001");
    }
    wrong.get("/api/v1/whoami").await.refused(401, "BH0002");
    anybody.get("/api/v1/errors/BH0001").await;
    for (client, path) in
        [(&anybody, "/api/v1/tenants/acme"), (&wrong, "/api/v1/whoami"), (&anybody, "/api/v1/errors/BH0001")]
    {
        let refused = client.get(path).await;
        assert_eq!(refused.headers["ratelimit-policy"], r#""address";q=5;w=5"#);
        let problem = refused.refused(429, "BH0020");
        let told = ["limit", "allowed", "unit"].map(|member| problem[member].clone());
        assert_eq!(told, [json!("addressRequestsPerSecond"), json!(1), json!("requests/s")]);
        assert!(problem["used"].is_u64() && problem["retryAfterMs"].is_u64(), "{problem}");
    }
    acme.get("/api/v1/tenants/acme/topics").await.expect(200);
    for _ in 0..20 {
        assert_eq!(anybody.request("GET", "/readyz").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn workers_are_not_limited_and_a_request_with_a_key_counts_once() {
    let server = Server::with(|config| scarce(&mut config.quotas)).await;
    let acme = server.tenant("acme").await;
    let worker = server.worker();
    for _ in 0..30 {
        worker.get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    }
    let made = acme.send("POST", "/api/v1/tenants/acme/topics", ("idempotency-key", "k"), r#"{"name": "keyed"}"#).await;
    assert_eq!(made.headers["ratelimit"], r#""token";r=7;t=1, "tenant";r=9;t=1"#);
    made.expect(201);
}
