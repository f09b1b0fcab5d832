//! The stage by itself, natively.

use bulkhead_sdk::testing::{Case, Input};
use flights_enrich::enrich;

fn case() -> Case {
    Case::new().outputs(["flights"]).settings(r#"{"carriers": {"UA": "United Air Lines Inc."}}"#)
}

#[test]
fn the_name_is_added_and_all_else_is_kept() {
    let flight = Input::new(r#"{"carrier":"UA","flight":1545,"new_field":1.10}"#).key("UA1545").header("trace", "7");
    let report = case().records([flight]).run::<enrich>();
    let enriched = report.to("flights")[0];
    assert_eq!(
        enriched.text(),
        r#"{"carrier":"UA","flight":1545,"new_field":1.10,"carrier_name":"United Air Lines Inc."}"#
    );
    assert_eq!(enriched.key.as_deref(), Some(b"UA1545".as_slice()));
    assert_eq!(enriched.header("trace"), Some(b"7".as_slice()));
}

#[test]
fn what_cannot_be_enriched_is_a_dead_letter_with_a_reason() {
    let report = case()
        .records([
            Input::new(r#"{"carrier":"XX"}"#),
            Input::new(r#"{"flight":1}"#),
            Input::new("UA,1545"),
            Input::tombstone(),
        ])
        .run::<enrich>();
    assert!(report.outputs.is_empty());
    let reasons: Vec<_> = report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    for (reason, says) in reasons.iter().zip(["carrier `XX`", "missing field `carrier`", "not the JSON", "no value"]) {
        assert!(reason.contains(says), "{reason} does not say {says}");
    }
    assert_eq!(reasons.len(), 4);
}

#[test]
fn a_pipeline_without_names_does_not_start() {
    for settings in ["null", r#"{"carriers": {}}"#, r#"{"carrier": {"UA": "x"}}"#] {
        assert!(Case::new().outputs(["flights"]).settings(settings).try_run::<enrich>().is_err(), "{settings}");
    }
}
