//! Ten tenants with weights 1 to 10, each with more to do than there is time: what they burn is as they weigh.
//!
//! Must never: count what a tenant had saved up before the others came.

use super::{LONG, asked, burn, burnt, load};
use crate::shared::tenant_with_guests;
use crate::shell::Shell;
use anyhow::{Result, ensure};
use bulkhead_testbed::{Host, Serve, Tenant, until_within};

const TENANTS: u64 = 10;
/// Records of each: more than the heaviest has time for.
const RECORDS: usize = 1_500;
/// Fuel over which shares are taken, of all together.
const FUEL: f64 = 8e9;
/// Fuel of each before that: more than it could save up.
const BEFORE: f64 = 50e6;

#[test]
fn ten_tenants_that_want_all_have_shares_by_weight() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let mut platform = Shell::new()?;
    platform.set("BULKHEAD_SERVER", host.url());
    platform.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    let name = |weight: u64| format!("weighs-{weight}");
    let tenants = (1..=TENANTS).map(|weight| tenant_with_guests(&host, &name(weight))).collect::<Result<Vec<_>>>()?;
    for weight in 1..=TENANTS {
        platform.ok(&["tenant", "limits", &name(weight), "--set", &format!("weight={}", 20 * weight)])?;
    }
    tenants.iter().try_for_each(|tenant: &Tenant| load(tenant, "busy", "work", (LONG, RECORDS)))?;
    until_within(super::BURN_MAX, "all to be at work", || {
        let burnt = burnt(&host).map_err(|error| format!("{error:#}"))?;
        let working = (1..=TENANTS).filter(|weight| burnt.get(&name(*weight)).is_some_and(|fuel| *fuel > BEFORE));
        let working = working.count() as u64;
        if working == TENANTS { Ok(()) } else { Err(format!("{working} of {TENANTS}")) }
    })?;
    let since = burn(&host, asked("BULKHEAD_ISOLATION_FUEL", FUEL)?)?;
    let all: f64 = since.values().sum();
    let weights: f64 = (1..=TENANTS).sum::<u64>() as f64;
    println!("| weight | share of fuel | of its weight |");
    println!("|--:|--:|--:|");
    let mut of_weight = Vec::new();
    for weight in 1..=TENANTS {
        let share = since[&name(weight)] / all;
        of_weight.push(share / (weight as f64 / weights));
        println!("| {weight} | {:.2} % | {:.3} |", 100.0 * share, of_weight.last().expect("just pushed"));
    }
    let (sum, squares) = of_weight.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let jain = sum * sum / (of_weight.len() as f64 * squares);
    println!("Jain's index {jain:.4}, over {all:.2e} fuel");
    ensure!(jain >= 0.99, "{of_weight:?}");
    Ok(())
}
