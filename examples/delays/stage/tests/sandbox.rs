//! The stage in the real sandbox: it says there what it says natively, keeps the same state, and what it costs.

use bulkhead_harness::{Case, Input, Sandbox};
use flights_delays::delays;

fn flight(i: usize) -> Input {
    let (hour, minute) = (i / 60 % 24, i % 60);
    let late = i.is_multiple_of(50).then(|| hour.saturating_sub(9));
    let hour = late.unwrap_or(hour);
    let value = format!(
        r#"{{"origin":"EWR","dest":"D{:02}","time_hour":"2013-01-01T{hour:02}:00:00Z","minute":{minute},"dep_delay":{i}}}"#,
        i % 40
    );
    Input::new(value).key(format!("EWR-D{:02}", i % 40))
}

fn case() -> Case {
    let case = Case::new().outputs(["hourly", "late", "table"]).records((0..1_400).map(flight)).batch_records(300);
    case.restart().records(["no flight"]).tick(0).tick(59_000).tick(60_000)
}

fn sandbox() -> Sandbox {
    Sandbox::of_crate(env!("CARGO_MANIFEST_DIR")).expect("the stage builds and the host takes it")
}

#[test]
fn the_sandbox_agrees() {
    let sandbox = sandbox();
    let run = sandbox.assert_agrees::<delays>(&case());
    assert!(sandbox.imports().iter().any(|import| import.starts_with("bulkhead:stage/state@")));
    let report = &run.report;
    assert!(report.to("hourly").len() > 700 && report.to("hourly").len() == report.to("table").len());
    assert!(!report.to("late").is_empty() && report.rejected.len() == 1);
    assert!(report.outputs.iter().any(|output| output.by_tick));
    // Nearly every record opens an hour of its own, which is the dearest case: looked up, kept, given out twice and removed.
    assert!(run.fuel / 1_401 < 60_000, "{} fuel a record", run.fuel / 1_401);
}

#[test]
fn a_state_over_its_limit_stops_at_the_record_that_grew_it() {
    let grows = (0..10).map(flight);
    let same = (0..3).map(|_| flight(3));
    let case = Case::new().outputs(["hourly", "late", "table"]).records(same).records(grows);
    // The clock and the first two windows have some 130 bytes each.
    let stopped = sandbox().state_bytes(460).run(&case).expect_err("ten windows do not fit");
    assert_eq!(stopped.record, Some(5), "{stopped}");
    assert!(stopped.to_string().contains("460 are granted"), "{stopped}");
}
