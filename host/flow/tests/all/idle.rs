//! Many tenants with one deployed pipeline each, of which hardly any has something to do.
//!
//! The test looks at fifty. `cargo xtask bench idle` runs it alone with ten thousand, where memory and CPU of this process mean something:
//! the worker's record path and the embedded log, with reports and series asked for as the host does.

use crate::support::*;
use bulkhead_core::assignment::{Assignment, PipelineAssignment};
use bulkhead_flow::FlowConfig;
use std::time::{Duration, Instant};

/// How often the host asks for news and, less often, for series.
const REPORT_EVERY: Duration = Duration::from_millis(500);
const SCRAPES: u32 = 30;

/// What is measured of this process.
#[derive(Clone, Copy)]
struct Used {
    resident: u64,
    cpu: Duration,
}

impl Used {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
        // The fields after the name, which may hold spaces: user and system time, in hundredths of a second.
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Self { resident, cpu: Duration::from_millis(ticks * 10) }
    }
}

/// Lets the worker be, as the host does, and says which part of a core that takes.
fn rest(worker: &Worker, long: Duration) -> f64 {
    // The first is of everything, as at a start.
    let mut known = Some(worker.flow.news(None).0);
    let (before, started) = (Used::now(), Instant::now());
    let mut looks = 0;
    while started.elapsed() < long {
        let (generation, _, _) = worker.flow.news(known);
        known = Some(generation);
        let _used = worker.flow.used();
        if looks % SCRAPES == 0 {
            drop(worker.registry.gather());
        }
        looks += 1;
        std::thread::sleep(REPORT_EVERY);
    }
    (Used::now().cpu.saturating_sub(before.cpu)).as_secs_f64() / started.elapsed().as_secs_f64()
}

fn tenant(i: usize) -> String {
    format!("tenant-{i}")
}

fn all_parked(worker: &Worker) {
    let awake = || worker.flow.report().1.iter().filter(|report| !report.parked).count();
    until_or("all are parked", || awake() == 0, || format!("{} are awake", awake()));
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part).round() as usize]
}

/// Gives each of these tenants a record at once, and waits for what each puts out. How long each took.
fn wake(world: &World, tenants: &[usize], done: &mut [u64]) -> Vec<Duration> {
    let started = Instant::now();
    let mut waiting: Vec<_> = tenants
        .iter()
        .map(|i| {
            let since = Instant::now();
            world.append(&tenant(*i), "in", &texts(["1"]));
            done[*i] += 1;
            (*i, topic(&tenant(*i), "out"), since)
        })
        .collect();
    let mut took = Vec::new();
    while !waiting.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(120), "{} wait in vain", waiting.len());
        waiting.retain(|(i, out, since)| {
            let there = world.log.ends(std::slice::from_ref(out)).unwrap()[0][0] as u64 >= done[*i];
            took.extend(there.then(|| since.elapsed()));
            !there
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    took
}

#[test]
fn thousands_of_idle_tenants_cost_almost_nothing_and_wake_at_once() {
    let many = std::env::var("BULKHEAD_IDLE_TENANTS").ok().and_then(|many| many.parse::<usize>().ok());
    let count = many.unwrap_or(50);
    let long = Duration::from_secs(if many.is_some() { 20 } else { 1 });
    let world = World::new();
    (0..count).for_each(|i| world.topics(&tenant(i), 1));
    let config = FlowConfig { park_after: Duration::from_millis(500), ..config() };
    let config = FlowConfig { commit_interval: Duration::from_millis(100), ..config };
    let worker = world.worker_with("w", config);
    let empty_cpu = rest(&worker, long);
    let empty = Used::now();

    let pipelines: Vec<PipelineAssignment> = (0..count).map(|i| simple_of(&tenant(i), "passthrough", "")).collect();
    let started = Instant::now();
    worker.flow.apply(Assignment { generation: 1, pipelines, ..Assignment::default() });
    let busy = || worker.flow.report().1.iter().filter(|report| !report.parked).count();
    while busy() > 0 {
        assert!(started.elapsed() < Duration::from_secs(1_800), "{} of {count} do not park", busy());
        std::thread::sleep(Duration::from_millis(200));
    }
    let starting = started.elapsed();
    let cpu = rest(&worker, long);
    let full = Used::now();
    let each = full.resident.saturating_sub(empty.resident) as f64 / count as f64;

    let mut done = vec![0; count];
    let sample: Vec<_> = (0..if many.is_some() { 200 } else { 5 }).map(|i| i * 7_919 % count).collect();
    let mut alone: Vec<_> = sample.iter().flat_map(|i| wake(&world, &[*i], &mut done)).collect();
    all_parked(&worker);
    let together: Vec<_> = (0..count.min(500)).collect();
    let started = Instant::now();
    let mut at_once = wake(&world, &together, &mut done);
    let burst = started.elapsed();
    all_parked(&worker);
    for (i, done) in done.iter().enumerate() {
        let out = world.log.ends(&[topic(&tenant(i), "out")]).unwrap();
        assert_eq!(out[0][0] as u64, *done, "of tenant {i} each record comes out once");
    }
    if many.is_some() {
        let after = Used::now();
        println!("tenants, each with one pipeline      {count}");
        println!("all started and parked in            {starting:.1?}");
        println!("memory of an empty worker            {} KiB", empty.resident / 1024);
        println!("memory with all of them parked       {} KiB, {each:.0} bytes a tenant", full.resident / 1024);
        println!("memory after all that follows        {} KiB", after.resident / 1024);
        println!("CPU of an empty worker               {:.2} % of a core", empty_cpu * 100.0);
        println!("CPU with all of them parked          {:.2} % of a core", cpu * 100.0);
        for (what, times) in [("wake to first output, one by one", &mut alone), ("500 at once", &mut at_once)] {
            let (middle, late) = (percentile(times, 0.5), percentile(times, 0.99));
            println!("{what:36} p50 {middle:.0?}, p99 {late:.0?} of {}", times.len());
        }
        println!("all of these done after              {burst:.1?}");
    }
}
