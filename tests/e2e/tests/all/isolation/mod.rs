//! Tenants who want all there is, and what the others have beside them: shares by weight, and a victim's waits.
//!
//! A few tenants and seconds as tests, where only shares and results are asserted; `cargo xtask bench isolation` takes more of all of it, on
//! an optimised host, and shows the waits as ratios within its run.
//! Must never: judge a time.

mod attackers;
mod sizing;
mod weights;

use crate::shared::manifest;
use anyhow::Result;
use bulkhead_testbed::{Host, Line, Tenant, until_within};
use std::collections::BTreeMap;
use std::time::Duration;

/// For how many turns one record keeps the guest `work` busy: some ten milliseconds, and below the cap.
const LONG: &str = "20000000";
const PARTITIONS: i32 = 4;
/// How long so much fuel may take to be burnt on a busy machine.
const BURN_MAX: Duration = Duration::from_secs(300);

/// Fuel by tenant, as the fair queue has charged it.
fn burnt(host: &Host) -> Result<BTreeMap<String, f64>> {
    Ok(host.process()?.scrape()?.by("bulkhead_fair_fuel_total", "tenant"))
}

/// Waits until all tenants together have burnt so much more, and says what each has since.
fn burn(host: &Host, fuel: f64) -> Result<BTreeMap<String, f64>> {
    let before = burnt(host)?;
    until_within(BURN_MAX, "the tenants to burn fuel", || {
        let now = burnt(host).map_err(|error| format!("{error:#}"))?;
        let since = |(name, fuel): (&String, &f64)| (name.clone(), fuel - before.get(name).unwrap_or(&0.0));
        let since: BTreeMap<_, _> = now.iter().map(since).collect();
        let sum: f64 = since.values().sum();
        if sum >= fuel { Ok(since) } else { Err(format!("{sum} of {fuel}")) }
    })
}

/// Gives a tenant a pipeline of this guest with so many records to do, in small batches, on more partitions than there are threads: who wants
/// all there is does not wait for itself.
fn load(tenant: &Tenant, name: &str, guest: &str, work: (&str, usize)) -> Result<()> {
    for topic in ["in", "out", "dead"] {
        tenant.create_topic(&format!("{name}-{topic}"), PARTITIONS)?;
    }
    feed(tenant, name, work)?;
    tenant.apply(name, manifest(name, guest, "") + "batch: { records: 5 }\n")?;
    Ok(())
}

/// Gives such a pipeline so many records more.
fn feed(tenant: &Tenant, name: &str, (value, records): (&str, usize)) -> Result<()> {
    let lines: Vec<_> = (0..records).map(|i| Line::text(&i.to_string(), value)).collect();
    for some in lines.chunks(1_000) {
        tenant.produce(&format!("{name}-in"), some)?;
    }
    Ok(())
}

/// What the environment says, or else `unasked`.
fn asked<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str, unasked: T) -> Result<T> {
    Ok(std::env::var(name).ok().map_or(Ok(unasked), |text| text.parse())?)
}
