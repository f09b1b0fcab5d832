//! One tenant's calls alone, and while another sends twenty times what its plan allows.
//!
//! A few seconds as a test, where only what is counted is asserted; `cargo xtask bench storm` takes longer and shows what each waited. The
//! client is written to cost little, since it shares the machine with the server: bytes on kept connections, one for each thread.
//! Must never: judge a time.

use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Folder, Host, Serve, until};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the plan of both allows.
const PER_SECOND: u32 = 50;
const BURST: u32 = 100;
/// What the stormer sends of it, and over how many connections.
const TIMES: u32 = 20;
const CONNECTIONS: u32 = 10;
/// What the neighbour sends, a second.
const NEIGHBOUR_PER_SECOND: u32 = 20;

/// What a caller saw.
#[derive(Debug, Default)]
struct Seen {
    /// Milliseconds until each answer of a request that was served, and of one that was refused.
    served_ms: Vec<f64>,
    refused_ms: Vec<f64>,
    others: Vec<u16>,
}

/// A kept connection that asks for the same thing again and again.
struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Caller {
    fn new(host: &Host, tenant: &str) -> Result<Self> {
        let address = host.url().trim_start_matches("http://");
        let token = host.token("viewer", Some(tenant))?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let path = format!("/api/v1/tenants/{tenant}/topics");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
        Ok(Self { stream, request: request.into_bytes(), answer: Vec::new() })
    }

    /// Sends one, and gives the status of its answer.
    fn ask(&mut self) -> Result<u16> {
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut part = [0; 4_096];
        loop {
            let read = self.stream.read(&mut part)?;
            ensure!(read > 0, "the server closed the connection");
            self.answer.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&self.answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.context("an answer without a length")?.parse::<usize>()? {
                return Ok(head.split(' ').nth(1).context("no status")?.parse()?);
            }
        }
    }

    /// Sends so many a second until `stop`; one that takes longer than its turn makes the next ones late, not fewer.
    fn keep_asking(&mut self, per_second: u32, stop: &AtomicBool) -> Result<Seen> {
        let (mut seen, every) = (Seen::default(), Duration::from_secs(1) / per_second);
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += every;
            let start = Instant::now();
            let status = self.ask()?;
            let took_ms = start.elapsed().as_secs_f64() * 1_000.0;
            match status {
                200 => seen.served_ms.push(took_ms),
                429 => seen.refused_ms.push(took_ms),
                other => seen.others.push(other),
            }
        }
        Ok(seen)
    }
}

/// The neighbour, and another tenant that sends so many times what its plan allows, for this long.
fn run(host: &Host, times: u32, lasts: Duration) -> Result<(Seen, Seen)> {
    let stop = AtomicBool::new(false);
    let mut neighbour = Caller::new(host, "neighbour")?;
    let mut stormers: Vec<_> =
        (0..CONNECTIONS).filter(|_| times > 0).map(|_| Caller::new(host, "stormer")).collect::<Result<_>>()?;
    thread::scope(|scope| {
        let stop = &stop;
        let calm = scope.spawn(|| neighbour.keep_asking(NEIGHBOUR_PER_SECOND, stop));
        let wild: Vec<_> = stormers
            .iter_mut()
            .map(|caller| scope.spawn(|| caller.keep_asking(PER_SECOND * times / CONNECTIONS, stop)))
            .collect();
        // As long as it is measured.
        thread::sleep(lasts);
        stop.store(true, Ordering::Relaxed);
        let mut storm = Seen::default();
        for caller in wild {
            let seen = caller.join().expect("a caller ends")?;
            storm.served_ms.extend(seen.served_ms);
            storm.refused_ms.extend(seen.refused_ms);
            storm.others.extend(seen.others);
        }
        Ok((calm.join().expect("a caller ends")?, storm))
    })
}

/// `p50 / p99`.
fn middle_and_worst(milliseconds: &[f64]) -> String {
    let mut sorted = milliseconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)));
    match (at(0.5), at(0.99)) {
        (Some(half), Some(worst)) => format!("{half:.1} / {worst:.1}"),
        _ => "-".to_owned(),
    }
}

fn row(who: &str, seen: &Seen, lasts: Duration) -> String {
    let rate = (seen.served_ms.len() + seen.refused_ms.len()) as f64 / lasts.as_secs_f64();
    let (served, refused) = (middle_and_worst(&seen.served_ms), middle_and_worst(&seen.refused_ms));
    let (ok, no) = (seen.served_ms.len(), seen.refused_ms.len());
    format!("{who:<28}{rate:>10.0}{ok:>9}{no:>9}{served:>18}{refused:>18}\n")
}

/// Lines of the stormer's audit about requests that were too many.
fn told(host: &Host) -> Result<Vec<Value>> {
    let auditor = host.tenant_as("stormer", "auditor")?;
    let said = auditor.control().send(
        auditor
            .control()
            .request(reqwest::Method::GET, "/api/v1/tenants/stormer/audit?limit=1000&action=requests.send"),
    )?;
    Ok(said["items"].as_array().context("no items")?.clone())
}

#[test]
fn a_tenants_storm_is_refused_in_few_words_and_its_neighbour_is_served() -> Result<()> {
    let lasts = std::env::var("BULKHEAD_STORM_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    let lasts = Duration::from_secs(lasts);
    let folder = Folder::new("storm")?;
    let plans = folder.join("plans.yaml");
    std::fs::write(&plans, format!("small: {{ apiRequestsPerSecond: {PER_SECOND}, apiBurst: {BURST} }}\n"))?;
    let host = Host::start(Serve::all().argument("--plans").argument(&plans))?;
    for name in ["stormer", "neighbour"] {
        let admin = host.admin()?;
        let made = serde_json::json!({"name": name, "plan": "small"});
        admin.send(admin.request(reqwest::Method::POST, "/api/v1/tenants").json(&made))?;
    }
    let (alone, _) = run(&host, 0, lasts)?;
    let (beside_one, _) = run(&host, 1, lasts)?;
    let start = Instant::now();
    let (beside, storm) = run(&host, TIMES, lasts)?;
    let took_s = start.elapsed().as_secs_f64();

    let mut table = format!("\n{:<28}{:>10}{:>9}{:>9}", "", "calls/s", "served", "refused");
    writeln!(table, "{:>18}{:>18}", "served p50/p99 ms", "refused p50/p99 ms")?;
    table += &row("neighbour alone", &alone, lasts);
    table += &row("beside a tenant at its rate", &beside_one, lasts);
    table += &row("beside 20 times that", &beside, lasts);
    table += &row("the storm", &storm, lasts);
    println!("{table}an unoptimised server and its callers on the same machine, {} s each", lasts.as_secs());

    for seen in [&alone, &beside_one, &beside] {
        assert!(seen.refused_ms.is_empty() && seen.others.is_empty(), "the neighbour was refused: {seen:?}");
    }
    assert!(!storm.refused_ms.is_empty() && storm.others.is_empty(), "the storm was served: {:?}", storm.others);
    // One token has four fifths of its tenant's; here all connections have one each, and the tenant's is what holds.
    let allowed = f64::from(PER_SECOND) * took_s + f64::from(BURST) + 1.0;
    assert!(storm.served_ms.len() as f64 <= allowed, "{} were served of {allowed} allowed", storm.served_ms.len());
    until("the audit to tell of it", || {
        let told = told(&host).map_err(|error| error.to_string())?;
        let minutes = took_s as usize / 60 + 1;
        if (1..=minutes + 1).contains(&told.len()) { Ok(()) } else { Err(format!("{told:?}")) }
    })?;
    Ok(())
}
