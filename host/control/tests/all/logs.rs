//! Tenants' logs: what workers send, who sees it, how it is searched, followed and bounded.

use crate::client::Client;
use crate::harness::Server;
use crate::pipelines::{MANIFEST, ready};
use crate::streams::Reader;
use crate::workers::report;
use serde_json::{Value, json};

const TAKE: &str = "/internal/v1/logs";

fn logs(tenant: &str) -> String {
    format!("/api/v1/tenants/{tenant}/projects/default/logs")
}

fn line(tenant: &str, stage: Option<&str>, at_ms: i64, level: &str, message: &str) -> Value {
    json!({"tenant": tenant, "project": "default", "pipeline": "p", "stage": stage, "at_ms": at_ms, "level": level,
        "code": null, "message": message})
}

async fn send(server: &Server, lines: Vec<Value>) {
    server.worker().post(TAKE, &json!({"worker": "pool-0", "lines": lines})).await.expect(204);
}

async fn with_pipeline(server: &Server, tenant: &str) -> Client {
    let dev = ready(server, tenant).await;
    dev.put(&format!("/api/v1/tenants/{tenant}/projects/default/pipelines/p"), MANIFEST).await.expect(201);
    dev
}

async fn messages(dev: &Client, path: &str) -> Vec<String> {
    let page = dev.get(path).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_tenant_finds_its_own_lines_and_no_others() {
    let server = Server::start().await;
    let acme = with_pipeline(&server, "acme").await;
    let globex = with_pipeline(&server, "globex").await;
    send(
        &server,
        vec![
            line("acme", Some("first"), 1_000, "info", "one"),
            line("globex", Some("first"), 1_000, "info", "theirs"),
            line("acme", Some("last"), 2_000, "error", "two"),
            line("nobody", Some("last"), 2_000, "error", "of no tenant"),
        ],
    )
    .await;
    let page = acme.get(&logs("acme")).await.expect(200);
    let mut first = page["items"][0].clone();
    assert!(first.as_object_mut().unwrap().remove("id").is_some());
    let expected = json!({"at": "1970-01-01T00:00:01Z", "pipeline": "p", "stage": "first", "worker": "pool-0",
        "level": "info", "message": "one"});
    assert_eq!(first, expected);
    assert_eq!(messages(&acme, &logs("acme")).await, ["one", "two"]);
    assert_eq!(messages(&globex, &logs("globex")).await, ["theirs"]);
}

#[tokio::test]
async fn lines_are_searched_and_paged() {
    let server = Server::start().await;
    let dev = with_pipeline(&server, "acme").await;
    let all = (0..5).map(|n| {
        let (stage, level) = if n % 2 == 0 { ("first", "debug") } else { ("last", "warn") };
        line("acme", Some(stage), n * 1_000, level, &n.to_string())
    });
    send(&server, all.collect()).await;
    let found = async |query: &str| messages(&dev, &format!("{}?{query}", logs("acme"))).await;
    assert_eq!(found("stage=last").await, ["1", "3"]);
    assert_eq!(found("level=info").await, ["1", "3"]);
    assert_eq!(found("pipeline=other").await, Vec::<String>::new());
    assert_eq!(found("since=1970-01-01T00:00:02Z&until=4000").await, ["2", "3"]);
    let first = dev.get(&format!("{}?limit=2", logs("acme"))).await.expect(200);
    let next = first["next"].as_str().unwrap();
    assert_eq!(found(&format!("limit=2&after={next}")).await, ["2", "3"]);
    for bad in ["level=loud", "since=yesterday", "limit=0", "colour=red"] {
        dev.get(&format!("{}?{bad}", logs("acme"))).await.refused(400, "BH0007");
    }
    dev.get("/api/v1/tenants/acme/projects/none/logs").await.refused(404, "BH0005");
}

#[tokio::test]
async fn lines_are_followed_as_they_come() {
    let server = Server::start().await;
    let dev = with_pipeline(&server, "acme").await;
    send(&server, vec![line("acme", Some("first"), 1, "info", "old")]).await;
    let mut tail = Reader::open(&dev, &format!("{}?level=warn", logs("acme")), None).await;
    let mut all = Reader::open(&dev, &format!("{}?since=0", logs("acme")), None).await;
    assert_eq!(all.next().await.unwrap().data["message"], "old");
    send(
        &server,
        vec![line("acme", Some("first"), 2, "info", "quiet"), line("acme", Some("first"), 3, "warn", "loud")],
    )
    .await;
    let event = tail.next().await.unwrap();
    assert_eq!(
        (event.kind.as_str(), &event.data["message"], &event.data["id"]),
        ("line", &json!("loud"), &json!(event.id))
    );
    let quiet = all.next().await.unwrap();
    assert_eq!(quiet.data["message"], "quiet");
    let mut resumed = Reader::open(&dev, &logs("acme"), Some(&quiet.id)).await;
    assert_eq!(resumed.next().await.unwrap().data["message"], "loud");
}

#[tokio::test]
async fn the_oldest_lines_go_first_and_only_the_loud_tenants() {
    let server = Server::with(|config| {
        config.quotas.log_lines = 50;
        config.quotas.log_bytes = 10_000;
    })
    .await;
    let acme = with_pipeline(&server, "acme").await;
    let globex = with_pipeline(&server, "globex").await;
    send(&server, vec![line("globex", None, 1, "info", "quiet")]).await;
    for round in 0..3 {
        send(&server, (0..40).map(|n| line("acme", None, 1, "info", &format!("{round}-{n}"))).collect()).await;
    }
    let kept = messages(&acme, &format!("{}?limit=1000", logs("acme"))).await;
    assert_eq!((kept.len(), kept.last().map(String::as_str)), (50, Some("2-39")));
    send(&server, vec![line("acme", None, 1, "info", &"x".repeat(9_000))]).await;
    let kept = messages(&acme, &format!("{}?limit=1000", logs("acme"))).await;
    assert!(kept.len() < 10 && kept.last().is_some_and(|last| last.len() == 9_000), "{} lines", kept.len());
    assert_eq!(messages(&globex, &logs("globex")).await, ["quiet"]);
}

#[tokio::test]
async fn bulkhead_tells_of_phases_and_dead_letters() {
    let server = Server::start().await;
    let dev = with_pipeline(&server, "acme").await;
    let mut said = report("pool-0", "a", 1, 10);
    server.worker().post("/internal/v1/report", &said).await.expect(204);
    said["pipelines"][0]["phase"] = json!("backoff");
    said["pipelines"][0]["code"] = json!("BH0311");
    said["pipelines"][0]["message"] = json!("stage `first` fails always");
    said["pipelines"][0]["totals"]["dead_letters"] = json!(3);
    server.worker().post("/internal/v1/report", &said).await.expect(204);
    let page = dev.get(&logs("acme")).await.expect(200);
    let told: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| &item["message"]).collect();
    let expected = [
        "revision 1 is running",
        "revision 1 is waiting to try again: stage `first` fails always",
        "3 records became dead letters",
    ];
    assert_eq!(told, expected);
    assert_eq!((&page["items"][1]["stage"], &page["items"][1]["code"]), (&Value::Null, &json!("BH0311")));
}

#[tokio::test]
async fn lines_that_make_no_sense_are_refused() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let worker = server.worker();
    worker.post(TAKE, &json!({})).await.refused(400, "BH0007");
    worker.post(TAKE, &json!({"worker": "Bad Slot", "lines": []})).await.refused(400, "BH0007");
    let many: Vec<_> = (0..1_001).map(|_| line("acme", None, 1, "info", "")).collect();
    worker.post(TAKE, &json!({"worker": "pool-0", "lines": many})).await.refused(400, "BH0007");
}
