//! What a tenant follows live: records of a topic on either log, and the lines of its stages.

use crate::brokers::shared;
use crate::shared::{Guests, host, tenant_with_guests};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Line, Serve, Tenant, until};
use reqwest::Method;
use reqwest::blocking::Response;
use serde_json::Value;
use std::io::{BufRead, BufReader};

/// An open stream of events.
struct Events(BufReader<Response>);

impl Events {
    fn open(tenant: &Tenant, path: &str, last: &str) -> Result<Self> {
        let request = tenant.request(Method::GET, path).header("accept", "text/event-stream");
        // No time limit: a stream has no end, and the test's own runner ends one that hangs.
        let response = request.header("last-event-id", last).timeout(std::time::Duration::MAX).send()?;
        Ok(Self(BufReader::new(response.error_for_status()?)))
    }

    /// The id and the data of the next event that has data.
    fn next(&mut self) -> Result<(String, Value)> {
        let (mut id, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            anyhow::ensure!(self.0.read_line(&mut line)? > 0, "the stream ended");
            if let Some(text) = line.strip_prefix("id: ") {
                text.trim_end().clone_into(&mut id);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok((id, serde_json::from_str(data)?));
            }
        }
    }

    fn values(&mut self, count: usize) -> Result<(Vec<String>, String)> {
        let (mut values, mut last) = (Vec::new(), String::new());
        for _ in 0..count {
            let (id, data) = self.next()?;
            values.push(data["value"].as_str().context("a value")?.to_owned());
            last = id;
        }
        values.sort();
        Ok((values, last))
    }
}

fn records_are_followed_and_the_stream_is_resumed(host: &Host, name: &str) -> Result<()> {
    let tenant = host.tenant(name)?;
    tenant.create_topic("followed", 3)?;
    let write = |range: std::ops::Range<u32>| {
        let lines: Vec<Line> = range.map(|n| Line::text(&format!("key {n}"), &format!("{n:02}"))).collect();
        tenant.produce("followed", &lines)
    };
    let numbers = |range: std::ops::Range<u32>| range.map(|n| format!("{n:02}")).collect::<Vec<_>>();
    write(0..20)?;
    let mut events = Events::open(&tenant, "/topics/followed/records", "")?;
    assert_eq!(events.values(20)?.0, numbers(0..20));
    write(20..30)?;
    let (values, last) = events.values(10)?;
    assert_eq!(values, numbers(20..30));
    drop(events);
    write(30..40)?;
    let mut again = Events::open(&tenant, "/topics/followed/records", &last)?;
    assert_eq!(again.values(10)?.0, numbers(30..40), "where the other ended");
    Ok(())
}

#[test]
fn records_are_followed_on_the_embedded_log() -> Result<()> {
    records_are_followed_and_the_stream_is_resumed(&*host()?, "followed")
}

#[test]
fn records_are_followed_on_kafka() -> Result<()> {
    let broker = shared()?;
    let host = Host::start(Serve::control().slot("streamed").kafka(&broker.login))?;
    records_are_followed_and_the_stream_is_resumed(&host, "streamed")
}

#[test]
fn a_stages_lines_reach_its_tenant_and_nobody_else() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "talkative")?;
    let neighbour = tenant_with_guests(&host, "curious")?;
    tenant.run_guest("talk", "log_flood", "")?;
    neighbour.run_guest("talk", "passthrough", "")?;
    let mut events = Events::open(&tenant, "/projects/default/logs?stage=guest&level=info", "")?;
    tenant.put("talk", &["!3"])?;
    let (_, first) = events.next()?;
    let message = first["message"].as_str().context("a message")?;
    assert!(message.starts_with('€') && message.len() <= 4096, "cut: {} bytes", message.len());
    assert_eq!(
        (&first["level"], &first["stage"], &first["pipeline"]),
        (&"warn".into(), &"guest".into(), &"talk".into())
    );
    for n in 0..3 {
        assert_eq!(events.next()?.1["message"], format!("line {n}"));
    }
    let lines = |tenant: &Tenant, query: &str| {
        let path = format!("/projects/default/logs?{query}");
        tenant.control().send(tenant.request(Method::GET, &path)).map_err(|refused| refused.to_string())
    };
    until("Bulkhead's own line", || {
        let page = lines(&tenant, "pipeline=talk&limit=1000")?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let own = items.iter().filter(|item| item["stage"].is_null());
        let running = own.into_iter().any(|item| item["message"] == "revision 1 is running");
        if running { Ok(()) } else { Err(page.to_string()) }
    })?;
    let theirs = lines(&neighbour, "limit=1000").map_err(anyhow::Error::msg)?.to_string();
    assert!(!theirs.contains("line 0") && !theirs.contains('€'), "{theirs}");
    Ok(())
}
