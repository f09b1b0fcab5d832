//! Uploads that are no stage, too much, cut short or a trap for the compiler: refused with a code and what to do, and nothing is kept.

use crate::shared::{Guests, STRANGER, host, refused, tells_nothing};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_test_guests::bombs::{bomb, functions, jumps};
use bulkhead_test_guests::raw::nameless_spin;
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{Host, Serve, Tenant, until};
use reqwest::Method;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// What a gigabyte is.
const GIB: u64 = 1 << 30;
/// How much of an upload the host may have taken before it refused it: what was on its way, far from all.
const TAKEN_MAX: u64 = 160 << 20;
/// How much the host may grow by refusing gigabytes.
const GROWTH_MAX_KIB: u64 = 48 << 10;
/// In what is uploaded and refused, to be looked for on the disk.
const MARK: &[u8] = b"this upload must leave nothing behind";

fn no_modules(tenant: &Tenant) -> Result<()> {
    let list = tenant.control().send(tenant.request(Method::GET, "/projects/default/modules"))?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0), "{list}");
    Ok(())
}

#[test]
fn what_is_no_stage_is_refused_by_name_and_not_kept() -> Result<()> {
    let host = host()?;
    let tenant = host.tenant("uploader")?;
    let core = [&b"\0asm\x01\0\0\0"[..], &[0, 38], MARK].concat();
    let empty_component = b"\0asm\x0d\0\x01\0".to_vec();
    for (bytes, code, words) in [
        (b"#!/bin/sh\necho hello".to_vec(), "BH0101", "00 61 73 6d"),
        (b"(module)".to_vec(), "BH0101", "assemble"),
        (Vec::new(), "BH0101", "empty"),
        (core, "BH0102", "wasm32-wasip2"),
        (empty_component, "BH0103", "bulkhead:stage/processor@0.1.0"),
        (wasm("sockets").to_vec(), "BH0104", "`wasi:sockets/tcp@0.2"),
        (wasm("trap")[..wasm("trap").len() / 2].to_vec(), "BH0108", "build it again"),
    ] {
        let problem = refused(tenant.upload("m", "v1", bytes), 422, code, "");
        assert!(problem.detail.contains(words), "{code}: `{}` lacks `{words}`", problem.detail);
    }
    no_modules(&tenant)?;
    refused(tenant.control().send(tenant.request(Method::GET, "/projects/default/modules/m")), 404, "BH0005", "`m`");
    Ok(())
}

#[test]
fn a_digest_that_does_not_match_is_refused() -> Result<()> {
    let host = host()?;
    let tenant = host.tenant("digests")?;
    let put = |digest: [u8; 32]| {
        let request = tenant.request(Method::PUT, "/projects/default/modules/m?tag=v1");
        let digest = format!("sha-256=:{}:", STANDARD.encode(digest));
        tenant.control().send(request.header("repr-digest", digest).body(wasm("trap")))
    };
    let problem = refused(put([7; 32]), 422, "BH0109", "upload it again");
    assert!(problem.detail.contains(&format!("sha256:{}", "07".repeat(32))), "{problem}");
    no_modules(&tenant)
}

/// Any file below this folder that holds the mark.
fn marked(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return marked(&path);
        }
        let bytes = std::fs::read(&path).ok()?;
        bytes.windows(MARK.len()).any(|window| window == MARK).then(|| path.display().to_string())
    })
}

/// A connection with the head of an upload sent.
fn begin(host: &Host, tenant: &str, headers: &str) -> Result<TcpStream> {
    let token = host.token("developer", Some(tenant))?;
    let mut stream = TcpStream::connect(host.url().trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let path = format!("/api/v1/tenants/{tenant}/projects/default/modules/m");
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}\r\n\r\n")?;
    Ok(stream)
}

/// The first that the host says.
fn answer(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = [0; 8192];
    let read = stream.read(&mut bytes).context("no answer")?;
    Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
}

fn answered(stream: &TcpStream) -> Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        other => Ok(other.map(|_| true)?),
    }
}

/// The most memory that the process has had, in KiB.
fn peak(host: &Host) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.process()?.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_gigabyte_is_refused_early_and_costs_no_memory() -> Result<()> {
    let host = Host::start(Serve::all())?;
    host.admin()?.create_tenant(STRANGER)?;
    let tenant = host.tenant("giant")?;
    // What any upload costs is there before the look.
    refused(tenant.upload("m", "v1", vec![0; 1 << 20]), 422, "BH0101", "00 61 73 6d");
    let before = peak(&host)?;

    let mut declared = begin(&host, "giant", &format!("Content-Length: {GIB}"))?;
    let said = answer(&mut declared)?;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("BH0105"), "{said}");
    assert!(said.contains("67108864 bytes") && said.contains("opt-level"), "{said}");
    tells_nothing(&said);

    let mut chunked = begin(&host, "giant", "Transfer-Encoding: chunked")?;
    let piece = [format!("{:x}\r\n", 1 << 20).as_bytes(), &MARK.repeat((1 << 20) / MARK.len() + 1)[..1 << 20], b"\r\n"]
        .concat();
    let mut sent = 0;
    while sent < GIB && !answered(&chunked)? {
        if chunked.write_all(&piece).is_err() {
            break;
        }
        sent += 1 << 20;
    }
    let said = answer(&mut chunked)?;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("BH0105"), "{said}");
    assert!(sent < TAKEN_MAX, "the host took {} MiB", sent >> 20);

    let after = peak(&host)?;
    assert!(after - before < GROWTH_MAX_KIB, "the host grew from {before} to {after} KiB");
    no_modules(&tenant)?;
    until("nothing of it to be on the disk", || marked(&host.data_dir()).map_or(Ok(()), Err))
}

#[test]
fn an_upload_that_ends_early_leaves_nothing() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let tenant = host.tenant("torn")?;
    for (headers, body) in [
        ("Content-Length: 1000", [&b"\0asm\x0d\0\x01\0"[..], MARK].concat()),
        ("Transfer-Encoding: chunked", [format!("{:x}\r\n", MARK.len()).as_bytes(), MARK, b"\r\n40\r\n\0asm"].concat()),
    ] {
        let mut stream = begin(&host, "torn", headers)?;
        stream.write_all(&body)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let said = answer(&mut stream)?;
        assert!(said.starts_with("HTTP/1.1 400") && said.contains("BH0106"), "{headers}: {said}");
        assert!(said.contains("upload it again"), "{said}");
        tells_nothing(&said);
    }
    no_modules(&tenant)?;
    until("nothing of it to be on the disk", || marked(&host.data_dir()).map_or(Ok(()), Err))
}

#[test]
fn a_compile_bomb_dies_while_the_host_serves_others() -> Result<()> {
    let host = Host::start(Serve::all().argument("--compile-cpu-s").argument("6"))?;
    host.admin()?.create_tenant(STRANGER)?;
    let neighbour = host.tenant("neighbour")?;
    neighbour.upload_guests()?;
    neighbour.run_guest("pass", "passthrough", "")?;
    let bomber = host.tenant("bomber")?;
    std::thread::scope(|scope| -> Result<()> {
        let upload = scope.spawn(|| bomber.upload("m", "v1", bomb()));
        until("the bomb to be compiled", || compilers(&host).map_err(|error| error.to_string()))?;
        neighbour.put("pass", &["while it burns"])?;
        assert_eq!(neighbour.out("pass", 1)?, ["while it burns"]);
        assert!(!upload.is_finished(), "the bomb was gone before the neighbour's record");
        let problem = refused(upload.join().expect("no panic"), 422, "BH0107", "CPU time");
        assert!(problem.detail.contains("at most 6 s"), "{problem}");
        Ok(())
    })?;
    no_modules(&bomber)?;
    assert!(compilers(&host).is_err(), "a compiler is left");
    // And the bomber itself is served like anybody else.
    bomber.upload_guests()
}

#[test]
fn a_tenant_with_many_uploads_does_not_hold_up_anothers_single_one() -> Result<()> {
    let host = Host::start(Serve::all().argument("--compile-cpu-s").argument("20"))?;
    let (many, one) = (host.tenant("many")?, host.tenant("one")?);
    let uploads: Vec<_> = (0..3)
        .map(|i| {
            // Each another, so that none waits for its twin.
            let (many, wasm) = (many.clone(), functions(1_000 + i, &jumps(200)));
            std::thread::spawn(move || many.upload("bomb", "v1", wasm))
        })
        .collect();
    until("the first to be compiled", || compilers(&host).map_err(|error| error.to_string()))?;
    one.upload("small", "v1", nameless_spin())?;
    // They would have had both places, one pair after the other, for 20 seconds of a core each.
    assert!(uploads.iter().all(|upload| !upload.is_finished()), "it waited for the others");
    drop(host);
    for upload in uploads {
        assert!(upload.join().expect("no panic").is_err(), "the host is gone");
    }
    Ok(())
}

/// Fails where the host has no compiler child.
fn compilers(host: &Host) -> Result<()> {
    let id = host.process()?.id();
    let mut children = String::new();
    for task in std::fs::read_dir(format!("/proc/{id}/task"))?.flatten() {
        children.push_str(&std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    }
    anyhow::ensure!(!children.trim().is_empty(), "no child");
    Ok(())
}
