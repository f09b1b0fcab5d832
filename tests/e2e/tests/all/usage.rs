//! What is billed, in the real process, over SIGKILLs: the fuel that the engine counted for work which committed, to the unit.
//!
//! The engine's count is the worker's own trace of each call: which offsets it was given, what it burnt, and how it ended. Which calls
//! committed is told by where the next process began: at the committed position. The bill is asked of the API.
//! `BULKHEAD_BILL_RECORDS` says how many records; `cargo xtask bench bill` takes more.
//! Must never: take a figure of the bill from what made the bill.

use crate::brokers::shared as broker;
use crate::shared::{Guests, manifest};
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Line, Process, Serve, Tenant, until};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use reqwest::Method;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Records where nobody says how many.
const RECORDS: u64 = 300;
const KILLS: i64 = 5;
/// About so much fuel is one record: some ten milliseconds, a little below the cap, so that there is a middle to be killed in.
const FUEL: u64 = 40_000_000;
/// A record that is above the cap: its calls fail, it is confirmed alone, and becomes a dead letter.
const POISON: u64 = 70_000_000;
const POISON_EVERY: u64 = 50;
/// What makes the worker say what each call burnt.
const TRACED: &str = "info,bulkhead_flow::stage_call=trace";

/// One call of the stage, as the worker traced it.
#[derive(Debug)]
struct Call {
    first: i64,
    kind: String,
    fuel: u64,
}

/// What the calls of committed work burnt, by how they ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Burnt {
    ended: u64,
    failed: u64,
    confirm: u64,
}

fn calls(log: &Path) -> Result<Vec<Call>> {
    let text = std::fs::read_to_string(log)?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["message"] == "called");
    lines
        .map(|line| {
            let whole = |name: &str| line[name].as_u64().with_context(|| format!("{name} of {line}"));
            let kind = line["kind"].as_str().context("kind")?.to_owned();
            Ok(Call { first: line["first"].as_i64().context("first")?, kind, fuel: whole("fuel")? })
        })
        .collect()
}

/// Sums up the calls that committed, of processes that followed each other.
fn committed(logs: &[PathBuf]) -> Result<(Burnt, usize)> {
    let runs = logs.iter().map(|log| calls(log)).collect::<Result<Vec<_>>>()?;
    let runs: Vec<_> = runs.into_iter().filter(|calls| !calls.is_empty()).collect();
    let (mut burnt, mut lost) = (Burnt::default(), 0);
    for (i, run) in runs.iter().enumerate() {
        let position = runs.get(i + 1).map_or(i64::MAX, |next| next[0].first);
        for call in run {
            match call.kind.as_str() {
                _ if call.first >= position => lost += 1,
                "ended" => burnt.ended += call.fuel,
                "failed" => burnt.failed += call.fuel,
                _ => burnt.confirm += call.fuel,
            }
        }
    }
    Ok((burnt, lost))
}

fn usage(tenant: &Tenant, by: &str) -> Result<Value> {
    let path = format!("/api/v1/tenants/{}/usage?by={by}", tenant.name());
    Ok(tenant.control().send(tenant.control().request(Method::GET, &path))?)
}

/// Stage and fuel of each line, as the API gives it to a data frame.
fn data_frame(tenant: &Tenant) -> Result<Vec<(String, i64)>> {
    const PARQUET: &str = "application/vnd.apache.parquet";
    let answer = tenant.request(Method::GET, "/usage?by=hour,stage").header("accept", PARQUET).send()?;
    ensure!(answer.headers()["content-type"] == PARQUET, "{:?}", answer.headers());
    let rows = SerializedFileReader::new(answer.bytes()?)?.get_row_iter(None)?.collect::<Result<Vec<_>, _>>()?;
    let cell = |row: &parquet::record::Row, name: &str| {
        let found = row.get_column_iter().find(|(column, _)| *column == name);
        found.map(|(_, field)| field.clone()).with_context(|| format!("no column `{name}` in {row}"))
    };
    rows.iter()
        .map(|row| match (cell(row, "stage")?, cell(row, "fuel")?) {
            (Field::Str(stage), Field::Long(fuel)) => Ok((stage, fuel)),
            other => anyhow::bail!("{other:?}"),
        })
        .collect()
}

fn end(tenant: &Tenant, topic: &str) -> i64 {
    tenant.topic(topic).map_or(0, |shown| shown["ends"][0].as_i64().unwrap_or_default())
}

fn values(records: u64) -> Vec<String> {
    let value = |i: u64| if i % POISON_EVERY == POISON_EVERY - 1 { POISON + i } else { FUEL + i };
    (0..records).map(|i| value(i).to_string()).collect()
}

/// Feeds the pipeline, and kills what runs it five times in the middle of its work.
fn disturb(tenant: &Tenant, records: u64, mut kill: impl FnMut() -> Result<()>) -> Result<()> {
    tenant.upload_guests()?;
    tenant.topics("p")?;
    for some in values(records).chunks(1_000) {
        tenant.produce("p-in", &some.iter().map(|value| Line::text("key", value)).collect::<Vec<_>>())?;
    }
    tenant.apply("p", manifest("p", "work", "") + "batch: { records: 5 }\n")?;
    for killed in 1..=KILLS {
        // The last in the middle: what runs on until it is killed must not come to the end.
        let seen = records as i64 * killed / (2 * KILLS);
        until("some work to be committed", || match end(tenant, "p-out") {
            end if end >= seen => Ok(()),
            end => Err(format!("{end} of {seen}")),
        })?;
        kill()?;
        ensure!(end(tenant, "p-out") < records as i64, "it was killed after its work, not in the middle");
    }
    Ok(())
}

/// Waits until all is billed, and compares.
fn judge(tenant: &Tenant, records: u64, logs: &[PathBuf]) -> Result<()> {
    let bill = until("all records to be counted", || match usage(tenant, "stage") {
        Ok(shown) if shown["total"]["recordsIn"] == records => Ok(shown),
        Ok(shown) => Err(shown.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })?;
    let (burnt, lost) = committed(logs)?;
    let total = &bill["total"];
    let billed = |name: &str| total[name].as_u64().with_context(|| format!("{name} in {total}"));
    let found = Burnt { ended: billed("fuel")?, failed: billed("wastedFailed")?, confirm: billed("wastedConfirm")? };
    println!("{records} records, {} processes; calls that did not commit: {lost}", logs.len());
    println!("          {:>20} {:>20} {:>20}", "fuel", "failed", "confirm");
    println!("engine    {:>20} {:>20} {:>20}", burnt.ended, burnt.failed, burnt.confirm);
    println!("billed    {:>20} {:>20} {:>20}", found.ended, found.failed, found.confirm);
    assert_eq!(found, burnt, "what is billed is what the engine counted for committed work");
    let dead = records / POISON_EVERY;
    assert!(found.failed > 0 && found.confirm > 0 && billed("wastedStart")? > 0, "{total}");
    assert_eq!(billed("recordsOut")?, records - dead);
    assert_eq!(tenant.read_all("p-dead")?.len() as u64, dead);
    assert_eq!(bill["items"][0]["stage"], "guest");
    Ok(())
}

fn records() -> Result<u64> {
    Ok(std::env::var("BULKHEAD_BILL_RECORDS").ok().map_or(Ok(RECORDS), |n| n.parse())?)
}

#[test]
fn billed_fuel_is_what_the_engine_counted_for_committed_work_over_five_sigkills() -> Result<()> {
    let mut host = Host::start(Serve::all().variable("RUST_LOG", TRACED))?;
    let (tenant, records) = (host.tenant("acme")?, records()?);
    let folder = host.folder().path().to_owned();
    let log = |process: &Process| folder.join(format!("{}.log", process.name()));
    let mut logs = vec![log(host.process()?)];
    disturb(&tenant, records, || {
        host.kill9();
        host.start_again()?;
        logs.push(log(host.process()?));
        Ok(())
    })?;
    judge(&tenant, records, &logs)?;
    let bill = host.admin()?;
    let bill = bill.send(bill.request(Method::GET, "/api/v1/usage"))?;
    assert_eq!(bill["items"][0]["tenant"], "acme");
    let total = usage(&tenant, "hour")?["total"]["fuel"].clone();
    assert_eq!(bill["items"][0]["fuel"], total);
    let rows = data_frame(&tenant)?;
    let fuel = rows.iter().map(|(_, fuel)| *fuel as u64).sum::<u64>();
    assert_eq!((Some(fuel), rows[0].0.as_str()), (total.as_u64(), "guest"), "Parquet has the same figures");
    Ok(())
}

#[test]
fn the_bill_is_exact_on_kafka_too_where_a_worker_alone_is_killed() -> Result<()> {
    let broker = broker()?;
    let host = Host::start(Serve::control().slot("bill-control").kafka(&broker.login))?;
    let (tenant, records) = (host.tenant("billed")?, records()?);
    let worker = host.worker("bill")?.variable("RUST_LOG", TRACED);
    let mut running = Some(host.start_worker(&worker)?);
    let log = |process: &Process| host.folder().path().join(format!("{}.log", process.name()));
    let mut logs: Vec<_> = running.iter().map(log).collect();
    disturb(&tenant, records, || {
        running.take().context("a worker")?.kill9();
        let next = host.start_worker(&worker)?;
        logs.push(log(&next));
        running = Some(next);
        Ok(())
    })?;
    judge(&tenant, records, &logs)?;
    ensure!(running.is_some(), "a worker runs at the end");
    Ok(())
}
