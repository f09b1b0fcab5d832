//! Two workers on a real Kafka with the same pipelines: each pipeline is one worker's to wake, another takes over where that one dies, and a
//! backlog brings both.
//!
//! Must never: take a worker's own word for who woke; its threads are looked at.

use crate::brokers::{Broker, shared};
use crate::shared::{Guests, manifest};
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Line, Process, Serve, Status, Tenant, until};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Records that a pipeline may be behind in the tests.
const HELP_LAG: &str = "100";

/// A control, a tenant with guests, and two workers.
struct Scene {
    // Before their control.
    workers: Vec<Process>,
    tenant: Tenant,
    _host: Host,
    _broker: Arc<Broker>,
}

impl Scene {
    fn start(name: &str) -> Result<Self> {
        let broker = shared()?;
        let host = Host::start(Serve::control().slot(&format!("{name}-control")).kafka(&broker.login))?;
        let tenant = host.tenant(name)?;
        tenant.upload_guests()?;
        let workers = [0, 1].map(|i| {
            let arguments = ["--park-after-seconds", "1", "--help-lag-records", HELP_LAG];
            let worker = host.worker(&format!("{name}-{i}"))?;
            host.start_worker(&arguments.into_iter().fold(worker, |worker, argument| worker.argument(argument)))
        });
        let workers = workers.into_iter().collect::<Result<_>>()?;
        Ok(Self { workers, tenant, _host: host, _broker: broker })
    }

    /// Waits until so many workers have parked it, and so many records are done.
    fn wait_parked(&self, name: &str, workers: u32, records: u64) -> Result<Status> {
        let parked =
            |status: &Status| status.parked && status.workers == workers && status.totals.records_in == records;
        self.tenant.wait_status(name, "the pipeline to park", parked)
    }

    /// Waits for the same as [`Scene::wait_parked`], and tells which workers, by their place, had which pipelines awake meanwhile.
    fn awake_until_parked(&self, name: &str, records: u64) -> Result<BTreeSet<(usize, String)>> {
        let mut seen = BTreeSet::new();
        until("it to park again", || {
            for (i, worker) in self.workers.iter().enumerate() {
                let awake = sources(worker).map_err(|error| format!("{error:#}"))?;
                seen.extend(awake.into_iter().map(|pipeline| (i, pipeline)));
            }
            match self.tenant.status(name) {
                Ok(status) if status.parked && status.totals.records_in == records => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(seen)
    }
}

/// The pipelines that are awake in a process: each has a thread of its name.
fn sources(worker: &Process) -> Result<Vec<String>> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", worker.id())).context("the worker's threads")?;
    // One that ends meanwhile has none.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    Ok(names.filter_map(|name| name.trim().strip_prefix("source-").map(str::to_owned)).collect())
}

fn done(worker: &Process, pipeline: &str) -> Result<f64> {
    Ok(worker.scrape()?.sum("bulkhead_records_total", &[("pipeline", pipeline), ("direction", "in")]))
}

#[test]
fn a_record_wakes_one_worker_and_no_neighbour() -> Result<()> {
    let scene = Scene::start("woken")?;
    let names: Vec<_> = (0..6).map(|i| format!("p{i}")).collect();
    for name in &names {
        scene.tenant.topics(name)?;
        scene.tenant.apply_guest(name, "passthrough", "")?;
    }
    for name in &names {
        scene.wait_parked(name, 2, 0)?;
    }
    until("nothing to be awake", || {
        let awake =
            scene.workers.iter().map(sources).collect::<Result<Vec<_>>>().map_err(|error| format!("{error:#}"))?;
        if awake.concat().is_empty() { Ok(()) } else { Err(format!("{awake:?}")) }
    })?;
    for name in &names {
        scene.tenant.put(name, &["1", "2"])?;
        let seen = scene.awake_until_parked(name, 2)?;
        ensure!(seen.len() == 1 && seen.iter().all(|(_, awake)| awake == name), "{name} was awake as {seen:?}");
        assert_eq!(scene.tenant.out(name, 2)?, ["1", "2"]);
    }
    scene.workers.into_iter().try_for_each(Process::stop)
}

#[test]
fn what_a_killed_worker_looked_after_is_run_by_the_other() -> Result<()> {
    let mut scene = Scene::start("orphaned")?;
    scene.tenant.run_guest("p", "passthrough", "")?;
    scene.wait_parked("p", 2, 0)?;
    scene.tenant.put("p", &["before"])?;
    let seen = scene.awake_until_parked("p", 1)?;
    let (owner, _) = seen.first().context("somebody was awake")?;
    scene.workers.remove(*owner).kill9();
    scene.tenant.put("p", &["after"])?;
    assert_eq!(scene.tenant.out("p", 2)?, ["before", "after"]);
    scene.wait_parked("p", 1, 2)?;
    assert_eq!(scene.tenant.read_all("p-out")?.len(), 2, "nothing is doubled");
    scene.workers.into_iter().try_for_each(Process::stop)
}

/// Sends so many records of some ten milliseconds each; gives their values.
fn work(tenant: &Tenant, from: usize, records: usize) -> Result<Vec<String>> {
    let values: Vec<String> = (from..from + records).map(|i| (40_000_000 + i).to_string()).collect();
    let lines: Vec<_> = values.iter().map(|value| Line::text(value, value)).collect();
    tenant.produce("p-in", &lines)?;
    Ok(values)
}

#[test]
fn a_backlog_brings_the_other_worker_and_every_record_is_done_once() -> Result<()> {
    const RECORDS: usize = 400;
    let scene = Scene::start("crowded")?;
    for (topic, partitions) in [("p-in", 8), ("p-out", 8), ("p-dead", 1)] {
        scene.tenant.create_topic(topic, partitions)?;
    }
    scene.tenant.apply("p", manifest("p", "work", "") + "batch: { records: 5 }\n")?;
    scene.wait_parked("p", 2, 0)?;
    let mut values = work(&scene.tenant, 0, RECORDS)?;
    // The backlog must not be gone before the other worker has joined, however fast this machine is.
    let mut go_on = || -> Result<bool> {
        let idle = scene.workers.iter().map(|worker| done(worker, "p")).collect::<Result<Vec<_>>>()?.contains(&0.0);
        if idle && scene.tenant.status("p")?.lag.is_some_and(|lag| lag < RECORDS as i64 / 2) {
            values.extend(work(&scene.tenant, values.len(), RECORDS)?);
        }
        Ok(idle)
    };
    until("both workers to have a part in it", || match go_on() {
        Ok(false) => Ok(()),
        Ok(true) => Err("one of them did nothing".to_owned()),
        Err(error) => Err(format!("{error:#}")),
    })?;
    let mut out = scene.tenant.out("p", values.len())?;
    out.sort_unstable();
    values.sort_unstable();
    assert_eq!(out, values);
    scene.workers.into_iter().try_for_each(Process::stop)
}
