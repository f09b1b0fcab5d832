//! Adds the carrier's name to each flight.
//!
//! The names come from the manifest's `config`, so a new carrier needs no new code. A flight of a carrier without a name is
//! a dead letter: written on without one, it would look complete to everybody downstream.
//! Must never: change or drop a field of the flight.

use bulkhead_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Names by carrier code.
    carriers: HashMap<String, String>,
}

/// What an instance keeps: the names, and where flights go.
#[derive(Debug)]
pub struct Enricher {
    names: HashMap<String, String>,
    flights: Port,
}

/// The one field that this stage reads.
#[derive(Deserialize)]
struct Flight<'a> {
    carrier: &'a str,
}

/// The one field that this stage adds.
#[derive(Serialize)]
struct Added<'a> {
    carrier_name: &'a str,
}

fn setup(config: &Config) -> Result<Enricher, InitError> {
    let Settings { carriers } = config.settings()?;
    if carriers.is_empty() {
        return Err(InitError::new("`config.carriers` is empty: no flight would have a carrier's name"));
    }
    Ok(Enricher { names: carriers, flights: config.output("flights")? })
}

/// Adds `carrier_name` to a flight.
#[stage(init = setup)]
pub fn enrich(enricher: &mut Enricher, record: Record, out: &mut Outputs) -> StageResult {
    let flight: Flight = record.json()?;
    let Some(name) = enricher.names.get(flight.carrier) else {
        return Err(Reject::dead_letter(format!("carrier `{}` has no name in `config.carriers`", flight.carrier)));
    };
    out.to(enricher.flights).json_with(&Added { carrier_name: name })
}
