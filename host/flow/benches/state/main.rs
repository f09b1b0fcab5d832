//! How long a partition's state takes to come back on another worker, and what memory: `cargo xtask bench state [KEYS] [sealed]`.
//!
//! One process writes the keys (16 bytes, with values of 32) through a stage on the embedded log and ends. Another, so that its memory is its
//! own, takes the partition over; measured is from the order to run until the next record, which needs the whole state, is committed.
//! With `sealed` it is as on a log that does not seal what it keeps: each change is sealed under the pipeline's keys.
//! Must never: count what the first process left in memory.

#[path = "../../tests/all/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use all of it")]
mod support;

use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_flow::FlowConfig;
use bulkhead_log::Log;
use bulkhead_log::embedded::EmbeddedLog;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{ACME, Record, Worker, pipeline, state_topic, topic};

const KEYS: u64 = 10_000_000;
/// Records of one append.
const CHUNK: u64 = 50_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--restore", folder, keys, version] => {
            let pipeline = assignment(version.parse().expect("a key's version"));
            restore(Path::new(folder), &pipeline, keys.parse().expect("a number of keys"));
        }
        more => {
            let keys = more.iter().find(|word| **word != "sealed");
            let keys = keys.map_or(KEYS, |keys| keys.parse().expect("a number of keys"));
            let pipeline = assignment(u32::from(more.contains(&"sealed")));
            let folder = tempfile::tempdir().expect("a folder");
            fill(folder.path(), &pipeline, keys);
            let again = std::env::current_exe().expect("this program");
            let mut again = Command::new(again);
            again.arg("--restore").arg(folder.path()).args([keys.to_string(), pipeline.key_version.to_string()]);
            let status = again.status();
            if !status.expect("it starts").success() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// With a key, it is sealed.
fn assignment(key_version: u32) -> PipelineAssignment {
    let mut pipeline = pipeline(
        ACME,
        "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{topic: in}]
stages:
  - {name: keep, module: stateful, state: {maxBytes: 17179869184}, tickMs: 3600000, outputs: {out: {topic: out}}}
deadLetter: {topic: dead}
",
    );
    pipeline.spec.batch.records = 5_000;
    pipeline.key_version = key_version;
    pipeline
}

fn key(n: u64) -> String {
    // In no order, as keys of records come.
    format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn open(folder: &Path) -> Arc<dyn Log> {
    Arc::new(EmbeddedLog::open(&folder.join("log")).expect("the log opens"))
}

/// A worker with a disk of its own.
fn worker(log: &Arc<dyn Log>, disk: &Path) -> Worker {
    let config = FlowConfig { state_folder: Some(disk.to_owned()), ..FlowConfig::default() };
    Worker::start(log.clone(), "w", config)
}

fn fill(folder: &Path, pipeline: &PipelineAssignment, keys: u64) {
    let log = open(folder);
    let world = support::World::on(log.clone());
    world.topics(ACME, 1);
    world.keep_state(pipeline, 1);
    let worker = worker(&log, &folder.join("first"));
    worker.run(pipeline);
    let started = Instant::now();
    for first in (0..keys).step_by(CHUNK as usize) {
        let record = |n| Record::new(0, format!("fill {} 32", key(n)));
        let records: Vec<_> = (first..keys.min(first + CHUNK)).map(record).collect();
        world.append(ACME, "in", &records);
        // Not so far ahead that the disk holds it all twice.
        while world.lag(pipeline) > 10 * CHUNK as i64 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    while world.lag(pipeline) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{keys} keys written through a stage in {:.1} s", started.elapsed().as_secs_f64());
    let changes = log.ends(&[state_topic(pipeline)]).expect("ends").concat().into_iter().sum::<i64>();
    println!("{changes} changes in the changelog; state of {} bytes", worker.report(pipeline).state_bytes);
}

fn restore(folder: &Path, pipeline: &PipelineAssignment, keys: u64) {
    let log = open(folder);
    let world = support::World::on(log.clone());
    let worker = worker(&log, &folder.join("second"));
    let before = log.ends(&[topic(ACME, "out")]).expect("ends").concat();
    world.append(ACME, "in", &[Record::new(0, format!("fill {} 32", key(0)))]);
    let started = Instant::now();
    worker.run(pipeline);
    while log.ends(&[topic(ACME, "out")]).expect("ends").concat() == before {
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = started.elapsed().as_secs_f64();
    let bytes = worker.report(pipeline).state_bytes;
    assert_eq!(bytes, keys * (16 + 32 + 64), "every key is there, once");
    println!("restored on another worker in {took:.1} s, {:.0} keys a second", keys as f64 / took);
    println!("peak memory of that worker: {} MiB", peak_mib());
}

/// The most memory that this process has had.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}
