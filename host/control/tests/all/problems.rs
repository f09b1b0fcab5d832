//! Errors as clients see them; [`crate::client`] checks the form of each.

use crate::client::Answer;
use crate::harness::{Server, component};
use crate::ports::SECRET_CAUSE;
use serde_json::json;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn what_axum_refuses_is_a_problem_too() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    server.anybody().get("/nowhere").await.refused(404, "BH0005");
    let answer = server.anybody().delete("/livez").await;
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    answer.refused(405, "BH0006");
    dev.get("/api/v1/tenants/acme/topics?limit=x").await.refused(400, "BH0007");
    dev.get("/api/v1/tenants/acme/topics?colour=red").await.refused(400, "BH0007");
    dev.get("/api/v1/tenants/acme/topics/a%2Fb").await.refused(400, "BH0007");
    dev.post_text("/api/v1/tenants/acme/topics", "{").await.refused(400, "BH0007");
    dev.post_text("/api/v1/tenants/acme/topics", "x".repeat(20_000)).await.refused(413, "BH0008");
    dev.get("/api/v1/tenants/acme/projects/nowhere/modules").await.refused(404, "BH0005");
}

#[tokio::test]
async fn our_own_faults_show_an_id_and_nothing_else() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    server.ports.modules.panics.store(true, Ordering::SeqCst);
    let answer = dev.put("/api/v1/tenants/acme/projects/default/modules/m", component("1")).await;
    let problem = answer.refused(500, "BH0012");
    assert!(!problem.to_string().contains(SECRET_CAUSE));
    server.ports.topics.set_away(true);
    let answer = dev.get("/api/v1/tenants/acme/topics").await;
    assert_eq!(answer.headers["retry-after"], "2");
    answer.refused(503, "BH0401");
    dev.get("/api/v1/tenants/acme/projects/default/modules").await.expect(200);
}

#[tokio::test]
async fn each_type_leads_to_its_page() {
    let server = Server::start().await;
    let problem = server.anybody().get("/nowhere").await.refused(404, "BH0005");
    let page = server.anybody().get(problem["type"].as_str().unwrap()).await;
    assert!(
        page.status == 200 && page.text.starts_with("# BH0005") && page.text.contains("What to do"),
        "{}",
        page.text
    );
    server.anybody().get("/api/v1/errors/BH9999").await.refused(404, "BH0005");
}

#[tokio::test]
async fn a_clients_request_id_is_kept_where_it_is_plain() {
    let server = Server::start().await;
    let ask = async |id: &str| {
        let request = server.anybody().request("GET", "/livez").header("x-request-id", id);
        Answer::of(request.send().await.unwrap()).await.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("trace-1").await, "trace-1");
    for odd in ["a b", "\"", &"x".repeat(65), ""] {
        assert_ne!(ask(odd).await, odd);
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for path in ["/api/v1/tenants/acme/topics/a", "/api/v1/tenants/acme/topics/b", "/x", "/y"] {
        dev.get(path).await.refused(404, "BH0005");
    }
    server.anybody().get("/api/v1/tenants").await.refused(401, "BH0001");
    let families = server.registry.gather();
    let requests = families.iter().find(|family| family.name() == "bulkhead_http_requests_total").unwrap();
    let count = |route: &str, class: &str| -> f64 {
        let has = |metric: &&prometheus::proto::Metric| {
            let label = |name: &str| metric.get_label().iter().find(|l| l.name() == name).map(|l| l.value().to_owned());
            label("route").as_deref() == Some(route) && label("class").as_deref() == Some(class)
        };
        requests.get_metric().iter().filter(has).map(|metric| metric.get_counter().get_value()).sum()
    };
    assert!((count("/api/v1/tenants/{tenant}/topics/{topic}", "4xx") - 2.0).abs() < 0.1);
    assert!((count("(none)", "4xx") - 2.0).abs() < 0.1);
    let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
    assert!(!text.contains("acme"), "a tenant's name became a label");
    assert!(text.contains("bulkhead_tokens_refused_total{code=\"BH0001\"} 1"));
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_but_lives() {
    let server = Server::start().await;
    assert_eq!(server.anybody().get("/readyz").await.status, 200);
    server.control.stop();
    server.anybody().get("/readyz").await.refused(503, "BH0011");
    assert_eq!(server.anybody().get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    // Long enough to make a tenant a home of its own on a busy machine.
    let server = Server::with(|config| config.request_time_max = std::time::Duration::from_secs(5)).await;
    let dev = server.tenant("acme").await;
    let never = reqwest::Body::wrap_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    dev.post_text("/api/v1/tenants/acme/topics", never).await.refused(408, "BH0009");
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "t"})).await.expect(201);
}
