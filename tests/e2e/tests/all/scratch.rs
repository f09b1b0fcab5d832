//! Scratch files in the real process: two tenants side by side, a SIGKILL, and a dead letter that is run again elsewhere.

use crate::dead_letters::{Elsewhere, letters};
use crate::shared::{Guests, manifest, wait_applied};
use anyhow::{Context, Result};
use bulkhead_testbed::{Host, Serve, Tenant, until};
use std::path::{Path, PathBuf};

const GRANT: &str = "    scratch: { maxBytes: 65536 }\n";

fn apply(tenant: &Tenant, grant: &str) -> Result<()> {
    let text = manifest("p", "scratch", "").replace("    config:", &format!("{grant}    config:"));
    tenant.apply("p", text)?;
    Ok(())
}

fn prepare(host: &Host, name: &str) -> Result<Tenant> {
    let tenant = host.tenant(name)?;
    tenant.upload_guests()?;
    tenant.topics("p")?;
    apply(&tenant, GRANT)?;
    Ok(tenant)
}

/// Folders two below: a process's, and in it an instance's.
fn instances(host: &Host) -> Vec<PathBuf> {
    let below = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    below(&host.data_dir().join("scratch")).iter().flat_map(|process| below(process)).collect()
}

#[test]
fn files_are_an_instances_own_and_gone_after_a_sigkill() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let (acme, globex) = (prepare(&host, "acme")?, prepare(&host, "globex")?);
    acme.put("p", &["!write /scratch/secret acme", "!read /scratch/secret"])?;
    assert_eq!(acme.out("p", 2)?, ["done", "acme"]);
    globex.put("p", &["!list /scratch", "!read /scratch/secret", "!fill /scratch/big 99999"])?;
    assert_eq!(globex.out("p", 3)?, ["", "NotFound", "full"]);
    let before = instances(&host);
    assert!(before.iter().any(|folder| folder.join("secret").exists()), "{before:?}");

    host.kill9();
    assert_eq!(instances(&host), before, "nobody was left to remove them");
    host.start_again()?;
    until("what the killed process left to be gone", || {
        let left: Vec<_> = before.iter().filter(|folder| folder.exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    acme.put("p", &["!list /scratch", "!write /scratch/again x"])?;
    assert_eq!(acme.out("p", 4)?[2..], ["", "done"], "a fresh instance has an empty folder");

    // A revision without the grant has none, and takes over from one that has.
    apply(&acme, "")?;
    wait_applied(&acme, "p")?;
    acme.put("p", &["!raw folders x"])?;
    assert_eq!(acme.out("p", 5)?[4], "");
    host.stop()?;
    assert_eq!(instances(&host), Vec::<PathBuf>::new(), "a process that ends well leaves nothing");
    Ok(())
}

#[test]
fn a_dead_letter_comes_to_the_same_verdict_with_files() -> Result<()> {
    let host = crate::shared::host()?;
    let tenant = prepare(&host, "scratched")?;
    let elsewhere = Elsewhere::new(&host, &tenant)?;
    // The first trap finds files of the records before it; on the run that counts there are none.
    tenant.put("p", &["!fill /scratch/a 30000", "!trap", "!fill /scratch/b 30000", "!raw nest n 9", "!unknown"])?;
    for letter in letters(&tenant, "p", 2)? {
        let replayed = elsewhere.replay("p", letter["id"].as_str().context("an id")?)?;
        assert_eq!(replayed["same"], true, "{replayed}");
        assert_eq!(replayed["found"]["fuel"], letter["fuel"], "{replayed}");
    }
    Ok(())
}
