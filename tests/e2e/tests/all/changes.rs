//! What a tenant does to a pipeline while records flow: a new revision, pause, resume, delete, and apply again.

use crate::shared::{Guests, host, refused, tenant_with_guests, wait_applied};
use anyhow::{Context, Result};
use bulkhead_testbed::{Line, Status, Tenant};
use std::sync::atomic::{AtomicBool, Ordering};

/// Records of one request of a [`flow`].
const BURST: usize = 50;

/// Writes numbered records, a burst after another, until told to stop; gives how many.
fn flow(tenant: &Tenant, stop: &AtomicBool) -> Result<usize> {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let lines: Vec<Line> = (sent..sent + BURST).map(|i| Line::text("key", &format!("record {i}"))).collect();
        tenant.produce("p-in", &lines)?;
        sent += BURST;
    }
    Ok(sent)
}

/// Runs `act` while records flow, then waits for all outputs and gives them with the number of inputs.
fn while_flowing(tenant: &Tenant, act: impl FnOnce() -> Result<()>) -> Result<(usize, Vec<String>)> {
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let flowing = scope.spawn(|| flow(tenant, &stop));
        let acted = act();
        stop.store(true, Ordering::Relaxed);
        let sent = flowing.join().expect("no panic");
        acted.and(sent)
    })?;
    Ok((sent, tenant.out("p", sent)?))
}

#[test]
fn a_new_revision_takes_over_without_a_lost_or_doubled_record() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "reviser")?;
    tenant.run_guest("p", "passthrough", "")?;
    let (sent, out) = while_flowing(&tenant, || {
        tenant.out("p", BURST)?;
        tenant.apply_guest("p", "filter", "")?;
        wait_applied(&tenant, "p")?;
        let seen = tenant.read_all("p-out")?.len();
        tenant.out("p", seen + BURST)?;
        Ok(())
    })?;
    let cut = out.iter().position(|value| value.starts_with("RECORD")).context("nothing of the new revision")?;
    assert!(cut > 0, "nothing of the old revision");
    let wanted: Vec<String> =
        (0..sent).map(|i| if i < cut { format!("record {i}") } else { format!("RECORD {i}") }).collect();
    assert_eq!(out, wanted);
    Ok(())
}

#[test]
fn a_paused_pipeline_stands_still_and_goes_on_where_it_was() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "pauser")?;
    let neighbour = tenant_with_guests(&host, "pauseless")?;
    neighbour.run_guest("p", "passthrough", "")?;
    tenant.run_guest("p", "passthrough", "")?;
    let paused = |status: &Status| status.phase.as_deref() == Some("paused");
    let (sent, out) = while_flowing(&tenant, || {
        tenant.out("p", BURST)?;
        assert_eq!(tenant.pause("p")?["paused"], true);
        tenant.wait_status("p", "it to be paused", paused)?;
        let still = tenant.read_all("p-out")?.len();
        // A neighbour's record goes all the way, so there was time for another of this pipeline.
        neighbour.put("p", &["passes"])?;
        assert_eq!(neighbour.out("p", 1)?, ["passes"]);
        assert_eq!(tenant.read_all("p-out")?.len(), still, "a paused pipeline wrote");
        assert!(tenant.read_all("p-in")?.len() > still, "and there was something to write");
        assert_eq!(tenant.resume("p")?["paused"], false);
        tenant.out("p", still + BURST)?;
        Ok(())
    })?;
    let wanted: Vec<String> = (0..sent).map(|i| format!("record {i}")).collect();
    assert_eq!(out, wanted);
    Ok(())
}

#[test]
fn a_deleted_pipeline_is_gone_and_its_name_begins_anew() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "deleter")?;
    tenant.run_guest("p", "passthrough", "")?;
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| -> Result<usize> {
        let flowing = scope.spawn(|| flow(&tenant, &stop));
        let acted = tenant.out("p", BURST).and_then(|_| Ok(tenant.delete_pipeline("p")?));
        stop.store(true, Ordering::Relaxed);
        let sent = flowing.join().expect("no panic")?;
        acted.map(|_| sent)
    })?;
    refused(tenant.pipeline("p"), 404, "BH0005", "`p`");
    refused(tenant.pause("p"), 404, "BH0005", "`p`");
    let metrics = |host: &bulkhead_testbed::Host| -> Result<f64> {
        Ok(host.process()?.scrape()?.sum("bulkhead_records_total", &[("tenant", "deleter"), ("pipeline", "p")]))
    };
    bulkhead_testbed::until("its series to go", || match metrics(&host) {
        Ok(0.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    tenant.delete_topic("p-out")?;
    tenant.create_topic("p-out", 1)?;
    // The worker may need a moment to leave the group of the one before.
    bulkhead_testbed::until("the name to be free", || {
        tenant.apply_guest("p", "passthrough", "").map_err(|error| error.to_string())
    })?;
    let wanted: Vec<String> = (0..sent).map(|i| format!("record {i}")).collect();
    assert_eq!(tenant.out("p", sent)?, wanted, "a new pipeline begins at the start");
    let status = tenant.wait_status("p", "its own numbers", |s| s.totals.records_in >= sent as u64)?;
    assert_eq!(status.totals.records_in, sent as u64, "the former pipeline's numbers were counted");
    Ok(())
}
