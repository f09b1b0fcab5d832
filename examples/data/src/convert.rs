//! Rows of the data set's CSV files as JSON records.
//!
//! What it promises: every column becomes a field, in the file's order; numbers keep the digits of the file, `NA` is `null`.
//! Must never: drop, reorder or repair a row. What is odd in real data is for the stages.

use crate::{Record, Records};
use anyhow::{Context, Result, ensure};
use csv::StringRecord;
use std::io::Read;

/// Columns that hold text. All others hold numbers.
const TEXT: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];

pub(crate) fn flights(csv: impl Read + Send + 'static) -> Records {
    records(csv, &["carrier", "flight"])
}

pub(crate) fn weather(csv: impl Read + Send + 'static) -> Records {
    records(csv, &["origin"])
}

fn records(csv: impl Read + Send + 'static, key: &'static [&'static str]) -> Records {
    let mut reader = csv::Reader::from_reader(csv);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Box::new(std::iter::once(Err(error.into()))),
    };
    Box::new(reader.into_records().map(move |row| {
        let row = row?;
        let key = key.iter().map(|name| column(&headers, &row, name)).collect::<Result<String>>()?;
        Ok(Record { key, value: object(&headers, &row)? })
    }))
}

fn column<'a>(headers: &StringRecord, row: &'a StringRecord, name: &str) -> Result<&'a str> {
    let place = headers.iter().position(|header| header == name);
    place.and_then(|place| row.get(place)).with_context(|| format!("the file has no column `{name}`"))
}

fn object(headers: &StringRecord, row: &StringRecord) -> Result<String> {
    let mut json = String::with_capacity(400);
    for (name, cell) in headers.iter().zip(row) {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.push_str(&serde_json::to_string(name)?);
        json.push(':');
        if cell == "NA" {
            json.push_str("null");
        } else if TEXT.contains(&name) {
            json.push_str(&serde_json::to_string(cell)?);
        } else {
            ensure!(serde_json::from_str::<f64>(cell).is_ok(), "`{cell}` in column `{name}` is not a number");
            json.push_str(cell);
        }
    }
    json.push('}');
    Ok(json)
}
