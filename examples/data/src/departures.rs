//! Flights as somebody at the airports would have told them: each when it left, a cancelled one at the end of its day.
//!
//! The data set's file is no stream: its months stand in the order of their digits (1, 10, 11, 12, 2), and a flight that left after midnight stands at the
//! beginning of the day on which it should have left.
//! Must never: change a value.

use crate::{Record, Records};
use anyhow::{Context, Result};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, Time};

/// New York's clocks in winter are this far behind UTC; an hour more or less in summer changes no order that matters.
const DAY_END_HOURS: i64 = 24 + 5;

/// What is read of a flight.
#[derive(Deserialize)]
pub(crate) struct Flight<'a> {
    year: i32,
    month: u8,
    day: u8,
    pub(crate) origin: &'a str,
    pub(crate) dest: &'a str,
    pub(crate) dep_delay: Option<i64>,
    minute: i64,
    time_hour: &'a str,
}

impl<'a> Flight<'a> {
    /// Reads a record's value.
    pub(crate) fn of(value: &'a str) -> Result<Self> {
        serde_json::from_str(value).with_context(|| format!("no flight: {value}"))
    }

    /// When it should have left, in seconds since 1970-01-01T00:00Z.
    pub(crate) fn scheduled(&self) -> Result<i64> {
        Ok(OffsetDateTime::parse(self.time_hour, &Rfc3339)?.unix_timestamp() + self.minute * 60)
    }

    fn known(&self) -> Result<i64> {
        match self.dep_delay {
            Some(minutes) => Ok(self.scheduled()? + minutes * 60),
            None => {
                let date = Date::from_calendar_date(self.year, Month::try_from(self.month)?, self.day)?;
                Ok(OffsetDateTime::new_utc(date, Time::MIDNIGHT).unix_timestamp() + DAY_END_HOURS * 3600)
            }
        }
    }
}

/// The same flights with their route as key, in the order in which they became known.
pub(crate) fn in_order(flights: Records) -> Result<Records> {
    let mut known = Vec::new();
    for flight in flights {
        let Record { value, .. } = flight?;
        let flight = Flight::of(&value)?;
        let (at, key) = (flight.known()?, format!("{}-{}", flight.origin, flight.dest));
        known.push((at, Record { key, value }));
    }
    known.sort_by_key(|(at, _)| *at);
    Ok(Box::new(known.into_iter().map(|(_, record)| Ok(record))))
}
