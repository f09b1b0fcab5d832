//! The process ends in mid-stream, by SIGKILL or SIGTERM, and is started again: nothing is lost, nothing is doubled, order is kept.

use crate::scenes::{Scene, lines};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Serve, Tenant, until};
use std::collections::HashMap;

/// Records of one request.
const BURST: usize = 100;
/// Small batches, so that there is a mid-stream to end in.
const SMALL_BATCHES: &str = "batch: { records: 20 }";

fn ends(tenant: &Tenant, topic: &str) -> Result<i64> {
    let shown = tenant.topic(topic)?;
    Ok(shown["ends"].as_array().context("ends")?.iter().filter_map(serde_json::Value::as_i64).sum())
}

/// Waits until an output has more than so many records.
fn wait_beyond(tenant: &Tenant, topic: &str, count: i64) -> Result<i64> {
    until(&format!("more than {count} records in `{topic}`"), || match ends(tenant, topic) {
        Ok(end) if end > count => Ok(end),
        Ok(end) => Err(format!("{end}")),
        Err(error) => Err(format!("{error:#}")),
    })
}

#[test]
fn killed_three_times_in_mid_stream_nothing_is_lost_or_doubled() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    let scene = Scene::flights(9_000)?;
    scene.prepare(&tenant)?;
    scene.apply(&tenant, SMALL_BATCHES)?;
    let bursts: Vec<_> = scene.records.chunks(BURST).collect();
    let kill_at = [bursts.len() / 4, bursts.len() / 2, 3 * bursts.len() / 4];
    let mut acknowledged = Vec::new();
    for (i, burst) in bursts.into_iter().enumerate() {
        if kill_at.contains(&i) {
            // Both at once: a request that is being written, and records on their way through the stages.
            wait_beyond(&tenant, "flights-enriched", (i * BURST / 3) as i64)?;
            let produced = std::thread::scope(|scope| {
                let producing = scope.spawn(|| tenant.produce(scene.input, &lines(burst)));
                host.kill9();
                producing.join().expect("no panic")
            });
            host.start_again()?;
            if produced.is_ok() {
                acknowledged.push(burst);
            }
            continue;
        }
        tenant.produce(scene.input, &lines(burst))?;
        acknowledged.push(burst);
    }
    let (status, done) = scene.judge(&tenant)?;
    assert_eq!(status.code, None);
    let mut stored: HashMap<(String, String), u32> = HashMap::new();
    for read in tenant.read_all(scene.input)? {
        *stored.entry((read.key_text(), read.text())).or_default() += 1;
    }
    for record in acknowledged.into_iter().flatten() {
        let count = stored.get(&(record.key.clone(), record.value.clone()));
        assert_eq!(count, Some(&1), "an acknowledged record is in the input once: {record:?}");
    }
    assert!(done.records_in >= (scene.records.len() - 3 * BURST) as u64);
    Ok(())
}

#[test]
fn sigterm_drains_and_the_next_start_goes_on() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    let scene = Scene::flights(6_000)?;
    scene.prepare(&tenant)?;
    scene.feed(&tenant, &scene.records)?;
    scene.apply(&tenant, SMALL_BATCHES)?;
    let mut seen = 0;
    for _ in 0..2 {
        seen = wait_beyond(&tenant, "flights-enriched", seen)?;
        host.stop().context("SIGTERM ends it with success")?;
        host.start_again()?;
        let kept = ends(&tenant, "flights-enriched")?;
        assert!(kept >= seen, "{seen} records were committed and {kept} are there");
        seen = kept;
    }
    let (status, done) = scene.judge(&tenant)?;
    // Each process told its last numbers before it ended.
    assert_eq!((status.totals.records_in, status.totals.records_out), (done.records_in, done.records_out));
    assert!(host.process()?.log().contains("running the remembered assignment"));
    Ok(())
}

#[test]
fn a_stopped_host_does_not_take_new_work_and_ends_with_idle_pipelines_too() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    let scene = Scene::weather(300)?;
    scene.prepare(&tenant)?;
    scene.apply(&tenant, "")?;
    scene.feed(&tenant, &scene.records)?;
    scene.judge(&tenant)?;
    host.stop()?;
    let refused = tenant.produce(scene.input, &lines(&scene.records[..1])).expect_err("nobody listens");
    assert_eq!(refused.status, 0, "{refused}");
    host.start_again()?;
    scene.feed(&tenant, &scene.records[..10])?;
    scene.judge(&tenant)?;
    Ok(())
}
