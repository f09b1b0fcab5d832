//! The stage in the real sandbox: it says there what it says natively, and what it costs.

use bulkhead_harness::{Case, Input, Sandbox};
use flights_enrich::enrich;

#[test]
fn the_sandbox_agrees() {
    let sandbox = Sandbox::of_crate(env!("CARGO_MANIFEST_DIR")).expect("the stage builds and the host takes it");
    let flights = (0..1_000).map(|i| {
        let carrier = if i % 100 == 0 { "XX" } else { "UA" };
        Input::new(format!(r#"{{"flight":{i},"carrier":"{carrier}","dep_time":null}}"#)).key(format!("{carrier}{i}"))
    });
    let case = Case::new()
        .outputs(["flights"])
        .settings(r#"{"carriers": {"UA": "United Air Lines Inc."}}"#)
        .records(flights)
        .records([Input::tombstone(), Input::new("oops")])
        .batch_records(300);
    let run = sandbox.assert_agrees::<enrich>(&case);
    assert_eq!((run.report.outputs.len(), run.report.rejected.len()), (990, 12));
    assert!(run.fuel / 1_002 < 10_000, "{} fuel a record", run.fuel / 1_002);
}
