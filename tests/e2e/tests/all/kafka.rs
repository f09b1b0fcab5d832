//! On a real Kafka with SCRAM and ACLs: both examples with either group protocol, a broker that is away, a slot that is taken.

use crate::brokers::{Broker, shared};
use crate::scenes::{self, Scene};
use crate::shared::{Guests, refused};
use anyhow::{Context, Result};
use bulkhead_testbed::{DEADLINE, Host, Line, Serve, Status, until};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a worker whose slot another took.
const FENCED: i32 = 3;

#[test]
fn both_examples_do_what_they_should_on_kafka() -> Result<()> {
    let broker = shared()?;
    let host = Host::start(Serve::all().slot("consumer").kafka(&broker.login))?;
    scenes::both(&host, ["consumer-flights", "consumer-weather"], 3_000, 2_000)
}

#[test]
fn both_examples_do_what_they_should_with_classic_groups() -> Result<()> {
    let broker = shared()?;
    let login = broker.login.clone().protocol("classic");
    let host = Host::start(Serve::all().slot("classic").kafka(&login))?;
    scenes::both(&host, ["classic-flights", "classic-weather"], 3_000, 2_000)
}

#[test]
fn a_broker_may_be_away_at_the_start_and_in_mid_flight() -> Result<()> {
    let broker = Broker::start(&["patient"])?;
    broker.kafka.stop(1);
    let host = Host::start(Serve::all().kafka(&broker.login))?;
    let tenant = host.tenant("patient")?;
    let problem = refused(tenant.create_topic("flights", 4), 503, "BH0401", "try again");
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");

    broker.kafka.start_broker(1);
    let scene = Scene::flights(2_000)?;
    until("the log to answer", || {
        tenant.topic("nothing").map_or_else(
            |refused| if refused.status == 404 { Ok(()) } else { Err(refused.to_string()) },
            |shown| Err(shown.to_string()),
        )
    })?;
    scene.prepare(&tenant)?;
    scene.apply(&tenant, "batch: { records: 20 }")?;
    let (first, second) = scene.records.split_at(1_000);
    scene.feed(&tenant, first)?;
    tenant.wait_records("flights-enriched", 1)?;

    broker.kafka.kill9(1);
    let away = |status: &Status| status.code.as_deref() == Some("BH0401");
    let status = tenant.wait_status("flights", "it to say that the log is away", away)?;
    let message = status.message.context("a message")?;
    assert!(message.contains("tried again") || message.contains("waiting"), "{message}");
    refused(tenant.produce("flights", &scenes::lines(&first[..1])), 503, "BH0401", "try again");

    broker.kafka.start_broker(1);
    until("the log to answer", || tenant.topic("flights").map_err(|refused| refused.to_string()))?;
    scene.feed(&tenant, second)?;
    let (status, done) = scene.judge(&tenant)?;
    assert!(done.records_in >= 2_000);
    assert_eq!((status.phase.as_deref(), status.code), (Some("running"), None));
    Ok(())
}

#[test]
fn a_worker_whose_slot_is_taken_ends_and_the_other_goes_on() -> Result<()> {
    let broker = shared()?;
    let control = Host::start(Serve::control().slot("fenced-control").kafka(&broker.login))?;
    let tenant = control.tenant("fenced")?;
    tenant.upload_guests()?;
    // Enough partitions for each of two workers to own some.
    tenant.create_topic("p-in", 8)?;
    tenant.create_topic("p-out", 1)?;
    tenant.create_topic("p-dead", 1)?;
    let write = |i: usize| tenant.produce("p-in", &[Line::text(&format!("key {i}"), &i.to_string())]);
    let twin = control.worker("twin")?;
    let mut first = control.start_worker(&twin)?;
    tenant.apply_guest("p", "passthrough", "")?;
    write(0)?;
    tenant.out("p", 1)?;

    let stop = AtomicBool::new(false);
    let (sent, second) = std::thread::scope(|scope| -> Result<_> {
        let feeding = scope.spawn(|| -> Result<usize> {
            let mut sent = 1;
            while !stop.load(Ordering::Relaxed) {
                write(sent)?;
                sent += 1;
            }
            Ok(sent)
        });
        let second = twin.start(&control.folder().join("second-twin"), control.folder().path());
        let ended = first.wait_end(DEADLINE);
        stop.store(true, Ordering::Relaxed);
        let sent = feeding.join().expect("no panic")?;
        let (ended, second) = (ended?, second?);
        assert_eq!(ended.code(), Some(FENCED), "{}", first.log());
        Ok((sent, second))
    })?;
    let said = first.log();
    assert!(said.contains("BH0404") && said.contains("`twin`") && said.contains("explain"), "{said}");
    let mut numbers = tenant.out("p", sent)?.iter().map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
    second.stop()
}
