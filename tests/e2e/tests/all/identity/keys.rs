//! Keycloak's keys change, and Keycloak goes away, while pipelines run.

use super::{TENANT, host, keycloak_alone, realm};
use crate::shared::{Guests, refused};
use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_testbed::{Control, Line, Refused, Tenant, until};
use reqwest::Method;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

fn topics(tenant: &Tenant) -> Result<Value, Refused> {
    tenant.control().send(tenant.request(Method::GET, "/topics"))
}

/// Writes records one after the other until told to stop, each with the newest token, and gives what it wrote.
fn write(tenant: &Mutex<Tenant>, stop: &AtomicBool) -> Result<Vec<String>> {
    let mut written = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let value = format!("record {}", written.len());
        let now = tenant.lock().unwrap_or_else(PoisonError::into_inner).clone();
        now.produce("p-in", &[Line::text("key", &value)]).with_context(|| format!("writing {value}"))?;
        written.push(value);
    }
    Ok(written)
}

#[test]
fn the_realms_key_is_rotated_while_pipelines_run() -> Result<()> {
    let keycloak = keycloak_alone()?;
    let realm = realm(&keycloak)?;
    let host = host(&keycloak)?;
    let process = host.process()?.id();
    let control = Control::new(host.url(), &realm.token("acme-ci")?)?;
    let old = control.tenant(TENANT);
    old.upload_guests()?;
    old.run_guest("p", "passthrough", "")?;

    let (current, stop) = (Mutex::new(old.clone()), AtomicBool::new(false));
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&current, &stop));
        let rotated = (|| {
            old.out("p", 5)?;
            realm.add_key("second")?;
            let new = control.with_token(&realm.token("acme-ci")?).tenant(TENANT);
            until("the new key's token to be taken", || topics(&new).map_err(|refused| refused.to_string()))?;
            topics(&old).context("both keys are published")?;
            *current.lock().unwrap_or_else(PoisonError::into_inner) = new.clone();
            realm.remove_other_keys("second")?;
            let told = until("the old key's token to be refused", || {
                topics(&old).map_or_else(Ok, |_| Err("it is taken".to_owned()))
            })?;
            refused::<()>(Err(told), 401, "BH0002", "log in again");
            let so_far = new.read_all("p-out")?.len();
            new.out("p", so_far + 5)?;
            anyhow::Ok(new)
        })();
        stop.store(true, Ordering::SeqCst);
        let written = writer.join().expect("the writer ends")?;
        anyhow::Ok((rotated?, written))
    });
    let (new, written) = written?;
    assert_eq!(new.out("p", written.len())?, written, "a record was lost, doubled or moved");
    assert_eq!(host.process()?.id(), process, "the host was restarted");
    Ok(())
}

#[test]
fn keycloak_is_away_at_the_start_and_later() -> Result<()> {
    let mut keycloak = keycloak_alone()?;
    let realm = realm(&keycloak)?;
    let shell = Shell::new()?;
    shell.write("secret", &realm.secret("acme-ci")?)?;
    let mut host = host(&keycloak)?;
    let token = realm.token("acme-ci")?;
    keycloak.stop()?;

    host.stop()?;
    host.start_again()?;
    let ci = Control::new(host.url(), &token)?.tenant(TENANT);
    refused(topics(&ci), 503, "BH0040", "try again");
    let bare =
        reqwest::blocking::Client::new().get(format!("{}/api/v1/whoami", host.url())).bearer_auth(&token).send()?;
    assert!(bare.headers().contains_key("retry-after"), "{:?}", bare.headers());
    crate::shared::wait_log(host.process()?, "BH0040")?;
    topics(&host.tenant_as(TENANT, "viewer")?).context("the embedded issuer's tokens need nobody")?;
    let login =
        ["login", "--client-credentials", "--client-id", "acme-ci", "--client-secret-file", "secret", host.url()];
    let away = shell.run(&login)?;
    assert!(away.code == 5 && away.error.contains("BH0602"), "{away:?}");

    keycloak.resume()?;
    until("Keycloak's tokens to be taken", || topics(&ci).map_err(|refused| refused.to_string()))?;
    ci.upload_guests()?;
    ci.run_guest("p", "passthrough", "")?;
    keycloak.stop()?;
    ci.put("p", &["while it is away"])?;
    assert_eq!(ci.out("p", 1)?, ["while it is away"]);
    keycloak.resume()?;
    shell.ok(&login)?;
    Ok(())
}
