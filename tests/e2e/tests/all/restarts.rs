//! The process ends in mid-stream, by SIGKILL or SIGTERM, and is started again: nothing is lost, nothing is doubled, order is kept.

use crate::scenes::{Scene, lines};
use crate::shared::{Guests, manifest, wait_log};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Serve, Status, Tenant, until};
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
    assert_eq!((status.phase.as_deref(), status.code), (Some("running"), None));
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

/// Records whose work takes seconds altogether, so that the process ends in the middle of it.
const HEAVY_RECORDS: u64 = 600;
/// About so much fuel is one such record: some ten milliseconds, a little below the cap.
const HEAVY_FUEL: u64 = 40_000_000;

#[test]
fn killed_and_stopped_in_the_middle_of_hard_work_each_record_is_done_once_and_in_order() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    tenant.upload_guests()?;
    tenant.topics("p")?;
    let values: Vec<String> = (0..HEAVY_RECORDS).map(|i| (HEAVY_FUEL + i).to_string()).collect();
    tenant.put("p", &values.iter().map(String::as_str).collect::<Vec<_>>())?;
    tenant.apply("p", manifest("p", "work", "") + "batch: { records: 5 }\n")?;
    let mut seen = 0;
    for gently in [false, true, false, true] {
        seen = wait_beyond(&tenant, "p-out", seen)?;
        if gently {
            host.stop().context("SIGTERM ends it with success")?;
        } else {
            host.kill9();
        }
        host.start_again()?;
        let kept = ends(&tenant, "p-out")?;
        assert!(kept >= seen, "{seen} records were committed and {kept} are there");
        assert!(kept < HEAVY_RECORDS as i64, "it ended after its work, not in the middle");
    }
    assert_eq!(tenant.out("p", values.len())?, values);
    wait_log(host.process()?, "running the remembered assignment")?;
    Ok(())
}

#[test]
fn sigterm_tells_the_last_numbers() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    let scene = Scene::weather(600)?;
    scene.prepare(&tenant)?;
    scene.apply(&tenant, SMALL_BATCHES)?;
    for records in scene.records.chunks(200) {
        scene.feed(&tenant, records)?;
        host.stop()?;
        host.start_again()?;
    }
    let (_, done) = scene.judge(&tenant)?;
    let told = |status: &Status| status.totals.records_in >= done.records_in;
    let totals = tenant.wait_status(scene.pipeline, "all to be counted", told)?.totals;
    assert_eq!((totals.records_in, totals.records_out), (done.records_in, done.records_out), "over four processes");
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
