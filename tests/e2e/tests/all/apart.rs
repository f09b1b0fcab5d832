//! Control and worker in processes of their own: the worker goes on without control, even through a restart, and takes up again what
//! control says when it is back.

use crate::brokers::shared;
use crate::shared::{Guests, wait_applied, wait_log};
use anyhow::Result;
use bulkhead_testbed::{Host, Process, Serve, until};

/// Waits until a process has committed so many records since its start.
fn wait_committed(worker: &Process, count: u64) -> Result<()> {
    until(&format!("{count} records of the worker"), || {
        let scrape = worker.scrape().map_err(|error| error.to_string())?;
        let done = scrape.sum("bulkhead_records_total", &[("tenant", "apart"), ("direction", "in")]) as u64;
        if done == count { Ok(()) } else { Err(format!("{done}")) }
    })
}

#[test]
fn a_worker_goes_on_without_control_and_listens_when_it_is_back() -> Result<()> {
    let broker = shared()?;
    let mut control = Host::start(Serve::control().slot("apart-control").kafka(&broker.login))?;
    let tenant = control.tenant("apart")?;
    tenant.upload_guests()?;
    tenant.topics("p")?;
    let serve = control.worker("apart-0")?;
    let worker = control.start_worker(&serve)?;
    tenant.apply_guest("p", "passthrough", "")?;
    tenant.put("p", &["a", "b"])?;
    assert_eq!(tenant.out("p", 2)?, ["a", "b"]);
    wait_committed(&worker, 2)?;
    // Control keeps what it was told, and only that.
    tenant.wait_status("p", "the first two to be told", |status| status.totals.records_in == 2)?;

    control.kill9();
    broker.write("apart.p-in", &["c", "d"])?;
    wait_committed(&worker, 4)?;
    wait_log(&worker, "control is away")?;

    worker.stop()?;
    let worker = control.start_worker(&serve)?;
    wait_log(&worker, "running the remembered assignment")?;
    broker.write("apart.p-in", &["e"])?;
    wait_committed(&worker, 1)?;

    control.start_again()?;
    wait_log(&worker, "control is back")?;
    assert_eq!(tenant.out("p", 5)?, ["a", "b", "c", "d", "e"]);
    // What was done while nobody listened is told now; what the ended process could not tell is its own.
    let told = |status: &bulkhead_testbed::Status| {
        status.workers == 1 && status.totals.records_in >= 3 && status.lag == Some(0)
    };
    let status = tenant.wait_status("p", "reports to come again", told)?;
    assert_eq!((status.phase.as_deref(), status.lag), (Some("running"), Some(0)), "{status:?}");
    tenant.apply_guest("p", "filter", "")?;
    wait_applied(&tenant, "p")?;
    tenant.put("p", &["f"])?;
    assert_eq!(tenant.out("p", 6)?.last().map(String::as_str), Some("F"));
    worker.stop()
}
