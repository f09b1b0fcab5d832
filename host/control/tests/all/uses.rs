//! The use of grants, from a worker's report to the pipeline's page and the audit.

use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use crate::workers::report;
use bulkhead_control::Role;
use serde_json::{Value, json};

const AT: &str = "/api/v1/tenants/acme/projects/default/pipelines/p";
const REPORT: &str = "/internal/v1/report";

/// A worker's boot says how often the first stage has read, and the last written.
async fn said(server: &Server, boot: &str, read: u64, written: u64) {
    let used = |stage: &str, grant: &str, count: u64| json!({"revision": 1, "stage": stage, "grant": grant, "count": count, "firstMs": 1_000, "lastMs": 1_000 + count});
    let mut all = vec![used("first", "read topic/in", read)];
    if written > 0 {
        all.push(used("last", "write topic/out", written));
    }
    let mut said = report("pool-0", boot, 1, read + written);
    said["pipelines"][0]["uses"] = json!(all);
    server.worker().post(REPORT, &said).await.expect(204);
}

/// `STAGE GRANT COUNT` of each use.
async fn shown(server: &Server) -> Vec<String> {
    let page = server.client("acme", Role::Viewer).get(&format!("{AT}/uses")).await.expect(200);
    let text = |item: &Value| {
        format!("{} {} {}", item["stage"].as_str().unwrap(), item["grant"].as_str().unwrap(), item["count"])
    };
    page["items"].as_array().unwrap().iter().map(text).collect()
}

async fn audited(server: &Server) -> Vec<Value> {
    let page = server.client("acme", Role::TenantAdmin).get("/api/v1/tenants/acme/audit?kind=use").await.expect(200);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn uses_are_summed_over_boots_repeats_and_late_reports() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    said(&server, "a", 10, 0).await;
    said(&server, "a", 10, 0).await;
    assert_eq!(shown(&server).await, ["first read topic/in 10"]);
    said(&server, "a", 25, 3).await;
    said(&server, "b", 5, 0).await;
    said(&server, "a", 10, 1).await;
    assert_eq!(shown(&server).await, ["first read topic/in 30", "last write topic/out 3"]);
    let page = dev.get(&format!("{AT}/uses")).await.expect(200);
    assert_eq!(page["items"][0]["firstAt"], "1970-01-01T00:00:01Z");
    assert_eq!(
        (&page["items"][0]["lastAt"], &page["items"][0]["revision"]),
        (&json!("1970-01-01T00:00:01.025Z"), &json!(1))
    );
    dev.get(&format!("{AT}x/uses")).await.refused(404, "BH0005");
    // One about an earlier pipeline of the name.
    let mut late = report("pool-0", "c", 1, 1);
    late["pipelines"][0]["incarnation"] = json!("earlier");
    late["pipelines"][0]["uses"] =
        json!([{"revision": 1, "stage": "first", "grant": "read topic/in", "count": 7, "firstMs": 1, "lastMs": 1}]);
    server.worker().post(REPORT, &late).await.expect(204);
    assert_eq!(shown(&server).await, ["first read topic/in 30", "last write topic/out 3"]);
}

#[tokio::test]
async fn a_use_is_in_the_audit_once_and_again_only_after_its_day() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.put(AT, MANIFEST).await.expect(201);
    said(&server, "a", 10, 0).await;
    let control = server.control.clone();
    let running = tokio::spawn(async move { control.run().await });
    server.until("the use is in the audit", async || !audited(&server).await.is_empty()).await;
    said(&server, "a", 50, 4).await;
    server.until("the new one is, too", async || audited(&server).await.len() > 1).await;
    let lines = audited(&server).await;
    let told: Vec<_> =
        lines.iter().map(|line| (line["grant"].as_str().unwrap(), &line["count"], &line["stage"])).collect();
    assert_eq!(told, [("write topic/out", &json!(4), &json!("last")), ("read topic/in", &json!(10), &json!("first"))]);
    assert_eq!((&lines[0]["resource"], &lines[0]["revision"]), (&json!("project/default/pipeline/p"), &json!(1)));
    crate::chains::by_hand(&server, &["UPDATE grant_uses SET due_ms = 1 WHERE tenant = 'acme'"]).await;
    server.until("the day's sum is there", async || audited(&server).await.len() > 2).await;
    let lines = audited(&server).await;
    assert_eq!((lines.len(), &lines[0]["count"], &lines[0]["total"]), (3, &json!(40), &json!(50)));
    server.control.stop();
    running.await.unwrap();
}
