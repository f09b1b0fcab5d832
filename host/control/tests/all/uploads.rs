//! Uploads: what is kept, what is refused and when, and that nothing is left of what was refused.

use crate::client::Answer;
use crate::harness::{Server, component};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_control::{Grant, Role};
use bulkhead_core::name::ModuleDigest;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MODULES: &str = "/api/v1/tenants/acme/projects/default/modules";
const M: &str = "/api/v1/tenants/acme/projects/default/modules/m";

/// Fails unless no byte of a refused upload is left. Its deletion may still be under way when the answer comes.
async fn nothing_is_left(server: &Server) {
    server.until("nothing of the upload is left", async || server.objects().is_empty()).await;
    let list = server.client("acme", Role::Viewer).get(MODULES).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn modules_are_kept_by_digest_and_named_by_tag() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let (one, two) = (component("1"), component("2"));
    let made = dev.put(M, one.clone()).await.expect(201);
    let digest = ModuleDigest::of(&one).to_string();
    assert_eq!((&made["digest"], &made["tag"], &made["bytes"]), (&json!(digest), &json!("latest"), &json!(5)));
    assert_eq!(made["imports"], json!(["bulkhead:stage/host@0.1.0"]));
    let again = dev.put(&format!("{M}?tag=v1"), one.clone()).await.expect(200);
    assert_eq!((&again["created"], server.ports.modules.asked.load(Ordering::SeqCst)), (&json!(false), 1));
    dev.put(M, two.clone()).await.expect(201);
    let tags = dev.get(M).await.expect(200);
    assert_eq!(tags["tags"][0]["module"]["digest"], ModuleDigest::of(&two).to_string());
    assert_eq!((&tags["tags"][1]["tag"], &tags["tags"][1]["module"]["digest"]), (&json!("v1"), &json!(digest)));
    assert_eq!(dev.get(&format!("{MODULES}/{digest}")).await.expect(200)["tags"], json!(["m:v1"]));
    assert_eq!(dev.get(MODULES).await.expect(200)["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.objects().len(), 2);
    dev.get(&format!("{MODULES}/n")).await.refused(404, "BH0005");
}

#[tokio::test]
async fn only_unused_modules_are_deleted_bytes_included() {
    let server = Server::start().await;
    let dev = crate::pipelines::ready(&server, "acme").await;
    let pipeline = "/api/v1/tenants/acme/projects/default/pipelines/p";
    dev.put(pipeline, crate::pipelines::MANIFEST).await.expect(201);
    let problem = dev.delete(M).await.refused(409, "BH0110");
    assert!(problem["detail"].as_str().unwrap().contains("`p`"));
    let digest = ModuleDigest::of(&component("1")).to_string();
    dev.delete(&format!("{MODULES}/{digest}")).await.refused(409, "BH0110");
    dev.get(M).await.expect(200);
    dev.delete(pipeline).await.expect(204);
    dev.put(&format!("{MODULES}/other"), component("1")).await.expect(200);
    dev.delete(M).await.expect(204);
    assert_eq!(server.objects().len(), 1, "another name still points at it");
    dev.delete(&format!("{MODULES}/{digest}")).await.expect(204);
    nothing_is_left(&server).await;
    dev.delete(M).await.refused(404, "BH0005");
}

#[tokio::test]
async fn what_inspection_refuses_is_not_kept() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    dev.put(M, "#!/bin/sh").await.refused(422, "BH0101");
    let problem = dev.put(M, component("socket")).await.refused(422, "BH0104");
    assert!(problem["detail"].as_str().unwrap().contains("wasi:sockets/tcp"));
    dev.put(M, "").await.refused(422, "BH0101");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn headers_that_do_not_fit_are_refused() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
        ("repr-digest", "sha-256=:nonsense:"),
        ("repr-digest", "md5=:AAAA:"),
        ("digest", "SHA-256=AAAA"),
    ] {
        let answer = dev.request("PUT", M).header(name, value).body(component("1")).send().await.unwrap();
        Answer::of(answer).await.refused(400, "BH0007");
    }
    dev.put(&format!("{M}?tag=Bad_Tag"), component("1")).await.refused(400, "BH0007");
    dev.put(&format!("{M}?tga=v1"), component("1")).await.refused(400, "BH0007");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_digest_header_is_checked() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let wasm = component("1");
    let right = STANDARD.encode(ModuleDigest::of(&wasm).as_bytes());
    let wrong = STANDARD.encode([0; 32]);
    let put = async |name: &str, value: String| {
        Answer::of(dev.request("PUT", M).header(name, value).body(wasm.clone()).send().await.unwrap()).await
    };
    put("repr-digest", format!("sha-256=:{wrong}:")).await.refused(422, "BH0109");
    put("digest", format!("SHA-256={wrong}")).await.refused(422, "BH0109");
    nothing_is_left(&server).await;
    put("repr-digest", format!("sha-512=:xx:, sha-256=:{right}:")).await.expect(201);
    put("digest", format!("SHA-256={right}")).await.expect(200);
}

/// The request's head as bytes, with a body to come.
fn head(server: &Server, headers: &str) -> String {
    let grant = Grant::new("dev", Some("acme".parse().unwrap()), Role::Developer);
    let token = server.control.issuer().mint(&grant).unwrap();
    format!("PUT {M} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}\r\n\r\n")
}

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Reset after the answer is fine; reset before it leaves the answer empty, which the caller sees.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_declared_gigabyte_is_refused_before_a_byte_of_it() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for extra in ["", "\r\nExpect: 100-continue"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = head(&server, &format!("Content-Length: 1073741824{extra}"));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 4096];
        let read = stream.read(&mut first).await.unwrap();
        let answer = String::from_utf8_lossy(&first[..read]);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("BH0105"), "{extra:?}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(head(&server, "Content-Length: 5\r\nConnection: close\r\nExpect: 100-continue").as_bytes())
        .await
        .unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&component("1")).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_sends_before_it_listens_still_gets_the_answer() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head(&server, "Content-Length: 1073741824").as_bytes()).await.unwrap();
    let chunk = vec![0; 1 << 20];
    for _ in 0..32 {
        stream.write_all(&chunk).await.expect("the server hung up on a client that was still sending");
    }
    stream.shutdown().await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("BH0105"), "{answer:?}");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn an_endless_upload_is_cut_off_at_the_limit() {
    let server = Server::with(|config| config.module_bytes_max = 1 << 20).await;
    let dev = server.tenant("acme").await;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let endless = futures::stream::repeat_with(move || {
        count.fetch_add(1 << 16, Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1 << 16]))
    });
    let body = reqwest::Body::wrap_stream(endless.take(1 << 14));
    dev.put(M, body).await.refused(413, "BH0105");
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 200 << 20, "the server took {sent} of 1 GiB");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_module_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let server = Server::with(|config| config.module_bytes_max = 4_096).await;
    let dev = server.tenant("acme").await;
    let wasm = component(&"x".repeat(4_092));
    dev.put(M, [wasm.clone(), b"y".to_vec()].concat()).await.refused(413, "BH0105");
    nothing_is_left(&server).await;
    dev.put(M, wasm).await.expect(201);
}

#[tokio::test]
async fn an_upload_that_ends_early_is_not_kept() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for (headers, body) in [
        ("Content-Length: 100", &b"\0asm and no more"[..]),
        ("Transfer-Encoding: chunked", b"8\r\n\0asm1234\r\n8\r\n\0as"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head(&server, headers).as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("BH0106"), "{headers}: {answer:?}");
        nothing_is_left(&server).await;
    }
    assert_eq!(server.ports.modules.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_upload_whose_client_vanishes_is_not_kept() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head(&server, "Content-Length: 3000000").as_bytes()).await.unwrap();
    stream.write_all(&vec![0; 2_000_000]).await.unwrap();
    server.until("the upload has begun", async || !server.objects().is_empty()).await;
    drop(stream);
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_stalled_upload_is_ended() {
    let server = Server::with(|config| config.upload_idle = Duration::from_millis(200)).await;
    let dev = server.tenant("acme").await;
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"\0asm"))]);
    dev.put(M, reqwest::Body::wrap_stream(first.chain(futures::stream::pending()))).await.refused(408, "BH0009");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn a_trickled_upload_is_ended() {
    let server = Server::with(|config| config.upload_time_max = Duration::from_millis(500)).await;
    let dev = server.tenant("acme").await;
    let trickle = futures::stream::unfold((), |()| async {
        // A client that is slow but never idle.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"\0")), ()))
    });
    dev.put(M, reqwest::Body::wrap_stream(trickle)).await.refused(408, "BH0009");
    nothing_is_left(&server).await;
}

#[tokio::test]
async fn one_tenants_uploads_do_not_take_anothers_places() {
    let server = Server::with(|config| config.uploads_per_tenant_max = 1).await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    server.ports.modules.gate.forget_permits(1_000);
    let first = tokio::spawn({
        let acme = acme.clone();
        async move { acme.put(M, component("1")).await.status }
    });
    server.until("the upload is inspected", async || server.ports.modules.asked.load(Ordering::SeqCst) == 1).await;
    acme.put(M, component("2")).await.refused(503, "BH0011");
    server.ports.modules.gate.add_permits(1_000);
    globex.put("/api/v1/tenants/globex/projects/default/modules/m", component("3")).await.expect(201);
    assert_eq!(first.await.unwrap(), 201);
    acme.put(M, component("2")).await.expect(201);
}

#[tokio::test]
async fn a_tenants_modules_are_bounded() {
    let server = Server::with(|config| config.quotas.modules = 1).await;
    let dev = server.tenant("acme").await;
    dev.put(M, component("1")).await.expect(201);
    dev.put(M, component("2")).await.refused(422, "BH0085");
    let tags = dev.get(M).await.expect(200);
    assert_eq!(tags["tags"][0]["module"]["digest"], ModuleDigest::of(&component("1")).to_string());
    server.until("only the first is left", async || server.objects().len() == 1).await;
}

#[tokio::test]
async fn the_same_bytes_of_two_tenants_are_two_modules() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    acme.put(M, component("1")).await.expect(201);
    globex.put("/api/v1/tenants/globex/projects/default/modules/m", component("1")).await.expect(201);
    assert_eq!(server.ports.modules.asked.load(Ordering::SeqCst), 2, "one tenant could tell what another has uploaded");
    acme.delete(M).await.expect(204);
    globex.get("/api/v1/tenants/globex/projects/default/modules/m").await.expect(200);
    assert_eq!(server.objects().len(), 1);
}
