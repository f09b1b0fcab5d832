//! The stage in the real sandbox: it says there what it says natively, and what it costs.

use bulkhead_harness::{Case, Sandbox};
use weather_alerts::watch;

#[test]
fn the_sandbox_agrees() {
    let sandbox = Sandbox::of_crate(env!("CARGO_MANIFEST_DIR")).expect("the stage builds and the host takes it");
    let readings = (0..1_000).map(|i| {
        let gust = if i % 3 == 0 { "null".to_owned() } else { format!("{}.{i:03}", i % 60) };
        format!(
            r#"{{"origin":"JFK","time_hour":"2013-01-01T06:00:00Z","wind_gust":{gust},"visib":{},"temp":39.02}}"#,
            i % 11
        )
    });
    let case = Case::new()
        .outputs(["alerts"])
        .settings(r#"{"windGustMph": 35.5}"#)
        .records(readings)
        .records(["not JSON", r#"{"origin":"JFK","time_hour":"x","wind_speed":1048.36}"#])
        .batch_records(128);
    let run = sandbox.assert_agrees::<watch>(&case);
    assert_eq!(run.report.rejected.len(), 2);
    assert!(run.report.outputs.len() > 200, "{} alerts", run.report.outputs.len());
    assert!(run.fuel / 1_002 < 15_000, "{} fuel a record", run.fuel / 1_002);
}
