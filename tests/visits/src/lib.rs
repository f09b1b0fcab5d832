//! Clicks become visits: a visit lasts as long as its visitor's clicks come with less than 30 seconds between them.
//!
//! For the tests of session windows in the sandbox: state, event time, lateness, ticks, and values that merge when a click joins two visits.
//! Must never: use more of the SDK than a tenant's own stage would.

use bulkhead_sdk::prelude::*;
use bulkhead_sdk::window::{Merge, Placed, Sessions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Milliseconds without a click after which a visit is over.
pub const GAP_MS: u64 = 30_000;
/// Milliseconds that a click may come behind the latest one.
pub const LATENESS_MS: u64 = 10_000;
/// Milliseconds without a record after which every visit is given out.
pub const IDLE_MS: u64 = 60_000;

/// What is gathered of a visit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    clicks: u64,
    pages: BTreeSet<String>,
}

impl Merge for Visit {
    fn merge(&mut self, other: Self) {
        self.clicks += other.clicks;
        self.pages.extend(other.pages);
    }
}

fn setup(_: &Config) -> Result<Sessions<Visit>, InitError> {
    let visits = Sessions::new("visits", Duration::from_millis(GAP_MS))?;
    Ok(visits.lateness(Duration::from_millis(LATENESS_MS)).idle(Duration::from_millis(IDLE_MS)))
}

/// Adds a click, whose key is the visitor and whose value the page, and gives out the visits that are over.
#[stage(init = setup, tick = tick)]
pub fn visits(visits: &mut Sessions<Visit>, record: Record, out: &mut Outputs) -> StageResult {
    let visitor = record.key().or_dead_letter("a click has a visitor")?;
    let page = record.text()?;
    let placed = visits.add(record.timestamp(), visitor, |visit| {
        visit.clicks += 1;
        visit.pages.insert(page.to_owned());
    })?;
    if placed == Placed::Late {
        out.to("late").forward();
    }
    give(visits, out)
}

fn tick(visits: &mut Sessions<Visit>, _: Tick, out: &mut Outputs) -> StageResult {
    give(visits, out)
}

fn give(visits: &mut Sessions<Visit>, out: &mut Outputs) -> StageResult {
    visits.close(out, |closed, out| {
        let Visit { clicks, pages } = closed.value;
        let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
        let text = format!("{clicks} clicks on {} in {} ms", pages.join(" "), closed.end - closed.start);
        out.to("visits").key(closed.key).value(text);
        Ok(())
    })
}
