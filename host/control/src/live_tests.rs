//! How reports of several workers become one status.

use super::*;
use bulkhead_core::assignment::Totals;

fn key(pipeline: &str) -> PipelineKey {
    PipelineKey {
        tenant: "acme".parse().unwrap(),
        project: "default".parse().unwrap(),
        pipeline: pipeline.parse().unwrap(),
    }
}

fn report(worker: &str, phase: Phase, lag: i64, partitions: u32) -> WorkerReport {
    let pipeline = PipelineReport {
        key: key("p"),
        incarnation: String::new(),
        starts: 0,
        revision: 2,
        phase,
        parked: false,
        standby: false,
        code: None,
        message: None,
        lag: Some(lag),
        partitions,
        totals: Totals::default(),
        state_bytes: 0,
        memory_bytes: 0,
        slowed: None,
        stages: BTreeMap::new(),
        initialised: BTreeMap::new(),
        uses: Vec::new(),
    };
    WorkerReport {
        worker: worker.into(),
        boot: "1".into(),
        generation: 1,
        settled: 1,
        partial: false,
        tenants: Default::default(),
        pipelines: vec![pipeline],
    }
}

#[test]
fn lag_is_the_owners_sum_and_the_worst_phase_wins() {
    let live = Live::new(Duration::from_secs(10));
    live.hear(report("a", Phase::Running, 5, 2));
    live.hear(report("b", Phase::Failed, 7, 1));
    live.hear(report("c", Phase::Starting, 1_000, 0));
    let fares = live.fares(&key("p"), 1);
    assert_eq!((fares.lag, fares.partitions, fares.workers), (Some(12), 3, 3));
    assert_eq!(fares.phase, Some(Phase::Failed));
}

#[test]
fn reports_that_are_not_fresh_do_not_count() {
    let (live, start) = (Live::new(Duration::from_secs(10)), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    live.hear_at(start, report("a", Phase::Failed, 5, 2));
    live.hear_at(after(9), report("b", Phase::Running, 7, 1));
    assert_eq!(live.fares_at(after(9), &key("p"), 1).lag, Some(12));
    let fares = live.fares_at(after(11), &key("p"), 1);
    assert_eq!((fares.lag, fares.phase), (Some(7), Some(Phase::Running)));
    let fares = live.fares_at(after(21), &key("p"), 1);
    assert_eq!((fares.lag, fares.phase), (None, None));
    assert!(fares.message.is_some(), "nobody is told why there is no phase");
}

#[test]
fn a_deleted_pipeline_of_the_same_name_does_not_count() {
    let live = Live::new(Duration::from_secs(10));
    live.hear(report("a", Phase::Running, 5, 2));
    assert_eq!(live.fares(&key("p"), 3).phase, None);
    assert_eq!(live.fares(&key("other"), 1).phase, None);
}

#[test]
fn only_what_the_store_keeps_counts_as_a_change() {
    let live = Live::new(Duration::from_secs(10));
    let first = report("a", Phase::Running, 5, 2);
    assert_eq!(live.changed(&first).len(), 1, "a first report is all news");
    live.hear(first);
    assert_eq!(live.changed(&report("a", Phase::Running, 9, 2)).len(), 0, "lag is not kept");
    let mut counted = report("a", Phase::Running, 5, 2);
    counted.pipelines[0].totals.records_in = 1;
    assert_eq!(live.changed(&counted).len(), 1);
    let mut rebooted = report("a", Phase::Running, 5, 2);
    rebooted.boot = "2".into();
    assert_eq!(live.changed(&rebooted).len(), 1, "a new boot is all news");
}

#[test]
fn the_lag_is_unknown_until_all_that_own_partitions_know_it() {
    let mut new = report("b", Phase::Running, 0, 1);
    new.pipelines[0].lag = None;
    let live = Live::new(Duration::from_secs(10));
    let at = Instant::now();
    live.hear_at(at, report("a", Phase::Running, 5, 1));
    live.hear_at(at, new);
    assert_eq!(live.fares_at(at, &key("p"), 1).lag, None);
}

/// A pipeline at rest is spoken of once, and then no more.
#[test]
fn what_a_partial_report_leaves_out_is_as_it_was() {
    let live = Live::new(Duration::from_secs(10));
    let mut parked = report("a", Phase::Running, 0, 0);
    parked.pipelines[0].parked = true;
    let mut partial = report("a", Phase::Running, 0, 0);
    (partial.partial, partial.pipelines) = (true, Vec::new());
    assert!(!live.knows(&partial), "nothing was said before");
    live.hear(parked);
    assert!(live.knows(&partial));
    live.hear(partial.clone());
    let fares = live.fares(&key("p"), 1);
    assert_eq!((fares.phase, fares.parked, fares.lag), (Some(Phase::Running), true, Some(0)));
    // Another worker has all of the partitions, and a part of none is no part.
    live.hear(report("b", Phase::Running, 3, 4));
    let fares = live.fares(&key("p"), 1);
    assert_eq!((fares.parked, fares.lag, fares.partitions), (false, Some(3), 4));
    assert_eq!(live.shares("a").into_values().collect::<Vec<_>>(), [1]);
    let mut woken = report("a", Phase::Running, 3, 4);
    woken.partial = true;
    live.hear(woken);
    assert_eq!(live.shares("a").into_values().collect::<Vec<_>>(), [500]);
    partial.partial = false;
    live.hear(partial);
    assert!(live.shares("b").is_empty(), "it is gone from the first");
}

/// The worker that looks after a pipeline says how it fares; those that stand by for it take nothing from that.
#[test]
fn who_stands_by_takes_nothing_from_what_the_others_say() {
    let live = Live::new(Duration::from_secs(10));
    let mut stands_by = report("a", Phase::Running, 0, 0);
    let told = &mut stands_by.pipelines[0];
    (told.parked, told.standby, told.lag) = (true, true, None);
    live.hear(stands_by);
    live.hear(report("b", Phase::Running, 7, 4));
    let fares = live.fares(&key("p"), 1);
    assert_eq!((fares.parked, fares.lag, fares.partitions, fares.workers), (false, Some(7), 4, 2));
    let mut parked = report("b", Phase::Running, 0, 0);
    parked.pipelines[0].parked = true;
    live.hear(parked);
    let fares = live.fares(&key("p"), 1);
    assert_eq!((fares.phase, fares.parked, fares.lag), (Some(Phase::Running), true, Some(0)));
}
