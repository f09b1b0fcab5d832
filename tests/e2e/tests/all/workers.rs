//! A tenant whose pipeline runs on two workers, on a real Kafka: its rate is the tenant's, not each worker's.
//!
//! Must never: judge how fast this machine is beyond a small part of one core.

use crate::brokers::shared;
use crate::shared::{Guests, manifest};
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{DEADLINE, Host, Line, Process, Serve, Tenant, until_within};
use reqwest::Method;
use std::time::Instant;

const TENANT: &str = "rated";
/// Fuel a second: a tenth of a core or so, which two workers have on any machine.
const RATE: u64 = 100_000_000;
/// How many seconds of that the work is.
const SECONDS: u64 = 25;
const PARTITIONS: i32 = 4;
/// Records of a batch. Each partition may be one ahead of what is allowed.
const BATCH: u64 = 5;
/// About so much fuel is one record.
const VALUE: &str = "10000000";

/// What is billed: records, and fuel.
fn bill(tenant: &Tenant) -> Result<(u64, u64)> {
    let shown = tenant.control().send(tenant.request(Method::GET, "/usage"))?;
    let of = |name: &str| shown["total"][name].as_u64().with_context(|| format!("{name} in {shown}"));
    ensure!(of("wastedFailed")? == 0, "a rate fails nothing: {shown}");
    Ok((of("recordsIn")?, of("fuel")?))
}

/// Sends so many records, spread over the partitions, and waits until all are billed.
fn work(tenant: &Tenant, before: u64, records: u64) -> Result<(u64, u64)> {
    let lines: Vec<Line> = (0..records).map(|n| Line::text(&format!("key {n}"), VALUE)).collect();
    tenant.produce("p-in", &lines)?;
    // Twice what it takes at half of the rate.
    until_within(DEADLINE * 2, "all records to be billed", || match bill(tenant) {
        Ok(billed) if billed.0 == before + records => Ok(billed),
        Ok(billed) => Err(format!("{billed:?} of {records}")),
        Err(error) => Err(format!("{error:#}")),
    })
}

fn done(worker: &Process) -> Result<u64> {
    Ok(worker.scrape()?.sum("bulkhead_records_total", &[("tenant", TENANT), ("direction", "in")]) as u64)
}

#[test]
fn a_rate_is_shared_by_two_workers_and_none_of_it_is_lost() -> Result<()> {
    let broker = shared()?;
    let host = Host::start(Serve::control().slot("rated-control").kafka(&broker.login))?;
    let tenant = host.tenant(TENANT)?;
    let mut platform = Shell::new()?;
    platform.set("BULKHEAD_SERVER", host.url());
    platform.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    platform.ok(&["tenant", "limits", TENANT, "--set", &format!("fuelPerSecond={RATE}"), "--set", "burstSeconds=1"])?;
    tenant.upload_guests()?;
    for (topic, partitions) in [("p-in", PARTITIONS), ("p-out", PARTITIONS), ("p-dead", 1)] {
        tenant.create_topic(topic, partitions)?;
    }
    let workers = ["rated-0", "rated-1"].map(|slot| {
        // Both at all times, however little there is to do.
        let worker = host.worker(slot)?.argument("--help-lag-records").argument("0");
        host.start_worker(&worker)
    });
    let workers: Vec<Process> = workers.into_iter().collect::<Result<_>>()?;
    tenant.apply("p", manifest("p", "work", "") + &format!("batch: {{ records: {BATCH} }}\n"))?;
    let both = |status: &bulkhead_testbed::Status| status.workers == 2 && status.partitions == PARTITIONS as u32;
    tenant.wait_status("p", "both workers to own partitions", both)?;
    // Until this is billed, both have been told their part of the rate.
    let (warm, fuel) = work(&tenant, 0, 8)?;
    let each = fuel / warm;
    let (before, began) = (workers.iter().map(done).collect::<Result<Vec<_>>>()?, Instant::now());
    let records = RATE * SECONDS / each;
    let (_, after) = work(&tenant, warm, records)?;
    let (window, burnt) = (began.elapsed().as_secs_f64(), (after - fuel) as f64);

    let ahead = (each * BATCH * PARTITIONS as u64) as f64;
    let allowed = RATE as f64 * (window + 1.0) + ahead;
    println!("{records} records, {burnt:.0} fuel in {window:.1} s; {allowed:.0} are allowed");
    ensure!(burnt <= allowed, "{burnt} fuel in {window} s, where {allowed} are allowed");
    // Half of it would be one worker with its part, or both with half of theirs.
    ensure!(burnt >= 0.6 * RATE as f64 * window, "{burnt} fuel in {window} s at {RATE} a second");
    for (worker, before) in workers.iter().zip(before) {
        let part = (done(worker)? - before) as f64 / records as f64;
        ensure!((0.35..=0.65).contains(&part), "a worker of two did {part} of the records");
    }
    workers.into_iter().try_for_each(Process::stop)
}
