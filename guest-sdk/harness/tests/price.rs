//! The harness on a real stage: what it builds is what the host runs.

use bulkhead_harness::{Case, Input, Sandbox, StageLimits};
use price_stage::price;
use std::sync::OnceLock;

fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/stage");
    SANDBOX.get_or_init(|| Sandbox::of_crate(folder).expect("the stage builds and the host takes it")).clone()
}

fn order(i: usize) -> Input {
    let value = format!(
        r#"{{"id":{i},"customer":"customer-{}","sku":"sku-{}","qty":{},"price":{}.{:02},"country":"{}"}}"#,
        i % 97,
        i % 1009,
        i % 5,
        i % 200,
        i % 100,
        ["DE", "FR", "US"][i % 3]
    );
    Input::new(value).key(i.to_string()).timestamp(1_356_998_400_000 + i as i64).header("trace", i.to_string())
}

fn case(records: usize) -> Case {
    Case::new().outputs(["priced"]).records((0..records).map(order))
}

#[test]
fn the_sandbox_gives_what_the_native_run_gives() {
    let case = case(5_000).records([Input::new("broken"), Input::tombstone()]);
    for batch_records in [1, 7, 1_000, 5_000] {
        let run = sandbox().assert_agrees::<price>(&case.clone().batch_records(batch_records));
        assert_eq!(run.report.outputs.len(), 4_000);
        assert_eq!(run.report.rejected.len(), 2);
        assert!(run.fuel > 0 && run.memory_bytes > 0);
    }
}

#[test]
fn the_same_case_costs_the_same_fuel() {
    let (first, again) = (sandbox().run(&case(500)).unwrap(), sandbox().run(&case(500)).unwrap());
    assert_eq!(first, again);
}

#[test]
fn a_stage_that_does_not_start_says_why() {
    let stopped = sandbox().run(&case(1).outputs(["prised"])).expect_err("there is no output `priced`");
    assert!(stopped.to_string().contains("no output `priced`"), "{stopped}");
}

#[test]
fn a_record_over_its_fuel_is_named() {
    let tight = StageLimits { fuel_per_record: 60_000, ..StageLimits::default() };
    let huge = format!(r#"{{"id":1,"customer":"{}","qty":1}}"#, "x".repeat(500_000));
    let stopped = sandbox().limits(tight).run(&case(3).records([huge])).expect_err("too much for so little fuel");
    assert_eq!(stopped.record, Some(3), "{stopped}");
}
