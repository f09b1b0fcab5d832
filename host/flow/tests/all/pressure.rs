//! Memory stays bounded however slow a stage is.

use crate::support::*;
use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::code::Code;
use bulkhead_core::tenant_limits::WorkerLimits;
use std::time::Duration;

#[test]
fn a_slow_stage_does_not_fill_the_memory() {
    const BUDGET: u64 = 300_000;
    const BATCH: u64 = 40_000;
    let world = World::with_topics(2);
    // 400 records of some 10 KB, each with real work.
    let value = |i: u32| format!("{:010000}", 2_000_000 + i);
    let records: Vec<_> = (0..400).map(|i| Record::new(i as i32 % 2, value(i))).collect();
    world.append(ACME, "in", &records);
    let mut settings = config();
    settings.buffer_bytes = BUDGET;
    let worker = world.worker_with("w", settings);
    let mut pipeline = simple("work", "");
    pipeline.spec.batch.bytes = BATCH;
    worker.run(&pipeline);
    let mut most = 0.0_f64;
    until("all is done", || {
        most = most.max(worker.metric("bulkhead_buffered_bytes", &[]).unwrap_or(0.0));
        world.lag(&pipeline) == 0
    });
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
    // Beyond the budget may be one batch that was just fetched, and the outputs of one for each of the two partitions.
    assert!(most > BATCH as f64 && most <= (BUDGET + 3 * (BATCH + 1_000)) as f64, "{most} bytes were held");
    until("all is given back", || worker.metric("bulkhead_buffered_bytes", &[]) == Some(0.0));
}

/// Few bytes in, many out: what waits for its commit is bounded too.
#[test]
fn a_stage_that_makes_much_of_little_does_not_fill_the_memory() {
    const BUDGET: u64 = 400_000;
    let world = World::with_topics(1);
    world.append(ACME, "in", &texts(["!1000"; 300]));
    let mut settings = config();
    (settings.buffer_bytes, settings.commit_interval) = (BUDGET, Duration::from_millis(100));
    let worker = world.worker_with("w", settings);
    let mut pipeline = simple("many_outputs", "");
    // A batch of one record: its outputs take some 23 KB.
    pipeline.spec.batch.records = 1;
    worker.run(&pipeline);
    let mut most = 0.0_f64;
    until("all is done", || {
        most = most.max(worker.metric("bulkhead_buffered_bytes", &[]).unwrap_or(0.0));
        world.lag(&pipeline) == 0
    });
    world.settled(&worker, &pipeline);
    assert_eq!(worker.report(&pipeline).totals.records_out, 300_000);
    assert!(most > 100_000.0 && most <= (BUDGET + 50_000) as f64, "{most} bytes were held");
}

/// A partition that comes while all are paused must run too once there is room.
#[test]
fn partitions_that_come_while_there_is_no_room_run_later() {
    let world = World::with_topics(4);
    let records: Vec<_> = (0..200).map(|i| Record::new(i % 4, format!("{:010000}", 3_000_000))).collect();
    world.append(ACME, "in", &records);
    let mut settings = config();
    settings.buffer_bytes = 50_000;
    let workers = [world.worker_with("a", settings.clone()), world.worker_with("b", settings)];
    let mut pipeline = simple("work", "");
    pipeline.spec.batch.bytes = 20_000;
    workers.iter().for_each(|worker| worker.run(&pipeline));
    until("both have a share", || workers.iter().all(|worker| worker.report(&pipeline).partitions == 2));
    workers[1].stop(&pipeline);
    world.settled(&workers[0], &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

/// A log that is faster than the stage must not fill the whole budget with batches that wait for their turn: then each would have to wait
/// for the commit of the one before it.
#[test]
fn a_log_faster_than_its_stage_does_not_make_every_batch_wait_for_a_commit() {
    const BATCHES: u32 = 60;
    let world = World::with_topics(1);
    // One record is one batch, and 30 of them fill the budget.
    let records: Vec<_> = (0..BATCHES).map(|_| Record::new(0, format!("{:010000}", 2_000_000))).collect();
    world.append(ACME, "in", &records);
    let mut settings = config();
    (settings.buffer_bytes, settings.commit_interval) = (300_000, Duration::from_secs(1));
    let worker = world.worker_with("w", settings);
    let mut pipeline = simple("work", "");
    pipeline.spec.batch.records = 1;
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let commits = worker.metric("bulkhead_commit_seconds", &[]).unwrap_or(0.0);
    assert!(commits >= 1.0 && commits <= f64::from(BATCHES / 3), "{commits} commits for {BATCHES} batches");
}

const HEAVY_RECORDS: usize = 120;

/// Pipelines of one tenant on the same topics, each of whose records becomes outputs of some 100 KB.
fn heavy(tenant: &str, count: usize) -> Vec<PipelineAssignment> {
    let of = |i: usize| {
        let mut pipeline = simple_of(tenant, "many_outputs", "");
        pipeline.key.pipeline = format!("p{i}").parse().unwrap();
        pipeline.spec.batch.records = 1;
        pipeline
    };
    (0..count).map(of).collect()
}

/// One budget for all pipelines of a tenant: at it they hold a batch each, and all of them go on.
#[test]
fn pipelines_of_one_tenant_share_its_memory() {
    const BUDGET: u64 = 16 << 20;
    const PIPELINES: usize = 4;
    let world = World::with_topics(1);
    let mut settings = config();
    (settings.buffer_bytes, settings.commit_interval) = (8 << 20, Duration::from_millis(300));
    let worker = world.worker_with("w", settings);
    worker.limit(ACME, WorkerLimits { memory_bytes: BUDGET, ..WorkerLimits::default() });
    world.append(ACME, "in", &texts(["!4000"; HEAVY_RECORDS]));
    let pipelines = heavy(ACME, PIPELINES);
    pipelines.iter().for_each(|pipeline| worker.run(pipeline));
    let mut most = 0;
    until("all is done", || {
        most = most.max(worker.flow.used()[&pipelines[0].key.tenant].memory_bytes);
        pipelines.iter().all(|pipeline| world.lag(pipeline) == 0)
    });
    pipelines.iter().for_each(|pipeline| world.settled(&worker, pipeline));
    let done: u64 = pipelines.iter().map(|pipeline| worker.report(pipeline).totals.records_out).sum();
    assert_eq!(done, (PIPELINES * HEAVY_RECORDS * 4_000) as u64);
    // Each pipeline may hold a batch with its outputs whatever the budget, and a guest that has grown.
    assert!(most > BUDGET / 2 && most < BUDGET + PIPELINES as u64 * (2 << 20), "{most} bytes were held");
}

/// Lines that wait for control count too: at the budget nothing of their tenant fails, and all is given back when they are sent.
#[test]
fn lines_that_wait_count_as_their_tenants_memory_and_fail_nothing() {
    const BUDGET: u64 = 16 << 20;
    const RECORDS: usize = 8;
    let world = World::with_topics(1);
    let worker = world.worker("w");
    worker.limit(ACME, WorkerLimits { memory_bytes: BUDGET, ..WorkerLimits::default() });
    // Of the first record comes a line, which alone takes the whole budget, and no output.
    worker.lines.keep(BUDGET);
    world.append(ACME, "in", &texts(["!0"]));
    let mut pipeline = simple("log_flood", "");
    pipeline.spec.batch.records = 1;
    worker.run(&pipeline);
    let held = || worker.flow.used().get(&pipeline.key.tenant).map_or(0, |used| used.memory_bytes);
    until("the line to take it", || held() >= BUDGET);
    world.append(ACME, "in", &texts(["a"; RECORDS]));
    world.settled(&worker, &pipeline);
    assert_eq!((world.first(ACME, "out").len(), world.dead().len()), (RECORDS, 0));
    assert!(held() >= BUDGET, "{} bytes are held", held());
    worker.lines.let_go();
    until("what the lines held is given back", || held() < BUDGET);
}

/// Where the worker itself is short, the tenant that holds most gives way, and nobody else notices.
#[test]
fn a_worker_short_of_memory_sets_aside_the_tenant_that_holds_most() {
    const OTHER: &str = "other";
    let world = World::with_topics(1);
    world.topics(OTHER, 1);
    let mut settings = config();
    (settings.commit_interval, settings.memory_bytes) = (Duration::from_millis(300), 8 << 20);
    let worker = world.worker_with("w", settings);
    world.append(ACME, "in", &texts(["!4000"; HEAVY_RECORDS]));
    let (pipelines, light) = (heavy(ACME, 6), simple_of(OTHER, "passthrough", ""));
    worker.run(&light);
    pipelines.iter().for_each(|pipeline| worker.run(pipeline));
    let short = || pipelines.iter().any(|pipeline| worker.report(pipeline).code == Some(Code::MemoryShort));
    until("the heavy tenant to be set aside", short);
    let mut sent = 0;
    until("the other one to work meanwhile", || {
        world.append(OTHER, "in", &texts(["a"]));
        sent += 1;
        assert_eq!(worker.report(&light).code, None);
        worker.report(&light).totals.records_out >= 50
    });
    // With less to hold at once it comes through, and nothing was lost or doubled.
    pipelines[1..].iter().for_each(|pipeline| worker.stop(pipeline));
    world.settled(&worker, &pipelines[0]);
    world.settled(&worker, &light);
    assert_eq!(worker.report(&pipelines[0]).totals.records_out, (HEAVY_RECORDS * 4_000) as u64);
    assert_eq!(world.values(OTHER, "out")[0].len(), sent);
}
