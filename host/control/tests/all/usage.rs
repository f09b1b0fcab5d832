//! What workers say that pipelines have used, from the tenants' topics to the API and the bill.

use crate::harness::Server;
use bulkhead_control::Role;
use bulkhead_core::usage::{StageUsage, USAGE_VERSION, UsageRecord, Used, Wasted};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// 2026-01-31T23:30:00Z.
const LATE: i64 = 1_769_902_200_000;
const HOUR: i64 = 3_600_000;
const WHEN: &str = "from=2026-01-31&to=2026-02-02";

fn record(at_ms: i64, pipeline: &str, stages: &[(&str, u64, u64)]) -> UsageRecord {
    let stages = stages.iter().map(|(stage, records, fuel)| {
        let wasted = Wasted { confirm: 3, ..Wasted::default() };
        let used = Used { records_in: *records, records_out: 1, bytes_in: 10, bytes_out: 5, fuel: *fuel, wasted };
        StageUsage { stage: stage.parse().unwrap(), used }
    });
    UsageRecord {
        version: USAGE_VERSION,
        at_ms,
        project: "default".parse().unwrap(),
        pipeline: pipeline.parse().unwrap(),
        incarnation: "i".to_owned(),
        revision: 1,
        stages: stages.collect(),
    }
}

async fn usage(server: &Server, tenant: &str, query: &str) -> Value {
    server.client(tenant, Role::Viewer).get(&format!("/api/v1/tenants/{tenant}/usage?{query}")).await.expect(200)
}

async fn counted(server: &Server, tenant: &str, records: u64) {
    let what = format!("{records} records of {tenant} are counted");
    server.until(&what, async || usage(server, tenant, WHEN).await["total"]["recordsIn"] == records).await;
}

/// Of each line: when, the pipeline, the stage, and the fuel.
fn lines(answer: &Value) -> Vec<String> {
    let text = |line: &Value| {
        let of = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", of("at"), of("pipeline"), of("stage"), line["fuel"])
    };
    answer["items"].as_array().unwrap().iter().map(text).collect()
}

/// What control does behind no request.
fn background(server: &Server) -> JoinHandle<()> {
    let control = Arc::clone(&server.control);
    tokio::spawn(async move { control.run().await })
}

async fn world() -> (Server, JoinHandle<()>) {
    let server = Server::start().await;
    let running = background(&server);
    for tenant in ["acme", "globex"] {
        server.tenant(tenant).await;
    }
    let topics = &server.ports.topics;
    topics.used("acme", &record(LATE, "p", &[("a", 4, 100), ("b", 2, 10)]));
    topics.used("acme", &record(LATE + HOUR, "p", &[("a", 1, 1_000)]));
    topics.used("acme", &record(LATE + HOUR, "q", &[("a", 1, 10_000)]));
    topics.used("globex", &record(LATE, "p", &[("a", 50, 7)]));
    counted(&server, "acme", 8).await;
    counted(&server, "globex", 50).await;
    (server, running)
}

#[tokio::test]
async fn usage_is_told_apart_as_is_asked_and_only_to_its_tenant() {
    let (server, _running) = world().await;
    let by = async |by: &str| lines(&usage(&server, "acme", &format!("{WHEN}&by={by}")).await);
    assert_eq!(by("pipeline").await, ["- p - 1110", "- q - 10000"]);
    assert_eq!(by("stage").await, ["- p a 1100", "- p b 10", "- q a 10000"]);
    assert_eq!(by("hour").await, ["2026-01-31T23:00:00Z - - 110", "2026-02-01T00:00:00Z - - 11000"]);
    assert_eq!(by("day,pipeline").await[2], "2026-02-01T00:00:00Z q - 10000");
    let january = usage(&server, "acme", "from=2026-01&to=2026-02").await;
    assert_eq!((&january["total"]["fuel"], &january["total"]["wastedFuel"]), (&json!(110), &json!(6)));
    assert_eq!((&january["from"], &january["to"]), (&json!("2026-01-01T00:00:00Z"), &json!("2026-02-01T00:00:00Z")));
    let acme = server.client("acme", Role::Viewer);
    let as_kind = async |kind: &str| {
        let path = format!("/api/v1/tenants/acme/usage?{WHEN}&by=stage");
        let answer = acme.request("GET", &path).header("accept", kind).send().await.unwrap();
        (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    let (kind, text) = as_kind("text/csv").await;
    assert_eq!((kind.as_str(), text.lines().count()), ("text/csv; charset=utf-8", 4));
    let (kind, frame) = as_kind("application/vnd.apache.parquet").await;
    assert_eq!(kind, "application/vnd.apache.parquet");
    assert_eq!(frame, format!("PAR1 {} 3", text.lines().next().unwrap()), "the columns of the spreadsheet");
    acme.get("/api/v1/tenants/globex/usage").await.refused(404, "BH0005");
    acme.get("/api/v1/tenants/acme/usage?by=tenant").await.refused(400, "BH0007");
    acme.get("/api/v1/tenants/acme/usage?from=soon").await.refused(400, "BH0007");
}

#[tokio::test]
async fn the_bill_has_each_tenants_sum_and_is_the_platforms() {
    let (server, _running) = world().await;
    let bill = server.platform().get(&format!("/api/v1/usage?{WHEN}")).await.expect(200);
    let sums: Vec<_> = bill["items"].as_array().unwrap().iter().map(|line| (&line["tenant"], &line["fuel"])).collect();
    assert_eq!(sums, [(&json!("acme"), &json!(11_110)), (&json!("globex"), &json!(7))]);
    server.client("acme", Role::TenantAdmin).get("/api/v1/usage").await.refused(403, "BH0004");
}

#[tokio::test]
async fn what_was_counted_is_not_counted_again_by_the_next_process() {
    let (server, running) = world().await;
    server.control.stop();
    running.await.unwrap();
    let server = server.restart().await;
    let _running = background(&server);
    server.ports.topics.used("acme", &record(LATE, "p", &[("a", 2, 5)]));
    counted(&server, "acme", 10).await;
    assert_eq!(usage(&server, "acme", WHEN).await["total"]["fuel"], 11_115);
}
