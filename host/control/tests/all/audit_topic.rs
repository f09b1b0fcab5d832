//! The tenant's own topic of its audit: every line, in order, whatever happens to the log meanwhile.

use crate::client::Client;
use crate::harness::Server;
use bulkhead_control::Role;
use bulkhead_control::port::Topics;
use bulkhead_core::audit::Checker;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::TenantScope;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const TOPIC: &str = "/api/v1/tenants/acme/audit/topic";

fn run(server: &Server) -> JoinHandle<()> {
    let control = server.control.clone();
    tokio::spawn(async move { control.run().await })
}

/// A tenant whose audit goes into the topic `log`.
async fn with_topic(server: &Server) -> (Client, Client) {
    let dev = server.tenant("acme").await;
    let admin = server.client("acme", Role::TenantAdmin);
    admin.put(TOPIC, r#"{"topic": "log"}"#).await.refused(422, "BH0207");
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "log", "partitions": 3})).await.expect(201);
    dev.put(TOPIC, r#"{"topic": "log"}"#).await.refused(403, "BH0004");
    admin.put(TOPIC, r#"{"topic": "log"}"#).await.expect(200);
    (dev, admin)
}

/// The topic's records as lines, with the number that their header says.
async fn published(server: &Server) -> Vec<(String, Value)> {
    let scope = TenantScope::assume("acme".parse().unwrap());
    let limits = BatchLimits { records: 5_000, ..BatchLimits::MAX };
    let name = "log".parse().unwrap();
    let (batch, _) = server.ports.topics.read(&scope, &name, 0, Start::Earliest, &limits).await.unwrap();
    (0..batch.len())
        .map(|i| {
            let (name, number) = batch.headers.row(i).next().unwrap();
            assert_eq!(name, b"bulkhead-audit-seq");
            let number = String::from_utf8(number.unwrap().to_vec()).unwrap();
            (number, serde_json::from_slice(batch.values.get(i).unwrap()).unwrap())
        })
        .collect()
}

/// The records are a chain from its first line on, without a gap.
fn assert_whole(records: &[(String, Value)]) {
    let mut checker = Checker::new([], false);
    records.iter().for_each(|(_, line)| checker.line(line));
    let verdict = checker.end();
    assert_eq!((verdict.wrong, verdict.range.map(|range| range.0)), (0, Some(1)), "{verdict:?}");
}

async fn state(admin: &Client) -> Value {
    admin.get(TOPIC).await.expect(200)
}

/// Waits until the topic has what the chain had just now.
async fn caught_up(server: &Server, admin: &Client) {
    let end = state(admin).await["seq"].as_i64().unwrap();
    let end =
        end.max(admin.get("/api/v1/tenants/acme/audit?limit=1").await.expect(200)["items"][0]["seq"].as_i64().unwrap());
    server.until("the topic has it", async || state(admin).await["seq"].as_i64() >= Some(end)).await;
}

#[tokio::test]
async fn the_topics_records_alone_are_a_whole_chain() {
    let server = Server::start().await;
    let (dev, admin) = with_topic(&server).await;
    let running = run(&server);
    for _ in 0..20 {
        dev.get("/api/v1/tenants/acme/topics").await.expect(200);
    }
    caught_up(&server, &admin).await;
    let records = published(&server).await;
    assert_whole(&records);
    assert!(records.len() > 20);
    assert!(records.iter().all(|(number, line)| number.parse().ok() == line["seq"].as_u64()));
    admin.delete(TOPIC).await.expect(204);
    assert_eq!(state(&admin).await["topic"], Value::Null);
    admin.delete(TOPIC).await.refused(404, "BH0005");
    server.control.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn it_waits_while_the_log_is_away_says_where_its_topic_is_gone_and_goes_on_after_a_restart() {
    let server = Server::start().await;
    let (dev, admin) = with_topic(&server).await;
    let running = run(&server);
    caught_up(&server, &admin).await;
    server.ports.topics.set_away(true);
    server.until("it says that the log is away", async || state(&admin).await["code"] == "BH0401").await;
    server.ports.topics.set_away(false);
    caught_up(&server, &admin).await;
    assert_eq!(state(&admin).await["code"], Value::Null);
    // What was written while the log was away is there.
    assert_whole(&published(&server).await);
    dev.delete("/api/v1/tenants/acme/topics/log").await.expect(204);
    server.until("it says that the topic is gone", async || state(&admin).await["code"] == "BH0402").await;
    server.control.stop();
    running.await.unwrap();
    drop((dev, admin));

    let server = server.restart().await;
    let (dev, admin) = (server.client("acme", Role::Developer), server.client("acme", Role::TenantAdmin));
    dev.post("/api/v1/tenants/acme/topics", &json!({"name": "log", "partitions": 1})).await.expect(201);
    let running = run(&server);
    caught_up(&server, &admin).await;
    let records = published(&server).await;
    let seqs: Vec<_> = records.iter().map(|(_, line)| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|two| two[0] + 1 == two[1]), "{seqs:?}");
    // It was written when the topic was gone.
    let deleted = |line: &Value| line["action"] == "topics.delete" && line["kind"] == "outcome";
    assert!(records.iter().any(|(_, line)| deleted(line)), "it goes on where it was: {records:?}");
    server.control.stop();
    running.await.unwrap();
}
