//! The sample, what Rust expects of it, and what Python (`expected.py`) expects of it, agree.

use crate::expected::{self, Expected, Output};
use crate::{Record, Source, departures, flights, weather};
use flate2::read::GzDecoder;
use std::io::Read;

const ENRICHED: &[u8] = include_bytes!("../../flights/expected/flights-enriched.tsv.gz");
const LATE: &[u8] = include_bytes!("../../flights/expected/flights-late.tsv.gz");
const DELAYS: &[u8] = include_bytes!("../../delays/expected/delays.tsv.gz");
const DELAYS_LATE: &[u8] = include_bytes!("../../delays/expected/delays-late.tsv.gz");
const ALERTS: &str = include_str!("../../weather/expected/weather-alerts.tsv");
const DEAD: &str = include_str!("../../weather/expected/weather-dead.tsv");

fn text(gzip: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(gzip).read_to_string(&mut text).expect("gzip");
    text
}

fn tsv<'a>(outputs: impl Iterator<Item = &'a Output>) -> String {
    outputs.map(|output| format!("{}\t{}\n", output.key, output.value)).collect()
}

fn expect(records: &[Record], expected: fn(&Record) -> anyhow::Result<Expected>) -> Vec<Expected> {
    records.iter().map(|record| expected(record).expect("a record of this data set")).collect()
}

#[test]
fn flights_become_what_python_says() {
    let records: Vec<_> = flights(&Source::Sample).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 19_811);
    let expected = expect(&records, expected::flights);
    for (topic, python) in [("flights-enriched", ENRICHED), ("flights-late", LATE)] {
        let rust = tsv(expected.iter().flat_map(|e| &e.outputs).filter(|output| output.topic == topic));
        assert!(rust == text(python), "{topic} differs");
    }
    assert!(expected.iter().all(|expected| !expected.dead_letter));
}

#[test]
fn readings_become_what_python_says() {
    let records: Vec<_> = weather(&Source::Sample).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 8_705);
    let expected = expect(&records, expected::weather);
    assert_eq!(tsv(expected.iter().flat_map(|e| &e.outputs)), ALERTS);
    let dead: String = records
        .iter()
        .zip(&expected)
        .filter(|(_, expected)| expected.dead_letter)
        .map(|(record, _)| format!("{}\t{}\n", record.key, record.value))
        .collect();
    assert_eq!(dead, DEAD);
}

#[test]
fn delays_become_what_python_says() {
    let records: Vec<_> = departures(&Source::Sample).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 19_811);
    let expected = expected::delays(&records, 6).expect("records of this data set");
    let rows: String = expected.rows.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect();
    assert!(rows == text(DELAYS), "delays differs");
    let late: String =
        expected.late.iter().map(|place| format!("{}\t{}\n", records[*place].key, records[*place].value)).collect();
    assert!(late == text(DELAYS_LATE), "delays-late differs");
    assert!(expected.over < expected.rows.len() && expected.over > 19_000, "{} are over", expected.over);
}

#[test]
fn the_sample_is_spread_over_many_keys_and_the_whole_year() {
    let records: Vec<_> = flights(&Source::Sample).unwrap().map(Result::unwrap).collect();
    let keys: std::collections::HashSet<_> = records.iter().map(|record| &record.key).collect();
    assert!(keys.len() > 3_000, "{} keys", keys.len());
    for month in 1..=12 {
        assert!(records.iter().any(|record| record.value.contains(&format!("\"month\":{month},"))), "month {month}");
    }
}

#[test]
fn a_file_that_is_not_the_data_set_is_refused() {
    let wrong = Source::Archive(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
    assert!(flights(&wrong).is_err());
    assert!(weather(&Source::Archive("no such file".into())).is_err());
}
