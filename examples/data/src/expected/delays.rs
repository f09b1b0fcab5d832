//! Delays by route and hour.
//!
//! Must never: share code with `examples/delays` or with the SDK's windows.

use crate::Record;
use crate::departures::Flight;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

const HOUR_S: i64 = 3600;

/// What the pipeline `delays` should make of the records of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays {
    /// Key and value of each row, by hour and then by route: the order in which they are to be written.
    pub rows: Vec<(String, String)>,
    /// Places of the records that are late.
    pub late: Vec<usize>,
    /// How many of the rows are over when the last record has come; the others need a tick.
    pub over: usize,
}

/// What the pipeline `delays` should make of these records of the topic `departures`, all of one partition and in its order, where nothing
/// is given out for idleness before the end.
///
/// # Errors
/// Where a record is not one of this data set.
pub fn delays<'a>(partition: impl IntoIterator<Item = &'a Record>, lateness_hours: i64) -> Result<Delays> {
    let mut hours: BTreeMap<(i64, String), Vec<Option<i64>>> = BTreeMap::new();
    let mut expected = Delays::default();
    let mut newest = 0;
    for (place, record) in partition.into_iter().enumerate() {
        let flight = Flight::of(&record.value)?;
        let scheduled = flight.scheduled()?;
        newest = newest.max(scheduled);
        let hour = scheduled - scheduled % HOUR_S;
        if newest - (hour + HOUR_S) >= lateness_hours * HOUR_S {
            expected.late.push(place);
        } else {
            hours.entry((hour, record.key.clone())).or_default().push(flight.dep_delay);
        }
    }
    for ((hour, route), delays) in hours {
        expected.over += usize::from(newest - (hour + HOUR_S) >= lateness_hours * HOUR_S);
        let row = row(hour, &route, &delays)?;
        expected.rows.push((route, row));
    }
    Ok(expected)
}

fn row(hour: i64, route: &str, delays: &[Option<i64>]) -> Result<String> {
    let (origin, dest) = route.split_once('-').context("a key that is no route")?;
    let left: Vec<i64> = delays.iter().flatten().copied().collect();
    let (flights, cancelled, sum) = (delays.len(), delays.len() - left.len(), left.iter().sum::<i64>());
    let max = left.iter().max().map_or("null".to_owned(), i64::to_string);
    let mean = if left.is_empty() { "null".to_owned() } else { format!("{:?}", sum as f64 / left.len() as f64) };
    Ok(format!(
        r#"{{"origin":"{origin}","dest":"{dest}","hour":{},"flights":{flights},"cancelled":{cancelled},"delay_sum":{sum},"delay_max":{max},"delay_mean":{mean}}}"#,
        hour * 1000
    ))
}
