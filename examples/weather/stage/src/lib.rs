//! Makes alerts of hourly weather readings.
//!
//! One reading may pass several thresholds, and gives an alert for each; most pass none and give nothing. A value that was
//! not measured (`null`, `NA` in the data set) is no alert. A value that no instrument can show is a broken reading, and the
//! whole of it a dead letter: whoever looks after the station wants to see it, and nobody wants its alert.
//! Must never: alert on a value that was not measured.

use bulkhead_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Thresholds, each in the unit of its name; the manifest's `config` has all or some of them.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Thresholds {
    wind_gust_mph: f64,
    visibility_miles: f64,
    precipitation_inches: f64,
    temperature_fahrenheit: f64,
    /// Above this a wind is not a wind but a broken anemometer. The strongest gust ever measured had 253.
    implausible_wind_mph: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            wind_gust_mph: 40.0,
            visibility_miles: 0.5,
            precipitation_inches: 0.3,
            temperature_fahrenheit: 20.0,
            implausible_wind_mph: 253.0,
        }
    }
}

/// What an instance keeps: the thresholds, and where alerts go.
#[derive(Debug)]
pub struct Watch {
    thresholds: Thresholds,
    alerts: Port,
}

#[derive(Deserialize)]
struct Reading<'a> {
    origin: &'a str,
    time_hour: &'a str,
    temp: Option<f64>,
    wind_speed: Option<f64>,
    wind_gust: Option<f64>,
    precip: Option<f64>,
    visib: Option<f64>,
}

#[derive(Serialize)]
struct Alert<'a> {
    station: &'a str,
    time: &'a str,
    kind: &'a str,
    /// The value measured, to two decimals.
    value: f64,
    limit: f64,
    unit: &'a str,
}

fn setup(config: &Config) -> Result<Watch, InitError> {
    Ok(Watch { thresholds: config.settings()?, alerts: config.output("alerts")? })
}

/// Emits an alert for each threshold that a reading passes.
#[stage(init = setup)]
pub fn watch(watch: &mut Watch, record: Record, out: &mut Outputs) -> StageResult {
    let reading: Reading = record.json()?;
    let limits = &watch.thresholds;
    plausible("wind_speed", reading.wind_speed, limits.implausible_wind_mph)?;
    plausible("wind_gust", reading.wind_gust, limits.implausible_wind_mph)?;

    let mut alert = |kind: &str, value: Option<f64>, passes: fn(&f64, &f64) -> bool, limit: f64, unit: &str| {
        let Some(value) = value.filter(|value| passes(value, &limit)) else { return Ok(()) };
        let value = (value * 100.0).round() / 100.0;
        let alert = Alert { station: reading.origin, time: reading.time_hour, kind, value, limit, unit };
        out.to(watch.alerts).header("kind", kind).json(&alert)
    };
    alert("wind-gust", reading.wind_gust, f64::ge, limits.wind_gust_mph, "mph")?;
    alert("low-visibility", reading.visib, f64::le, limits.visibility_miles, "miles")?;
    alert("heavy-precipitation", reading.precip, f64::ge, limits.precipitation_inches, "inches")?;
    alert("hard-freeze", reading.temp, f64::le, limits.temperature_fahrenheit, "fahrenheit")
}

fn plausible(field: &str, value: Option<f64>, most: f64) -> StageResult {
    match value {
        Some(value) if value > most => {
            Err(Reject::dead_letter(format!("`{field}` is {value}, more than {most}: a broken reading")))
        }
        _ => Ok(()),
    }
}
