//! Topics and their records over HTTP.

use crate::harness::Server;
use serde_json::json;

const TOPICS: &str = "/api/v1/tenants/acme/topics";
const RECORDS: &str = "/api/v1/tenants/acme/topics/t/records";

#[tokio::test]
async fn topics_are_made_shown_listed_and_deleted() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let made = dev.post(TOPICS, &json!({"name": "t", "partitions": 3, "maxRecordBytes": 5000})).await.expect(201);
    assert_eq!(made, json!({"name": "t", "partitions": 3, "maxRecordBytes": 5000, "ends": [0, 0, 0]}));
    dev.post(TOPICS, &json!({"name": "t"})).await.refused(409, "BH0010");
    assert_eq!(dev.get(TOPICS).await.expect(200)["items"], json!([{"name": "t"}]));
    assert_eq!(dev.get(&format!("{TOPICS}/t")).await.expect(200), made);
    dev.delete(&format!("{TOPICS}/t")).await.expect(204);
    dev.delete(&format!("{TOPICS}/t")).await.refused(404, "BH0005");
    dev.get(&format!("{TOPICS}/t")).await.refused(404, "BH0005");
}

#[tokio::test]
async fn topics_are_bounded() {
    let server = Server::with(|config| config.quotas.topics = 2).await;
    let dev = server.tenant("acme").await;
    for bad in [
        json!({"name": "t", "partitions": 0}),
        json!({"name": "t", "partitions": 129}),
        json!({"name": "t", "partitions": -1}),
        json!({"name": "t", "maxRecordBytes": 1}),
        json!({"name": "t", "maxRecordBytes": 999_999_999}),
    ] {
        dev.post(TOPICS, &bad).await.refused(422, "BH0208");
    }
    dev.post(TOPICS, &json!({"name": "_x"})).await.refused(400, "BH0007");
    dev.post(TOPICS, &json!({"name": "a"})).await.expect(201);
    dev.post(TOPICS, &json!({"name": "b"})).await.expect(201);
    dev.post(TOPICS, &json!({"name": "c"})).await.refused(422, "BH0208");
}

#[tokio::test]
async fn a_topic_in_use_is_deleted_only_on_demand() {
    let server = Server::start().await;
    let dev = crate::pipelines::ready(&server, "acme").await;
    dev.put("/api/v1/tenants/acme/projects/default/pipelines/p", crate::pipelines::MANIFEST).await.expect(201);
    let problem = dev.delete(&format!("{TOPICS}/in")).await.refused(409, "BH0010");
    assert!(problem["detail"].as_str().unwrap().contains("default/p"));
    dev.delete(&format!("{TOPICS}/in?force=true")).await.expect(204);
}

#[tokio::test]
async fn records_go_in_and_come_out() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    let lines = "{\"key\":\"k\",\"value\":{\"a\": 1},\"timestamp\":5,\"headers\":{\"h\":\"x\"}}\n\n{\"valueBase64\":\"/w==\",\"timestamp\":6}\n";
    assert_eq!(dev.post_text(RECORDS, lines).await.expect(200), json!({"records": 2}));
    let read = dev.get(RECORDS).await.expect(200);
    let expected = json!({"partition": 0, "next": 2, "records": [
        {"offset": 0, "timestamp": 5, "key": "k", "value": "{\"a\": 1}", "headers": [{"name": "h", "value": "x"}]},
        {"offset": 1, "timestamp": 6, "key": null, "valueBase64": "/w=="}]});
    assert_eq!(read, expected);
    let one = dev.get(&format!("{RECORDS}?from=1&limit=1")).await.expect(200);
    assert_eq!((&one["records"][0]["offset"], &one["next"]), (&json!(1), &json!(2)));
    assert_eq!(dev.get(&format!("{RECORDS}?from=latest")).await.expect(200)["records"], json!([]));
}

#[tokio::test]
async fn a_bad_line_writes_nothing_and_is_named() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    let problem = dev.post_text(RECORDS, "{\"value\":\"a\"}\n{\"vlaue\":\"b\"}\n").await.refused(400, "BH0007");
    assert_eq!(problem["errors"][0]["field"], "line 2");
    assert_eq!(dev.get(&format!("{TOPICS}/t")).await.expect(200)["ends"], json!([0]));
}

#[tokio::test]
async fn requests_for_records_are_bounded() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    dev.post_text(RECORDS, vec![b' '; 9 << 20]).await.refused(413, "BH0008");
    dev.post_text(RECORDS, "{}\n".repeat(50_001)).await.refused(413, "BH0008");
    for bad in ["limit=0", "limit=1001", "waitMs=10001", "from=yesterday", "from=-1", "colour=red"] {
        dev.get(&format!("{RECORDS}?{bad}")).await.refused(400, "BH0007");
    }
    dev.get(&format!("{RECORDS}?partition=1")).await.refused(404, "BH0005");
    dev.get(&format!("{RECORDS}?partition=-1")).await.refused(404, "BH0005");
    dev.post_text(&format!("{TOPICS}/nowhere/records"), "{}").await.refused(404, "BH0005");
}
