//! Topics and their records over HTTP.

use crate::client::{Answer, Client};
use crate::harness::Server;
use serde_json::{Value, json};

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
        json!({"name": "t", "partitions": -1}),
        json!({"name": "t", "maxRecordBytes": 1}),
        json!({"name": "t", "maxRecordBytes": 999_999_999}),
    ] {
        dev.post(TOPICS, &bad).await.refused(422, "BH0208");
    }
    dev.post(TOPICS, &json!({"name": "_x"})).await.refused(400, "BH0007");
    dev.post(TOPICS, &json!({"name": "a"})).await.expect(201);
    dev.post(TOPICS, &json!({"name": "b"})).await.expect(201);
    let many = json!({"name": "t", "partitions": 129});
    assert_eq!(dev.post(TOPICS, &many).await.refused(422, "BH0085")["limit"], json!("partitions"));
    dev.post(TOPICS, &json!({"name": "c"})).await.refused(422, "BH0085");
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

async fn with_topic(server: &Server) -> Client {
    let dev = server.tenant("acme").await;
    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    dev
}

async fn ends(dev: &Client) -> Value {
    dev.get(&format!("{TOPICS}/t")).await.expect(200)["ends"].clone()
}

async fn post(dev: &Client, kind: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let request = dev.request("POST", RECORDS).header("content-type", kind).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn records_go_in_and_come_out() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    let lines = "{\"key\":\"k\",\"value\":{\"a\": 1},\"timestamp\":5,\"headers\":{\"h\":\"x\"}}\n\n{\"valueBase64\":\"/w==\",\"timestamp\":6}\n";
    assert_eq!(dev.post_text(RECORDS, lines).await.expect(200), json!({"accepted": 2}));
    let read = dev.get(RECORDS).await.expect(200);
    let expected = json!({"partition": 0, "next": 2, "records": [
        {"offset": 0, "timestamp": 5, "key": "k", "value": "{\"a\": 1}", "headers": [{"name": "h", "value": "x"}]},
        {"offset": 1, "timestamp": 6, "key": null, "valueBase64": "/w=="}]});
    assert_eq!(read, expected);
    for from in ["1", "offset:1", "time:1970-01-01T00:00:00.006Z", "1970-01-01T00:00:00.006Z"] {
        let one = dev.get(&format!("{RECORDS}?from={from}&limit=1")).await.expect(200);
        assert_eq!((&one["records"][0]["offset"], &one["next"]), (&json!(1), &json!(2)), "{from}");
    }
    assert_eq!(dev.get(&format!("{RECORDS}?from=latest")).await.expect(200)["records"], json!([]));
}

#[tokio::test]
async fn a_bad_line_says_what_was_accepted_before_it() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    let lines: String = (1..=6_000)
        .map(|n| if n == 5_000 { "{\"value\": \"cut\n".to_owned() } else { format!("{{\"value\":{n}}}\n") })
        .collect();
    let problem = dev.post_text(RECORDS, lines).await.refused(400, "BH0031");
    assert_eq!((&problem["accepted"], &problem["line"]), (&json!(4_999), &json!(5_000)), "{problem}");
    assert_eq!(ends(&dev).await, json!([4_999]));
    let last = dev.get(&format!("{RECORDS}?from=4998")).await.expect(200);
    assert_eq!(last["records"][0]["value"], "4999", "in their order");
}

#[tokio::test]
async fn json_is_taken_whole_or_not_at_all() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    dev.post(RECORDS, &json!({"value": "one"})).await.expect(200);
    dev.post(RECORDS, &json!([])).await.expect(200);
    assert_eq!(dev.post(RECORDS, &json!([{"value": 1}, {"value": 2}])).await.expect(200), json!({"accepted": 2}));
    let problem = dev.post(RECORDS, &json!([{"value": 1}, {"vlaue": 2}, 3])).await.refused(400, "BH0031");
    assert_eq!((&problem["accepted"], &problem["errors"][1]["field"]), (&json!(0), &json!("[2]")), "{problem}");
    post(&dev, "application/json", &[], "{} {}").await.refused(400, "BH0031");
    post(&dev, "application/json", &[], vec![b' '; 9 << 20]).await.refused(413, "BH0008");
    assert_eq!(ends(&dev).await, json!([3]));
}

#[tokio::test]
async fn bytes_are_one_value_with_the_rest_in_headers() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    let headers = [
        ("Bulkhead-Key-Base64", "/w=="),
        ("Bulkhead-Timestamp", "1970-01-01T00:00:01Z"),
        ("Bulkhead-Header-Colour", "red"),
    ];
    post(&dev, "application/octet-stream", &headers, &b"\0\n\xff"[..]).await.expect(200);
    post(&dev, "application/octet-stream", &[("Bulkhead-Key", "k")], "").await.expect(200);
    let read = dev.get(RECORDS).await.expect(200)["records"].clone();
    let first = json!({"offset": 0, "timestamp": 1000, "keyBase64": "/w==", "valueBase64": "AAr/",
        "headers": [{"name": "colour", "value": "red"}]});
    assert_eq!((&read[0], &read[1]["key"], &read[1]["value"]), (&first, &json!("k"), &json!("")));
    for (name, value) in [
        ("Bulkhead-Partition", "x"),
        ("Bulkhead-Partition", "1"),
        ("Bulkhead-Timestamp", "never"),
        ("Bulkhead-Key-Base64", "?"),
    ] {
        let problem = post(&dev, "application/octet-stream", &[(name, value)], "v").await.refused(400, "BH0031");
        assert_eq!(problem["accepted"], 0, "{problem}");
    }
}

#[tokio::test]
async fn records_that_are_too_large_are_refused_with_what_was_accepted() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    // 100 MB, of which a server that looks at `Content-Length` reads nothing.
    let problem = post(&dev, "application/octet-stream", &[], vec![b'x'; 100_000_000]).await.refused(413, "BH0030");
    assert_eq!(problem["accepted"], 0);
    let mut line = b"{\"value\":1}\n{\"value\":\"".to_vec();
    line.resize(100_000_000, b'x');
    let problem = dev.post_text(RECORDS, line).await.refused(413, "BH0030");
    assert_eq!((&problem["accepted"], &problem["line"]), (&json!(1), &json!(2)), "{problem}");
    let lines = format!("{{\"value\":2}}\n{{\"value\":\"{}\"}}\n", "x".repeat(1 << 20));
    let problem = dev.post_text(RECORDS, lines).await.refused(413, "BH0030");
    assert_eq!((&problem["accepted"], &problem["line"]), (&json!(1), &json!(2)), "{problem}");

    dev.post(TOPICS, &json!({"name": "large", "maxRecordBytes": 16 << 20})).await.expect(201);
    let headers = vec!["{\"name\":\"h\"}"; 1_000_000].join(",");
    let lines = format!("{{\"value\":3}}\n{{\"headers\":[{headers}]}}\n");
    let problem = dev.post_text(&format!("{TOPICS}/large/records"), lines).await.refused(400, "BH0032");
    assert_eq!((&problem["accepted"], &problem["line"]), (&json!(1), &json!(2)), "{problem}");
    assert_eq!(ends(&dev).await, json!([2]));
}

#[tokio::test]
async fn lines_are_written_while_the_body_goes_on() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    }));
    let sending = {
        let dev = dev.clone();
        tokio::spawn(async move { dev.post_text(RECORDS, body).await })
    };
    for n in 1..=3 {
        sender.send(Ok(format!("{{\"value\":{n}}}\n"))).await.unwrap();
        server.until("the line is written", async || ends(&dev).await == json!([n])).await;
    }
    drop(sender);
    assert_eq!(sending.await.unwrap().expect(200), json!({"accepted": 3}));
}

#[tokio::test]
async fn requests_for_records_are_bounded() {
    let server = Server::start().await;
    let dev = with_topic(&server).await;
    for bad in ["limit=0", "limit=1001", "waitMs=10001", "from=yesterday", "from=-1", "from=offset:x", "colour=red"] {
        dev.get(&format!("{RECORDS}?{bad}")).await.refused(400, "BH0007");
    }
    dev.get(&format!("{RECORDS}?partition=1")).await.refused(404, "BH0005");
    dev.get(&format!("{RECORDS}?partition=-1")).await.refused(404, "BH0005");
    dev.post_text(&format!("{TOPICS}/nowhere/records"), "{}").await.refused(404, "BH0005");
}
