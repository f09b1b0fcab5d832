//! What a worker tells Prometheus: the right numbers, and no series of a pipeline that is gone.

use crate::support::*;

#[test]
fn series_count_what_was_committed() {
    let world = World::with_topics(1);
    let header = ("h".to_owned(), Some(b"12".to_vec()));
    let mut records = texts(["aaaa", "!!!", "bb"]);
    records[0].key = Some(b"key".to_vec());
    records[2].headers.push(header);
    world.append(ACME, "in", &records);
    let worker = world.worker("w");
    let pipeline = simple("trap", "");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    let own = [("tenant", ACME), ("project", "default"), ("pipeline", "p")];
    let metric = |name: &str, more: &[(&str, &str)]| worker.metric(name, &[&own[..], more].concat());
    until("the commit is counted", || metric("bulkhead_records_total", &[("direction", "in")]) == Some(3.0));
    assert_eq!(metric("bulkhead_records_total", &[("direction", "out")]), Some(2.0));
    assert_eq!(metric("bulkhead_bytes_total", &[("direction", "in")]), Some(15.0));
    assert_eq!(metric("bulkhead_bytes_total", &[("direction", "out")]), Some(12.0));
    assert_eq!(metric("bulkhead_dead_letters_total", &[]), Some(1.0));
    assert_eq!(metric("bulkhead_faults_total", &[("side", "guest"), ("kind", "trap")]), Some(1.0));
    assert_eq!(metric("bulkhead_buffered_bytes", &[]), Some(0.0));
    let totals = worker.report(&pipeline).totals;
    assert_eq!(metric("bulkhead_fuel_total", &[]), Some(totals.fuel as f64));
    assert!(totals.fuel > 0);
    assert_eq!((totals.records_in, totals.records_out, totals.dead_letters), (3, 2, 1));
    assert_eq!((totals.bytes_in, totals.bytes_out), (15, 12));
    assert!(metric("bulkhead_batch_seconds", &[]) >= Some(1.0));
    assert!(worker.metric("bulkhead_commit_seconds", &[("lane", "shared-0")]) >= Some(1.0));
    assert!(worker.metric("bulkhead_commits_total", &[("outcome", "committed")]) >= Some(1.0));

    worker.stop(&pipeline);
    for family in worker.registry.gather() {
        for metric in family.get_metric() {
            assert!(metric.get_label().iter().all(|label| label.value() != ACME), "{} is left", family.name());
        }
    }
}

#[test]
fn lag_is_what_lies_between_the_positions_and_the_ends() {
    let world = World::with_topics(2);
    world.append(ACME, "in", &numbers(2, 0..30));
    let worker = world.worker("w");
    // Nothing commits while the stage does not start.
    let pipeline = simple("init_fails", "");
    worker.run(&pipeline);
    let lag = |worker: &Worker| worker.metric("bulkhead_lag_records", &[("tenant", ACME)]);
    until("all is lag", || lag(&worker) == Some(60.0));
    assert_eq!(worker.report(&pipeline).lag, Some(60));
    let mut next = simple("passthrough", "");
    next.revision = 2;
    worker.run(&next);
    until("there is none", || world.lag(&next) == 0 && lag(&worker) == Some(0.0));
}

#[test]
fn a_pipeline_that_comes_again_has_series_again() {
    let world = World::with_topics(1);
    let worker = world.worker("w");
    let pipeline = simple("passthrough", "");
    for round in 0..3 {
        world.append(ACME, "in", &texts(["a"]));
        worker.run(&pipeline);
        world.settled(&worker, &pipeline);
        let records = || worker.metric("bulkhead_records_total", &[("tenant", ACME), ("direction", "in")]);
        until("its record is counted", || records() == Some(1.0));
        worker.stop(&pipeline);
        assert_eq!(records(), None, "round {round}");
    }
}
