//! A tenant's life through the binary: suspended while records flow and resumed without a loss, exported, and the one tenant of whoever
//! needs no more.

use crate::shared::{Guests, refused, tenant_with_guests};
use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_testbed::{Control, Folder, Host, Line, Serve, Tenant, until};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::Instant;

/// Records of one request.
const BURST: usize = 50;
/// What must have come through before the suspension.
const FLOWING: usize = 300;

fn platform(host: &Host) -> Result<Shell> {
    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_SERVER", host.url());
    shell.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    Ok(shell)
}

/// Writes numbers until that is refused, and says how many were taken and why no more.
fn feed(tenant: &Tenant, began: &mpsc::Sender<()>) -> (usize, String) {
    let mut next = 0;
    loop {
        let lines: Vec<Line> = (next..next + BURST).map(|n| Line::text("key", &n.to_string())).collect();
        match tenant.produce("p-in", &lines) {
            Ok(_) => next += BURST,
            Err(refused) => return (next, refused.code),
        }
        let _gone = began.send(());
    }
}

fn end(tenant: &Tenant) -> Result<i64> {
    tenant.topic("p-out")?["ends"][0].as_i64().context("an end")
}

/// Time passes: a neighbour's records come through.
fn pass_time(neighbour: &Tenant, done: &mut usize) -> Result<()> {
    neighbour.put("p", &["x"; BURST])?;
    *done += BURST;
    neighbour.out("p", *done).map(drop)
}

#[test]
fn a_suspended_tenants_stages_stop_and_go_on_without_loss_or_double() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let (acme, neighbour) = (tenant_with_guests(&host, "acme")?, tenant_with_guests(&host, "globex")?);
    acme.run_guest("p", "passthrough", "")?;
    neighbour.run_guest("p", "passthrough", "")?;
    let (began, feeding) = mpsc::channel();
    let feeder = std::thread::spawn({
        let acme = acme.clone();
        move || feed(&acme, &began)
    });
    feeding.recv()?;
    acme.wait_records("p-out", FLOWING)?;

    let shell = platform(&host)?;
    let at = Instant::now();
    shell.ok(&["tenant", "suspend", "acme", "--reason", "the bill is not paid"])?;
    let shown = |shell: &Shell| -> Result<Value> {
        Ok(serde_json::from_str(&shell.ok(&["tenant", "show", "acme", "--output", "json"])?)?)
    };
    until("its stages to have stopped", || {
        let tenant = shown(&shell).map_err(|error| error.to_string())?;
        if tenant["suspended"]["stopped"] == json!(true) { Ok(()) } else { Err(tenant.to_string()) }
    })?;
    println!(
        "{:>7.2} s  from the suspension to the worker's word that its stages have stopped",
        at.elapsed().as_secs_f64()
    );
    let (written, why) = feeder.join().expect("the feeder ends");
    assert_eq!(why, "BH0071");
    let stopped_at = end(&acme)?;

    let mut passed = 0;
    for _ in 0..3 {
        pass_time(&neighbour, &mut passed)?;
    }
    assert_eq!(end(&acme)?, stopped_at, "something was committed after the worker's word");
    refused(acme.pause("p"), 423, "BH0071", "the bill is not paid");
    acme.read_all("p-out")?;
    host.stop()?;
    host.start_again()?;
    pass_time(&neighbour, &mut passed)?;
    assert_eq!(end(&acme)?, stopped_at, "a restart let it run");

    let shell = platform(&host)?;
    shell.ok(&["tenant", "resume", "acme"])?;
    acme.put("p", &["the last"])?;
    let values = acme.out("p", written + 1)?;
    let wanted: Vec<String> = (0..written).map(|n| n.to_string()).chain(["the last".to_owned()]).collect();
    assert_eq!(values, wanted, "each once, in order");
    Ok(())
}

#[test]
fn an_export_is_checked_and_a_cut_one_is_refused() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let acme = tenant_with_guests(&host, "acme")?;
    acme.run_guest("p", "passthrough", "")?;
    acme.put("p", &["one", "two"])?;
    acme.out("p", 2)?;
    let shell = Shell::of(&host, "acme", "tenant-admin")?;
    shell.ok(&["tenant", "export", "--to", "acme.ndjson"])?;
    shell.ok(&["tenant", "verify-export", "acme.ndjson"])?;
    let text = std::fs::read_to_string(shell.at.join("acme.ndjson"))?;
    let records = text.lines().filter(|line| line.contains("\"kind\":\"record\"")).count();
    assert_eq!(records, 4, "what went in and what came out");
    shell.write("cut.ndjson", &text[..text.len() / 2])?;
    let said = shell.run(&["tenant", "verify-export", "cut.ndjson"])?;
    assert!(said.code != 0 && said.error.contains("BH0075"), "{said:?}");
    let viewer = Shell::of(&host, "acme", "viewer")?;
    assert_ne!(viewer.run(&["tenant", "export", "--to", "acme.ndjson"])?.code, 0);
    Ok(())
}

/// The provider is away, so that whatever is made here is made without it.
#[test]
fn a_default_tenant_is_made_where_tokens_come_from_a_provider() -> Result<()> {
    let folder = Folder::new("default-tenant")?;
    let data = folder.join("data");
    let token = data.join("keys/default-tenant.token");
    let with_tenant = |name: &str| Serve::all().argument("--default-tenant").argument(name);
    with_tenant("before").start(&data, folder.path())?.stop()?;
    assert!(token.exists());
    let provider = with_tenant("after").argument("--oidc-issuer").argument("http://127.0.0.1:9/realms/none");
    provider.argument("--embedded-issuer").argument("off").start(&data, folder.path())?.stop()?;
    assert!(!token.exists(), "a token that nobody takes any more");
    let host = Host::start_in(Serve::all(), folder)?;
    let listed = platform(&host)?.ok(&["tenant", "list"])?;
    assert!(["before", "after"].iter().all(|name| listed.contains(name)), "{listed}");
    Ok(())
}

#[test]
fn a_default_tenant_is_there_at_the_start_and_is_like_any_other() -> Result<()> {
    let serve = Serve::all().argument("--default-tenant").argument("main");
    let mut host = Host::start(serve)?;
    let token = |host: &Host| std::fs::read_to_string(host.data_dir().join("keys/default-tenant.token"));
    let main = Control::new(host.url(), &token(&host)?)?.tenant("main");
    main.upload_guests()?;
    main.run_guest("p", "passthrough", "")?;
    host.stop()?;
    host.start_again()?;
    let main = Control::new(host.url(), &token(&host)?)?.tenant("main");
    main.put("p", &["still there"])?;
    assert_eq!(main.out("p", 1)?, ["still there"]);
    let shell = platform(&host)?;
    shell.ok(&["tenant", "suspend", "main", "--reason", "holidays"])?;
    refused(main.pause("p"), 423, "BH0071", "holidays");
    shell.ok(&["tenant", "delete", "main", "--confirm", "main", "--wait"])?;
    let gone = main.control().send(main.request(Method::GET, "/topics"));
    refused(gone, 404, "BH0005", "such tenant");
    Ok(())
}
