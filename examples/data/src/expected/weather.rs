//! Alerts for weather readings.
//!
//! Must never: share code with `examples/weather`.

use super::{Expected, Output};
use crate::Record;
use anyhow::{Context, Result};
use serde_json::Value;

/// What the pipeline `weather` should make of a record of the topic `weather`: a record of `weather-alerts` for each
/// threshold that the reading passes; a dead letter where the reading is impossible.
///
/// # Errors
/// Where the record is not one of this data set.
pub fn weather(record: &Record) -> Result<Expected> {
    let reading: Value = serde_json::from_str(&record.value)?;
    let number = |field: &str| reading[field].as_f64();
    if number("wind_speed").is_some_and(|mph| mph > 253.0) || number("wind_gust").is_some_and(|mph| mph > 253.0) {
        return Ok(Expected { outputs: Vec::new(), dead_letter: true });
    }
    let at_least = |field, limit: f64| number(field).filter(|value| *value >= limit).map(|value| (value, limit));
    let at_most = |field, limit: f64| number(field).filter(|value| *value <= limit).map(|value| (value, limit));
    let alerts = [
        ("wind-gust", at_least("wind_gust", 40.0), "mph"),
        ("low-visibility", at_most("visib", 0.5), "miles"),
        ("heavy-precipitation", at_least("precip", 0.3), "inches"),
        ("hard-freeze", at_most("temp", 20.0), "fahrenheit"),
    ];
    let station = reading["origin"].as_str().context("a reading without a station")?;
    let time = reading["time_hour"].as_str().context("a reading without a time")?;
    let mut expected = Expected::default();
    for (kind, passed, unit) in alerts {
        let Some((value, limit)) = passed else { continue };
        let value = (value * 100.0).round() / 100.0;
        let value = format!(
            r#"{{"station":"{station}","time":"{time}","kind":"{kind}","value":{value:?},"limit":{limit:?},"unit":"{unit}"}}"#
        );
        let headers = vec![("kind", kind)];
        expected.outputs.push(Output { topic: "weather-alerts", key: record.key.clone(), value, headers });
    }
    Ok(expected)
}
