//! The stage by itself, natively.

use bulkhead_sdk::testing::{Case, Input};
use weather_alerts::watch;

fn case() -> Case {
    Case::new().outputs(["alerts"])
}

fn reading(fields: &str) -> String {
    format!(r#"{{"origin":"EWR","time_hour":"2013-02-12T08:00:00Z"{fields}}}"#)
}

#[test]
fn an_alert_says_what_where_when_and_which_limit() {
    let report = case().records([Input::from(reading(r#","wind_gust":44.87780"#)).key("EWR")]).run::<watch>();
    assert_eq!(
        report.texts("alerts"),
        [concat!(
            r#"{"station":"EWR","time":"2013-02-12T08:00:00Z","kind":"wind-gust","#,
            r#""value":44.88,"limit":40.0,"unit":"mph"}"#
        )]
    );
    assert_eq!(report.outputs[0].header("kind"), Some(b"wind-gust".as_slice()));
    assert_eq!(report.outputs[0].key.as_deref(), Some(b"EWR".as_slice()));
}

#[test]
fn a_reading_gives_as_many_alerts_as_thresholds_it_passes() {
    let readings = [
        reading(r#","wind_gust":39.9,"visib":0.51,"precip":0.29,"temp":20.01"#),
        reading(r#","wind_gust":40,"visib":0.5,"precip":0.3,"temp":20"#),
    ];
    let report = case().records(readings).run::<watch>();
    assert_eq!(report.outputs.iter().map(|alert| alert.record).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

#[test]
fn what_was_not_measured_is_no_alert() {
    let nothing = reading(r#","wind_gust":null,"wind_speed":null,"visib":null,"precip":null,"temp":null"#);
    let report = case().records([nothing, reading("")]).run::<watch>();
    assert_eq!((report.outputs.len(), report.rejected.len()), (0, 0));
}

#[test]
fn a_broken_reading_is_a_dead_letter_and_alerts_nobody() {
    let readings = [
        reading(r#","wind_speed":1048.36058,"temp":10"#),
        reading(r#","temp":"NA""#),
        r#"{"origin":"EWR","time_ho"#.to_owned(),
    ];
    let report = case().records(readings).run::<watch>();
    assert!(report.outputs.is_empty());
    assert!(report.rejected[0].reason.contains("`wind_speed` is 1048.36058"), "{:?}", report.rejected[0]);
    assert_eq!(report.rejected.iter().map(|rejected| rejected.record).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn thresholds_come_from_the_manifest() {
    let case = case().records([reading(r#","wind_gust":50"#)]);
    assert!(case.clone().settings(r#"{"windGustMph": 51}"#).run::<watch>().outputs.is_empty());
    let error = case.settings(r#"{"windGust": 51}"#).try_run::<watch>().expect_err("an unknown setting is refused");
    assert!(error.reason().contains("unknown field `windGust`"), "{}", error.reason());
}
