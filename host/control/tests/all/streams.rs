//! Streams of records: what a reader of server-sent events sees, and what becomes of one that does not read.

use crate::client::{Answer, Client};
use crate::harness::Server;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TOPICS: &str = "/api/v1/tenants/acme/topics";
const RECORDS: &str = "/api/v1/tenants/acme/topics/t/records";

/// An event as a browser would give it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// A stream being read.
pub(crate) struct Reader {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Reader {
    pub(crate) async fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let request = client.request("GET", path).header("accept", "text/event-stream");
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event, `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event::default();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => id.clone_into(&mut event.id),
                        Some(("event", kind)) => kind.clone_into(&mut event.kind),
                        Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                return Some(event);
            }
            self.text += std::str::from_utf8(&self.body.next().await?.ok()?).unwrap();
        }
    }

    pub(crate) async fn values(&mut self, count: usize) -> (Vec<String>, String) {
        let (mut values, mut last) = (Vec::new(), String::new());
        while values.len() < count {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == "record" {
                values.push(event.data["value"].as_str().unwrap().to_owned());
            }
            last = event.id;
        }
        (values, last)
    }
}

async fn ready(server: &Server, partitions: i32) -> Client {
    let dev = server.tenant("acme").await;
    dev.post(TOPICS, &json!({"name": "t", "partitions": partitions})).await.expect(201);
    dev
}

async fn write(dev: &Client, partition: i32, values: std::ops::Range<u32>) {
    let lines: String = values.map(|n| format!("{{\"value\":{n},\"partition\":{partition}}}\n")).collect();
    dev.post_text(RECORDS, lines).await.expect(200);
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_stream_gives_what_is_there_and_what_comes() {
    let server = Server::start().await;
    let dev = ready(&server, 2).await;
    write(&dev, 1, 0..3).await;
    let mut reader = Reader::open(&dev, RECORDS, None).await;
    let first = reader.next().await.unwrap();
    assert_eq!((first.id.as_str(), first.kind.as_str()), ("0:0,1:0", ""), "a place to come back to at once");
    let record = reader.next().await.unwrap();
    assert_eq!((record.id.as_str(), record.kind.as_str()), ("0:0,1:1", "record"));
    assert_eq!(
        (&record.data["partition"], &record.data["offset"], &record.data["value"]),
        (&json!(1), &json!(0), &json!("0"))
    );
    assert_eq!(reader.values(2).await.0, numbers(1..3));
    write(&dev, 0, 3..5).await;
    assert_eq!(reader.values(2).await, (numbers(3..5), "0:2,1:3".to_owned()));
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke() {
    let server = Server::start().await;
    let dev = ready(&server, 2).await;
    write(&dev, 0, 0..5).await;
    let mut reader = Reader::open(&dev, &format!("{RECORDS}?from=offset:1"), None).await;
    let (values, last) = reader.values(2).await;
    assert_eq!(values, numbers(1..3));
    drop(reader);
    write(&dev, 1, 5..6).await;
    // The id wins over `from`.
    let mut again = Reader::open(&dev, &format!("{RECORDS}?from=latest"), Some(&last)).await;
    let mut values = again.values(3).await.0;
    values.sort();
    assert_eq!(values, numbers(3..6), "nothing lost, nothing twice");
    for bad in ["0:1", "0:1,1:-1", "1:1,0:1", "x"] {
        let request = dev.request("GET", RECORDS).header("accept", "text/event-stream").header("last-event-id", bad);
        Answer::of(request.send().await.unwrap()).await.refused(400, "BH0007");
    }
}

#[tokio::test]
async fn a_stream_begins_at_the_end_at_a_time_or_with_one_partition() {
    let server = Server::start().await;
    let dev = ready(&server, 2).await;
    let lines = "{\"value\":\"old\",\"timestamp\":5,\"partition\":0}\n{\"value\":\"new\",\"timestamp\":60000,\"partition\":0}\n";
    dev.post_text(RECORDS, lines).await.expect(200);
    let mut at = Reader::open(&dev, &format!("{RECORDS}?from=time:1970-01-01T00:01:00Z"), None).await;
    assert_eq!(at.values(1).await.0, ["new"]);
    let mut end = Reader::open(&dev, &format!("{RECORDS}?from=latest"), None).await;
    end.next().await.unwrap();
    let mut one = Reader::open(&dev, &format!("{RECORDS}?partition=1"), None).await;
    assert_eq!(one.next().await.unwrap().id, "1:0");
    write(&dev, 0, 7..8).await;
    write(&dev, 1, 8..9).await;
    assert_eq!(end.values(1).await.0, ["7"]);
    assert_eq!(one.values(1).await, (vec!["8".to_owned()], "1:1".to_owned()));
}

#[tokio::test]
async fn a_stream_ends_with_its_topic_its_tenant_and_its_server() {
    let server = Server::start().await;
    let dev = ready(&server, 1).await;
    let mut reader = Reader::open(&dev, RECORDS, None).await;
    reader.next().await.unwrap();
    dev.delete(&format!("{TOPICS}/t")).await.expect(204);
    let end = reader.next().await.unwrap();
    assert_eq!((end.kind.as_str(), &end.data["code"]), ("error", &json!("BH0005")));
    assert_eq!(reader.next().await, None);

    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    let mut reader = Reader::open(&dev, RECORDS, None).await;
    reader.next().await.unwrap();
    let background = server.control.clone();
    let background = tokio::spawn(async move { background.run().await });
    server.platform().delete("/api/v1/tenants/acme").await;
    while reader.next().await.is_some() {}

    let dev = {
        server
            .until("the name is free", async || {
                let made = server.platform().post("/api/v1/tenants", &json!({"name": "acme"})).await;
                made.status == 201
            })
            .await;
        server.client("acme", bulkhead_control::Role::Developer)
    };
    dev.post(TOPICS, &json!({"name": "t"})).await.expect(201);
    let mut reader = Reader::open(&dev, RECORDS, None).await;
    reader.next().await.unwrap();
    server.control.stop();
    assert_eq!(reader.next().await, None);
    background.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_never_reads_loses_its_place() {
    let server = Server::with(|config| config.streams_per_tenant_max = 1).await;
    let dev = ready(&server, 1).await;
    // More than all buffers between the two hold.
    let line = format!("{{\"value\":\"{}\"}}\n", "x".repeat(100_000));
    dev.post_text(RECORDS, line.repeat(400)).await.expect(200);
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let token = {
        let grant =
            bulkhead_control::Grant::new("silent", Some("acme".parse().unwrap()), bulkhead_control::Role::Viewer);
        server.control.issuer().mint(&grant).unwrap()
    };
    let request = format!(
        "GET {RECORDS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    silent.write_all(request.as_bytes()).await.unwrap();
    let ask = async || dev.request("GET", RECORDS).header("accept", "text/event-stream").send().await.unwrap();
    // It has its place once it is answered; that much it reads.
    let mut status = [0; 12];
    silent.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    Answer::of(ask().await).await.refused(429, "BH0033");
    server.until("the silent one has lost it", async || ask().await.status() == 200).await;
    drop(silent);
}
