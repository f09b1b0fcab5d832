//! Says how late each flight was, and sends the worst to an output of their own.
//!
//! | class | means |
//! |---|---|
//! | `cancelled` | it never departed |
//! | `diverted` | it departed, and has no arrival delay: it landed elsewhere, or nobody wrote it down |
//! | `early` | it arrived at least `earlyMinutes` before its time |
//! | `on-time` | in between |
//! | `late` | it arrived at least `lateMinutes` after its time |
//! | `very-late` | it arrived at least `veryLateMinutes` after its time |
//!
//! Every flight goes to `all`; `cancelled` and `very-late` ones to `worst` as well.
//! Must never: take a missing delay for a delay of zero.

use bulkhead_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Thresholds {
    early_minutes: i32,
    late_minutes: i32,
    very_late_minutes: i32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { early_minutes: 5, late_minutes: 15, very_late_minutes: 120 }
    }
}

/// What an instance keeps: the thresholds, and where flights go.
#[derive(Debug)]
pub struct Classifier {
    thresholds: Thresholds,
    all: Port,
    worst: Port,
}

/// The fields that this stage reads: minutes, and local clock times such as 517 for 05:17.
#[derive(Deserialize)]
struct Flight {
    dep_time: Option<u32>,
    arr_delay: Option<i32>,
}

/// The field that this stage adds.
#[derive(Serialize)]
struct Added {
    delay_class: Class,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Class {
    Cancelled,
    Diverted,
    Early,
    OnTime,
    Late,
    VeryLate,
}

impl Thresholds {
    fn class(&self, flight: &Flight) -> Class {
        match (flight.dep_time, flight.arr_delay) {
            (None, _) => Class::Cancelled,
            (Some(_), None) => Class::Diverted,
            (Some(_), Some(delay)) if delay <= -self.early_minutes => Class::Early,
            (Some(_), Some(delay)) if delay < self.late_minutes => Class::OnTime,
            (Some(_), Some(delay)) if delay < self.very_late_minutes => Class::Late,
            (Some(_), Some(_)) => Class::VeryLate,
        }
    }
}

fn setup(config: &Config) -> Result<Classifier, InitError> {
    let thresholds: Thresholds = config.settings()?;
    if thresholds.very_late_minutes <= thresholds.late_minutes {
        return Err(InitError::new("`config.veryLateMinutes` must be more than `config.lateMinutes`"));
    }
    Ok(Classifier { thresholds, all: config.output("all")?, worst: config.output("worst")? })
}

/// Adds `delay_class` to a flight.
#[stage(init = setup)]
pub fn classify(classifier: &mut Classifier, record: Record, out: &mut Outputs) -> StageResult {
    let flight: Flight = record.json()?;
    let added = Added { delay_class: classifier.thresholds.class(&flight) };
    out.to(classifier.all).json_with(&added)?;
    if matches!(added.delay_class, Class::Cancelled | Class::VeryLate) {
        out.to(classifier.worst).json_with(&added)?;
    }
    Ok(())
}
