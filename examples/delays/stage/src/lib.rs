//! Delays by route and hour.
//!
//! Every flight counts in the hour in which it should have left, whenever its record comes: a flight that leaves five hours late is told
//! five hours late, and a cancelled one at the end of its day. An hour is given out once, when `latenessHours` have passed since by the time of
//! the latest record; a flight that comes after that goes to `late`, so that nothing is lost and no result is ever corrected.
//! Must never: use the clock. The same flights give the same hours next year.

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::window::{Closed, Placed, Stats, Windows};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// How far behind the latest scheduled departure a flight may come.
    lateness_hours: u32,
    /// After this many seconds without a flight every open hour is given out.
    idle_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lateness_hours: 6, idle_seconds: 60 }
    }
}

/// What an instance keeps: the windows, and where results go.
#[derive(Debug)]
pub struct Delays {
    hours: Windows<Hour>,
    hourly: Port,
    table: Port,
    late: Port,
}

/// What is gathered of a route's hour.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Hour {
    cancelled: u64,
    /// Minutes between the scheduled and the real departure; below zero where the flight left early.
    delay: Stats,
}

/// The fields that this stage reads.
#[derive(Deserialize)]
struct Flight<'a> {
    origin: &'a str,
    dest: &'a str,
    /// The scheduled hour, in UTC.
    time_hour: &'a str,
    minute: u32,
    /// None where the flight was cancelled.
    dep_delay: Option<i64>,
}

/// A result, for the topic and the table alike.
#[derive(Serialize)]
struct Row<'a> {
    origin: &'a str,
    dest: &'a str,
    /// When the hour begins, in milliseconds since 1970-01-01T00:00Z.
    hour: i64,
    flights: u64,
    cancelled: u64,
    delay_sum: i64,
    delay_max: Option<i64>,
    delay_mean: Option<f64>,
}

fn setup(config: &Config) -> Result<Delays, InitError> {
    let settings: Settings = config.settings()?;
    let hours = Windows::tumbling("hours", HOUR)?
        .lateness(HOUR * settings.lateness_hours)
        .idle(Duration::from_secs(settings.idle_seconds.into()));
    Ok(Delays { hours, hourly: config.output("hourly")?, table: config.output("table")?, late: config.output("late")? })
}

/// Adds a flight to its hour, and gives out the hours that are over.
#[stage(init = setup, tick = tick)]
pub fn delays(delays: &mut Delays, record: Record, out: &mut Outputs) -> StageResult {
    let flight: Flight = record.json()?;
    let route = record.key_text().or_dead_letter("a flight's key is its route, such as `EWR-IAH`")?;
    if route.split_once('-') != Some((flight.origin, flight.dest)) {
        // It would be counted in a partition where the rest of its route is not.
        return Err(Reject::dead_letter(format!(
            "the key `{route}` is not the route {}-{}",
            flight.origin, flight.dest
        )));
    }
    let hour = OffsetDateTime::parse(flight.time_hour, &Rfc3339).or_dead_letter("`time_hour` is no time")?;
    let scheduled = hour.unix_timestamp() * 1000 + i64::from(flight.minute) * 60_000;
    let placed = delays.hours.add(scheduled, route, |hour| match flight.dep_delay {
        Some(minutes) => hour.delay.add(minutes),
        None => hour.cancelled += 1,
    })?;
    if placed == Placed::Late {
        out.to(delays.late).forward();
    }
    delays.give(out)
}

fn tick(delays: &mut Delays, _: Tick, out: &mut Outputs) -> StageResult {
    delays.give(out)
}

impl Delays {
    /// Sends each hour that is over to the topic and to the table.
    fn give(&mut self, out: &mut Outputs) -> StageResult {
        let (hourly, table) = (self.hourly, self.table);
        self.hours.close(out, |closed, out| {
            let row = row(&closed)?;
            out.to(hourly).key(closed.key).json(&row)?;
            out.to(table).key(closed.key).json(&row)
        })
    }
}

fn row<'a>(closed: &'a Closed<'_, Hour>) -> Result<Row<'a>, Reject> {
    let (origin, dest) = closed.key_text()?.split_once('-').or_dead_letter("a key that is no route")?;
    let Hour { cancelled, delay } = closed.value;
    Ok(Row {
        origin,
        dest,
        hour: closed.start,
        flights: cancelled + delay.count,
        cancelled,
        delay_sum: i64::try_from(delay.sum)?,
        delay_max: delay.max,
        delay_mean: delay.mean(),
    })
}
