//! Who is charged, how much, and when a guest gives way.

use crate::support::*;
use bulkhead_core::fault::GuestFaultKind;
use bulkhead_core::limits::StageLimits;
use bulkhead_engine::{Engine, Mode, YIELD_INTERVAL_FUEL};

fn cap(fuel_per_record: u64) -> StageLimits {
    StageLimits { fuel_per_record, ..StageLimits::default() }
}

#[tokio::test]
pub(crate) async fn work() {
    let small = run("work", &["100000"; 10]).await.unwrap().fuel;
    let large = run("work", &["1000000"; 10]).await.unwrap().fuel;
    assert!(large > 9 * small && large < 11 * small, "ten records of 100,000: {small}; of 1,000,000: {large}");
}

#[tokio::test]
async fn each_record_has_its_own_cap() {
    let stage = limited("work", cap(2_000_000)).await;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    // Together far above one record's cap.
    assert!(instance.process(&batch(&["1000000"; 20])).await.unwrap().fuel > 4_000_000);
    let failure = instance.process(&batch(&["1000", "1000", "10000000", "1000"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, Some(2));
    assert!(failure.fuel >= 2_000_000 && failure.fuel < 2_100_000, "{}", failure.fuel);
}

#[tokio::test]
pub(crate) async fn spin() {
    let failure = run("spin", &["a", "b", "!", "c"]).await.unwrap_err();
    let fault = guest_fault(&failure);
    assert_eq!(fault.kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, Some(2));
    let cap = StageLimits::default().fuel_per_record;
    assert!(fault.message.contains(&cap.to_string()), "{fault}");
    assert!(failure.fuel >= cap && failure.fuel < cap + 100_000, "{}", failure.fuel);
}

#[tokio::test]
pub(crate) async fn never_marks() {
    let stage = limited("never_marks", cap(1_000_000)).await;
    let mut instance = stage.instantiate(CONFIRM).await.unwrap();
    assert_eq!(instance.process(&batch(&["a", "b"])).await.unwrap().outcome.outputs.len(), 2);
    let failure = instance.process(&batch(&["!", "b", "c"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, None);
    assert_eq!(failure.fuel, 3_000_000, "a guest that never marks has the fuel of all its records");
}

#[tokio::test]
pub(crate) async fn work_first() {
    let stage = limited("work_first", cap(1_000_000)).await;
    let run = async |values: &[&str]| stage.instantiate(CONFIRM).await.unwrap().process(&batch(values)).await;
    // Less than a record's cap before the first mark: the last record still has all of its own.
    let failure = run(&["500000", "900000", "!"]).await.unwrap_err();
    assert_eq!(failure.record, Some(2));
    // More: what is left for the last record is less than its cap, so it is not to blame.
    let failure = run(&["2500000", "900000", "!"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, None);
    assert_eq!(failure.fuel, 4_000_000);
    // So much that the first mark is never reached.
    let failure = run(&["6000000", "1", "1"]).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::OutOfFuel);
    assert_eq!(failure.record, None);
    assert_eq!(failure.fuel, 3_000_000);
}

#[tokio::test]
async fn a_confirming_run_burns_the_same_each_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let processed = run("surroundings", &["!random", "!waits"]).await.unwrap();
        let failure = run("trap", &["a", "!"]).await.unwrap_err();
        runs.push((processed, failure));
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn yielding_costs_no_fuel() {
    let folder = tempfile::tempdir().unwrap();
    let mut burnt = Vec::new();
    for interval in [None, Some(10_000), Some(YIELD_INTERVAL_FUEL)] {
        let engine = Engine::with_yields(config(folder.path()), interval).unwrap();
        let (stage, _) = stage_on(&engine, "work", stage_config("work")).await;
        let mut instance = stage.instantiate(CONFIRM).await.unwrap();
        burnt.push(instance.process(&batch(&["300000"; 30])).await.unwrap().fuel);
    }
    assert!(burnt.iter().all(|fuel| *fuel == burnt[0]), "{burnt:?}");
}

/// Setting a store's fuel at each mark restarts wasmtime's count towards the next yield; the meter must make up for it.
#[tokio::test]
async fn a_batch_of_small_records_gives_way_as_often_as_one_large_record() {
    for (value, records) in [("40000000", 1), ("1000000", 40), ("20000", 2_000), ("4000", 5_000)] {
        let stage = stage("work").await;
        let mut instance = stage.instantiate(Mode::Live).await.unwrap();
        let batch = batch(&vec![value; records]);
        let (processed, yields) = count_yields(instance.process(&batch)).await;
        let due = (processed.unwrap().fuel / YIELD_INTERVAL_FUEL) as u32;
        // Between two yields lie at most two intervals and a record or two.
        assert!(yields >= due / 3 && yields <= 3 * due, "{records} records of {value}: {yields} yields, {due} due");
    }
}

#[tokio::test]
async fn one_long_record_after_many_small_ones_yields_no_more_than_it_must() {
    let mut values = vec!["20000"; 2_000];
    values.push("40000000");
    let mut instance = stage("work").await.instantiate(Mode::Live).await.unwrap();
    let batch = batch(&values);
    let (processed, yields) = count_yields(instance.process(&batch)).await;
    let least_interval = 5_000;
    assert!(u64::from(yields) < processed.unwrap().fuel / least_interval, "{yields} yields");
}
