//! The stage by itself, natively.

use bulkhead_sdk::testing::Case;
use flights_classify::classify;

fn case() -> Case {
    Case::new().outputs(["all", "worst"])
}

fn classes(case: &Case) -> Vec<String> {
    let report = case.run::<classify>();
    assert_eq!(report.rejected, []);
    let class = |text: &str| text.rsplit('"').nth(1).map(str::to_owned);
    report.texts("all").into_iter().filter_map(class).collect()
}

#[test]
fn each_class_begins_where_its_threshold_says() {
    let delays = ["-5", "-4", "14", "15", "119", "120"];
    let flights = delays.map(|delay| format!(r#"{{"dep_time":517,"arr_delay":{delay}}}"#));
    assert_eq!(classes(&case().records(flights)), ["early", "on-time", "on-time", "late", "late", "very-late"]);
}

#[test]
fn a_missing_delay_is_no_delay_of_zero() {
    let flights = [r#"{"dep_time":null,"arr_delay":null}"#, r#"{"dep_time":517,"arr_delay":null}"#];
    assert_eq!(classes(&case().records(flights)), ["cancelled", "diverted"]);
}

#[test]
fn thresholds_come_from_the_manifest() {
    let case = case().records([r#"{"dep_time":517,"arr_delay":20}"#]);
    assert_eq!(classes(&case.clone().settings(r#"{"lateMinutes": 21}"#)), ["on-time"]);
    assert_eq!(classes(&case.clone().settings(r#"{"veryLateMinutes": 20}"#)), ["very-late"]);
    for wrong in [r#"{"veryLateMinutes": 15}"#, r#"{"lateMinute": 21}"#, r#"{"lateMinutes": "21"}"#] {
        assert!(case.clone().settings(wrong).try_run::<classify>().is_err(), "{wrong}");
    }
}

#[test]
fn only_the_worst_go_to_both_outputs() {
    let flights = [
        r#"{"dep_time":517,"arr_delay":11}"#,
        r#"{"dep_time":517,"arr_delay":300}"#,
        r#"{"dep_time":null,"arr_delay":null}"#,
    ];
    let report = case().records(flights).run::<classify>();
    assert_eq!(report.to("all").len(), 3);
    assert_eq!(report.to("worst").iter().map(|flight| flight.record).collect::<Vec<_>>(), [1, 2]);
}
