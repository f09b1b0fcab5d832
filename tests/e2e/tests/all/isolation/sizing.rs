//! How many tenants a worker serves: what each costs it in CPU and memory while all of them send at the same rate, on a real broker.
//!
//! Control, which takes the records over HTTP, and the broker are processes of their own here, so that what is measured is the worker's alone.
//! `BULKHEAD_SIZING` says what to measure, as `RATExTENANTS`, with a comma between two; `BULKHEAD_SIZING_SECONDS` for how long.
//! Must never: judge a time, or count a record that did not come out.

use super::asked;
use crate::brokers::Broker;
use crate::shared::{Guests, tenant_with_guests};
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Folder, Host, Line, Process, Serve, Tenant, until_within};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes of a record's value.
const VALUE_BYTES: usize = 200;
/// How long all may take to come out after the last was sent.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// Threads that send.
const SENDERS: usize = 32;
/// Seconds before it is measured: members have joined, instances are there.
const WARM: u32 = 5;

/// So many tenants, each with so many records a second.
struct Case {
    rate: usize,
    tenants: usize,
}

impl Case {
    fn parse(text: &str) -> Result<Self> {
        let (rate, tenants) = text.split_once('x').with_context(|| format!("{text} is not RATExTENANTS"))?;
        Ok(Self { rate: rate.parse()?, tenants: tenants.parse()? })
    }
}

/// What a process has used: CPU in all, and memory now.
struct Used {
    cpu: Duration,
    resident: u64,
}

impl Used {
    fn of(process: &Process) -> Result<Self> {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", process.id()));
        let (status, stat) = (file("status")?, file("stat")?);
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("its memory")?;
        let resident = kib.trim().trim_end_matches(" kB").parse::<u64>()? << 10;
        // The fields after the name, which may hold spaces: user and system time, in hundredths of a second.
        let fields = stat.rsplit_once(") ").context("its times")?.1.split(' ').skip(11).take(2);
        let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(Self { cpu: Duration::from_millis(10 * ticks), resident })
    }
}

/// Sends all tenants' records of so many seconds, each tenant's of a second together and the tenants spread over it; says by how much it was
/// late at most.
fn send(tenants: &[Tenant], rate: usize, seconds: u32) -> Result<Duration> {
    let lines = vec![Line::text("key", &"x".repeat(VALUE_BYTES)); rate];
    let started = Instant::now();
    let one = &|mine: usize| -> Result<Duration> {
        let mut late = Duration::ZERO;
        for round in 0..seconds {
            for (i, tenant) in tenants.iter().enumerate().skip(mine).step_by(SENDERS) {
                let due = Duration::from_secs(round.into()) + Duration::from_secs(1) * i as u32 / tenants.len() as u32;
                sleep(due.saturating_sub(started.elapsed()));
                late = late.max(started.elapsed().saturating_sub(due));
                tenant.produce("p-in", &lines)?;
            }
        }
        Ok(late)
    };
    // Each waits for its record to be written before it sends the next.
    let late = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|mine| scope.spawn(move || one(mine))).collect();
        senders.into_iter().map(|sender| sender.join().expect("it does not panic")).collect::<Result<Vec<_>>>()
    })?;
    // What is measured is so many whole seconds.
    sleep(Duration::from_secs(seconds.into()).saturating_sub(started.elapsed()));
    Ok(late.into_iter().max().unwrap_or_default())
}

fn count(worker: &Process, direction: &str) -> Result<u64> {
    Ok(worker.scrape()?.sum("bulkhead_records_total", &[("direction", direction)]) as u64)
}

fn measure(case: &Case, seconds: u32) -> Result<()> {
    let names: Vec<String> = (0..case.tenants).map(|i| format!("sized-{i}")).collect();
    let logins: Vec<&str> = names.iter().map(String::as_str).collect();
    let broker = Broker::of(Kafka::try_start(1)?, Folder::new("login")?, &logins)?;
    let host = Host::start(Serve::control().slot("sizing-control").kafka(&broker.login))?;
    let serve = host.worker("sizing-0")?;
    let worker = host.start_worker(&serve)?;
    let empty = Used::of(&worker)?;
    // Nothing is awaited: what it uses meanwhile is measured.
    sleep(Duration::from_secs(WARM.into()));
    let idle = Used::of(&worker)?.cpu.saturating_sub(empty.cpu).as_secs_f64() / f64::from(WARM);

    let tenants = names.iter().map(|name| tenant_with_guests(&host, name)).collect::<Result<Vec<_>>>()?;
    tenants.iter().try_for_each(|tenant| tenant.topics("p"))?;
    tenants.iter().try_for_each(|tenant| tenant.apply_guest("p", "passthrough", "").map(drop))?;
    tenants.iter().try_for_each(|tenant| tenant.wait_running("p").map(drop))?;
    send(&tenants, case.rate, WARM)?;
    let (before, began) = (Used::of(&worker)?, Instant::now());
    let late = send(&tenants, case.rate, seconds)?;
    let (after, window) = (Used::of(&worker)?, began.elapsed().as_secs_f64());
    let sent = (case.rate * case.tenants) as u64 * u64::from(WARM + seconds);
    let waiting = sent.saturating_sub(count(&worker, "out")?);
    until_within(DRAIN_MAX, "all records to come out", || match count(&worker, "out") {
        Ok(came) if came == sent => Ok(()),
        other => Err(format!("{other:?} of {sent}")),
    })?;
    ensure!(count(&worker, "in")? == sent, "each is done once");

    let each = case.tenants as f64;
    let cpu = (after.cpu.saturating_sub(before.cpu).as_secs_f64() / window - idle).max(0.0) / each;
    let bytes = after.resident.saturating_sub(empty.resident) as f64 / each;
    let (mib, gib) = (f64::from(1 << 20), f64::from(1 << 30));
    println!(
        "| {} | {} | {:.2} | {:.0} | {:.2} | {:.0} | {waiting} | {} |",
        case.rate,
        case.tenants,
        1000.0 * cpu,
        1.0 / cpu,
        bytes / mib,
        gib / bytes,
        late.as_millis()
    );
    worker.stop()
}

#[test]
fn tenants_that_all_send_are_served_and_cost_what_is_shown() -> Result<()> {
    let cases = asked("BULKHEAD_SIZING", "10x3".to_owned())?;
    let seconds = asked("BULKHEAD_SIZING_SECONDS", 3)?;
    println!(
        "| records/s each | tenants | mCPU a tenant | tenants a core | MiB a tenant | tenants a GiB | records waiting at the end | sent late by at most, ms |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    cases.split(',').try_for_each(|case| measure(&Case::parse(case)?, seconds))
}
