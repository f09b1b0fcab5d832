//! The samples in the repository: every 17th flight and every third reading, as gzipped JSON lines.
//!
//! A line is a record's value; its key is made from the value's fields, as it is from the data set's columns.
//! Must never: differ from what [`write`] makes of the full data set.

use crate::{Record, Records, Source};
use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

const FLIGHTS: &[u8] = include_bytes!("../../flights/input/flights.jsonl.gz");
const WEATHER: &[u8] = include_bytes!("../../weather/input/weather.jsonl.gz");

/// Spreads some 20,000 flights evenly over the year.
const FLIGHTS_STEP: usize = 17;
/// A step and a start that keep the one impossible reading of the year: 1,048 miles an hour of wind at Newark in February.
const WEATHER_STEP: usize = 3;
const WEATHER_START: usize = 1;

pub(crate) fn flights() -> Records {
    #[derive(Deserialize)]
    struct Key<'a> {
        carrier: &'a str,
        flight: u32,
    }
    lines(FLIGHTS, |line| {
        let key: Key = serde_json::from_str(line)?;
        Ok(format!("{}{}", key.carrier, key.flight))
    })
}

pub(crate) fn weather() -> Records {
    #[derive(Deserialize)]
    struct Key<'a> {
        origin: &'a str,
    }
    lines(WEATHER, |line| Ok(serde_json::from_str::<Key>(line)?.origin.to_owned()))
}

fn lines(gzip: &'static [u8], key: fn(&str) -> Result<String>) -> Records {
    Box::new(BufReader::new(GzDecoder::new(gzip)).lines().map(move |line| {
        let value = line?;
        Ok(Record { key: key(&value)?, value })
    }))
}

/// Makes the samples anew from the full data set, below the folder `examples`.
///
/// # Errors
/// Where the archive cannot be read or a file cannot be written.
pub fn write(archive: &Path, examples: &Path) -> Result<()> {
    let source = Source::Archive(archive.to_owned());
    let flights = crate::flights(&source)?.step_by(FLIGHTS_STEP);
    write_lines(&examples.join("flights/input/flights.jsonl.gz"), flights)?;
    let weather = crate::weather(&source)?.skip(WEATHER_START).step_by(WEATHER_STEP);
    write_lines(&examples.join("weather/input/weather.jsonl.gz"), weather)
}

fn write_lines(path: &Path, records: impl Iterator<Item = Result<Record>>) -> Result<()> {
    // No time and no name in the header: the same records give the same file.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    for record in records {
        gzip.write_all(record?.value.as_bytes())?;
        gzip.write_all(b"\n")?;
    }
    std::fs::write(path, gzip.finish()?).with_context(|| format!("cannot write {}", path.display()))
}
