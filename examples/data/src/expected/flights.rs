//! Flights, with the carrier's name and how late they were.
//!
//! Must never: share code with `examples/flights`.

use super::{Expected, Output};
use crate::Record;
use anyhow::{Context, Result};
use serde_json::Value;

/// airlines.csv of the data set.
const CARRIERS: [(&str, &str); 16] = [
    ("9E", "Endeavor Air Inc."),
    ("AA", "American Airlines Inc."),
    ("AS", "Alaska Airlines Inc."),
    ("B6", "JetBlue Airways"),
    ("DL", "Delta Air Lines Inc."),
    ("EV", "ExpressJet Airlines Inc."),
    ("F9", "Frontier Airlines Inc."),
    ("FL", "AirTran Airways Corporation"),
    ("HA", "Hawaiian Airlines Inc."),
    ("MQ", "Envoy Air"),
    ("OO", "SkyWest Airlines Inc."),
    ("UA", "United Air Lines Inc."),
    ("US", "US Airways Inc."),
    ("VX", "Virgin America"),
    ("WN", "Southwest Airlines Co."),
    ("YV", "Mesa Airlines Inc."),
];

/// What the pipeline `flights` should make of a record of the topic `flights`: one record of `flights-enriched`, and the
/// same one in `flights-late` where the flight was cancelled or two hours late.
///
/// # Errors
/// Where the record is not one of this data set.
pub fn flights(record: &Record) -> Result<Expected> {
    let flight: Value = serde_json::from_str(&record.value)?;
    let carrier = flight["carrier"].as_str().context("a flight without a carrier")?;
    let (_, name) = CARRIERS.iter().find(|row| row.0 == carrier).context("a carrier without a name")?;
    let class = if flight["dep_time"].is_null() {
        "cancelled"
    } else {
        match flight["arr_delay"].as_i64() {
            None => "diverted",
            Some(..=-5) => "early",
            Some(-4..=14) => "on-time",
            Some(15..=119) => "late",
            Some(120..) => "very-late",
        }
    };
    let fields = record.value.strip_suffix('}').context("a flight that is no object")?;
    let value = format!(r#"{fields},"carrier_name":"{name}","delay_class":"{class}"}}"#);
    let output = |topic| Output { topic, key: record.key.clone(), value: value.clone(), headers: Vec::new() };
    let mut outputs = vec![output("flights-enriched")];
    if matches!(class, "cancelled" | "very-late") {
        outputs.push(output("flights-late"));
    }
    Ok(Expected { outputs, dead_letter: false })
}
