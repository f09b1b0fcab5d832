//! The stage by itself, natively.

use bulkhead_sdk::testing::{Case, Input};
use flights_delays::delays;

const SECOND: i64 = 1_000;

fn case() -> Case {
    Case::new().outputs(["hourly", "table", "late"]).settings(r#"{"latenessHours": 2, "idleSeconds": 60}"#)
}

fn flight(time: &str, minute: u32, delay: &str) -> Input {
    let value = format!(
        r#"{{"origin":"EWR","dest":"IAH","time_hour":"2013-01-01T{time}:00:00Z","minute":{minute},"dep_delay":{delay}}}"#
    );
    Input::new(value).key("EWR-IAH")
}

const TEN: i64 = 1_357_034_400_000;

#[test]
fn an_hour_holds_what_should_have_left_in_it() {
    let flights = [flight("10", 0, "4"), flight("12", 30, "0"), flight("10", 59, "-3"), flight("11", 0, "9")];
    let over = flight("13", 0, "0");
    let report = case().records(flights).records([flight("10", 5, "null"), over]).run::<delays>();
    let ten = format!(
        r#"{{"origin":"EWR","dest":"IAH","hour":{TEN},"flights":3,"cancelled":1,"delay_sum":1,"delay_max":4,"delay_mean":0.5}}"#
    );
    assert_eq!(report.texts("hourly"), [ten.as_str()]);
    assert_eq!(report.texts("table"), report.texts("hourly"));
    let hour = report.to("hourly")[0];
    assert_eq!((hour.key.as_deref(), hour.timestamp), (Some(b"EWR-IAH".as_slice()), TEN + 3_599_999));
}

#[test]
fn what_comes_too_late_is_sent_on_and_not_counted() {
    let case = case().records([flight("10", 0, "4"), flight("13", 0, "0"), flight("10", 30, "150")]);
    let report = case.tick(0).tick(60 * SECOND).run::<delays>();
    assert_eq!(report.to("late").iter().map(|late| late.record).collect::<Vec<_>>(), [2]);
    assert_eq!(report.to("late")[0].key.as_deref(), Some(b"EWR-IAH".as_slice()));
    assert_eq!(report.texts("hourly").len(), 2);
    assert!(report.texts("hourly")[0].contains(r#""flights":1"#));
}

#[test]
fn a_quiet_stream_gives_out_its_last_hours() {
    let case = case().records([flight("10", 0, "4")]);
    assert!(case.clone().tick(0).tick(59 * SECOND).run::<delays>().outputs.is_empty());
    let report = case.tick(0).tick(60 * SECOND).run::<delays>();
    assert!(report.to("hourly").len() == 1 && report.to("hourly")[0].by_tick);
    assert_eq!(report.state[&(0, 0)].len(), 1, "only the clock is left");
}

#[test]
fn a_flight_that_cannot_be_placed_is_a_dead_letter() {
    let wrong = [
        (flight("10", 0, "4").key("EWR-JFK"), "not the route EWR-IAH"),
        (flight("25", 0, "4"), "`time_hour` is no time"),
        (Input { key: None, ..flight("10", 0, "4") }, "key is its route"),
        (Input::new(r#"{"origin":"EWR"}"#).key("EWR-IAH"), "missing field"),
    ];
    let report = case().records(wrong.clone().map(|(record, _)| record)).run::<delays>();
    assert!(report.outputs.is_empty() && report.state.is_empty());
    for (rejected, (_, says)) in report.rejected.iter().zip(&wrong) {
        assert!(rejected.reason.contains(says), "{} does not say {says}", rejected.reason);
    }
    assert_eq!(report.rejected.len(), wrong.len());
}
