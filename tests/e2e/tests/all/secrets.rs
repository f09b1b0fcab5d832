//! Secrets in the real process: a guest reads them, a change reaches it without a redeploy, keys rotate meanwhile, and no file that the
//! host writes holds a value.

use crate::shared::{Guests, refused, wait_applied};
use anyhow::{Context, Result, ensure};
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{Host, Refused, Serve, Tenant, until};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What is looked for in every file.
const FIRST: &str = "first-value-5b1d0e7a";
const SECOND: &str = "second-value-93c4f2d8";
/// The same, as a record: the embedded log is sealed too, with what becomes a dead letter in it.
const RECORD: &str = "record-value-0a6f4b31";

fn manifest(project_secrets: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{ topic: p-in }}]
stages:
  - name: reader
    module: secretive:v1
    {project_secrets}
    outputs: {{ out: {{ topic: p-out }} }}
deadLetter: {{ topic: p-dead }}
"
    )
}

fn set(tenant: &Tenant, name: &str, value: &str) -> Result<Value, Refused> {
    let request = tenant.request(Method::PUT, &format!("/projects/default/secrets/{name}"));
    tenant.control().send(request.body(value.to_owned()))
}

fn prepare(tenant: &Tenant) -> Result<()> {
    tenant.upload("secretive", "v1", wasm("secretive"))?;
    tenant.topics("p")
}

/// What the guest says of this value.
fn said(name: &str, value: &str) -> String {
    let hash = value
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{name} {} {hash:016x}", value.len())
}

/// Puts names until the guest has said this of one: a change reaches it between two batches.
fn wait_said(tenant: &Tenant, wanted: &str) -> Result<()> {
    until(&format!("the guest to say `{wanted}`"), || {
        tenant.put("p", &["token"]).map_err(|error| error.to_string())?;
        let records = tenant.read_all("p-out").map_err(|refused| refused.to_string())?;
        let last = records.last().map(bulkhead_testbed::Read::text).unwrap_or_default();
        if last == wanted { Ok(()) } else { Err(last) }
    })
}

/// Files below a folder that hold one of these texts, and how many were looked at.
fn holding(folder: &Path, texts: &[String]) -> Result<(Vec<String>, usize)> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more, files) = holding(&entry.path(), texts)?;
            found.extend(more);
            looked_at += files;
            continue;
        }
        // One that goes meanwhile holds nothing.
        let Ok(bytes) = std::fs::read(entry.path()) else { continue };
        looked_at += 1;
        let holds = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if let Some(text) = texts.iter().find(|text| holds(text)) {
            found.push(format!("{} holds `{text}`", entry.path().display()));
        }
    }
    Ok((found, looked_at))
}

/// The data folder and the logs: neither the values nor their hex are in any file.
fn nothing_in_plain(host: &Host) -> Result<()> {
    let mut texts = Vec::new();
    for value in [FIRST, SECOND, RECORD] {
        texts.push(value.to_owned());
        texts.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
    }
    let (found, looked_at) = holding(host.folder().path(), &texts)?;
    ensure!(looked_at > 10, "only {looked_at} files were looked at");
    ensure!(found.is_empty(), "{found:#?}");
    Ok(())
}

#[test]
fn a_changed_secret_reaches_the_guest_while_keys_rotate_and_no_file_holds_it() -> Result<()> {
    let mut host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    prepare(&tenant)?;
    let missing = refused(tenant.apply("p", manifest("secrets: { token: api-token }")), 422, "BH0201", "errors");
    let error = &missing.body["errors"][0];
    assert_eq!((&error["code"], &error["field"]), (&"BH0220".into(), &"stages[reader].secrets.token".into()));
    let unasked = refused(tenant.apply("p", manifest("")), 422, "BH0201", "errors");
    assert_eq!(unasked.body["errors"][0]["code"], "BH0210");

    set(&tenant, "api-token", FIRST)?;
    tenant.apply("p", manifest("secrets: { token: api-token }"))?;
    tenant.wait_running("p")?;
    tenant.put("p", &["token", "api-token", "reject|token", "trap|token", "token"])?;
    tenant.put("p", &[RECORD, &format!("reject|{RECORD}")])?;
    // The stage's own name is `token`; the project's is none of its business.
    let unknown = format!("{RECORD} none");
    assert_eq!(tenant.out("p", 4)?, [&said("token", FIRST), "api-token none", &said("token", FIRST), &unknown]);
    let dead = tenant.wait_records("p-dead", 3)?;
    assert!(dead.iter().all(|letter| !format!("{letter:?}").contains(FIRST)), "{dead:?}");
    let revision = tenant.pipeline("p")?["revision"].clone();

    set(&tenant, "api-token", SECOND)?;
    wait_said(&tenant, &said("token", SECOND))?;
    let rotated = tenant.control().send(tenant.request(Method::POST, "/keys/rotate"))?;
    assert_eq!(rotated["items"].as_array().map(Vec::len), Some(2), "{rotated}");
    wait_said(&tenant, &said("token", SECOND))?;
    assert_eq!(tenant.pipeline("p")?["revision"], revision, "a new value is no revision");
    nothing_in_plain(&host)?;

    // What was remembered is sealed, and read again.
    host.kill9();
    host.start_again()?;
    wait_said(&tenant, &said("token", SECOND))?;
    set(&tenant, "api-token", FIRST)?;
    wait_said(&tenant, &said("token", FIRST))?;
    host.stop()?;
    nothing_in_plain(&host)
}

#[test]
fn a_project_overrides_what_it_inherits_and_one_tenant_changes_nothing_of_anothers() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let (acme, globex) = (host.tenant("acme")?, host.tenant("globex")?);
    for tenant in [&acme, &globex] {
        prepare(tenant)?;
        set(tenant, "token", &format!("of-{}", tenant.name()))?;
        tenant.apply("p", manifest("secrets: [token]"))?;
    }
    for tenant in [&acme, &globex] {
        wait_said(tenant, &said("token", &format!("of-{}", tenant.name())))?;
    }
    // A pipeline of a project in the default one: first what it inherits, then its own.
    let send = |method: Method, path: &str, body: String| {
        acme.control().send(acme.request(method, path).body(body)).with_context(|| path.to_owned())
    };
    send(Method::POST, "/projects", json!({"name": "default.eu"}).to_string())?;
    let module = acme.request(Method::PUT, "/projects/default.eu/modules/secretive?tag=v1");
    acme.control().send(module.header("content-type", "application/wasm").body(wasm("secretive")))?;
    let inner = manifest("secrets: [token]").replace("p-out", "eu-out");
    acme.create_topic("eu-out", 1)?;
    send(Method::PUT, "/projects/default.eu/pipelines/p", inner)?;
    let last_said = |wanted: String| {
        until(&format!("the inner guest to say `{wanted}`"), || {
            acme.put("p", &["token"]).map_err(|error| error.to_string())?;
            let records = acme.read_all("eu-out").map_err(|refused| refused.to_string())?;
            let last = records.last().map(bulkhead_testbed::Read::text).unwrap_or_default();
            if last == wanted { Ok(()) } else { Err(last) }
        })
    };
    last_said(said("token", "of-acme"))?;
    send(Method::PUT, "/projects/default.eu/secrets/token", "of-eu".to_owned())?;
    last_said(said("token", "of-eu"))?;
    // The outer one keeps its own, and the neighbour saw nothing of all this.
    wait_said(&acme, &said("token", "of-acme"))?;
    wait_said(&globex, &said("token", "of-globex"))?;
    send(Method::DELETE, "/projects/default.eu/secrets/token", String::new())?;
    last_said(said("token", "of-acme"))?;
    wait_applied(&globex, "p")
}

/// `bulkhead` with a token of the tenant's, on this host.
fn bulkhead(host: &Host, arguments: &[&str], input: &str) -> Result<(bool, String)> {
    use std::io::Write;
    let mut command = Command::new(bulkhead_testbed::bulkhead()?);
    command.args(arguments).args(["--config", "/dev/null", "--output", "json"]);
    command.env("BULKHEAD_SERVER", host.url()).env("BULKHEAD_TOKEN", host.token("tenant-admin", Some("acme"))?);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok((output.status.success(), said))
}

#[test]
fn the_command_line_sets_lists_and_deletes_and_shows_no_value() -> Result<()> {
    let host = Host::start(Serve::all())?;
    host.tenant("acme")?;
    let file = host.folder().join("value");
    std::fs::write(&file, FIRST)?;
    let file = file.display().to_string();
    let done = |arguments: &[&str], input: &str| -> Result<String> {
        let (done, said) = bulkhead(&host, arguments, input)?;
        ensure!(done, "{arguments:?}: {said}");
        ensure!(!said.contains(FIRST) && !said.contains(SECOND), "{arguments:?} shows a value: {said}");
        Ok(said)
    };
    done(&["secret", "set", "from-file", "--from-file", &file], "")?;
    done(&["secret", "set", "from-stdin"], SECOND)?;
    done(&["secret", "set", "from-stdin", "--from-file", "-"], FIRST)?;
    let listed: Value = serde_json::from_str(&done(&["secret", "list"], "")?)?;
    let names: Vec<_> = listed["items"].as_array().context("items")?.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["from-file", "from-stdin"]);
    assert_eq!(listed["items"][1]["version"], 2);
    done(&["secret", "delete", "from-file"], "")?;
    done(&["config", "set", "currency", "EUR"], "")?;
    done(&["config", "set", "limits", r#"{"high": 9}"#], "")?;
    let got: Value = serde_json::from_str(&done(&["config", "get", "limits"], "")?)?;
    assert_eq!(got["value"], json!({"high": 9}));
    let listed: Value = serde_json::from_str(&done(&["config", "list", "--inherited"], "")?)?;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    done(&["config", "delete", "currency"], "")?;
    done(&["key", "rotate"], "")?;
    let keys: Value = serde_json::from_str(&done(&["key", "list"], "")?)?;
    assert_eq!(keys["items"][1]["version"], 2, "{keys}");
    let (ok, said) = bulkhead(&host, &["secret", "delete", "from-file"], "")?;
    assert!(!ok && said.contains("BH0005"), "{said}");
    Ok(())
}

#[test]
fn a_local_run_has_the_secrets_that_it_is_given_and_no_others() -> Result<()> {
    let folder = bulkhead_testbed::Folder::new("secret-run")?;
    let (module, value, manifest_file) = (folder.join("stage.wasm"), folder.join("value"), folder.join("p.yaml"));
    std::fs::write(&module, wasm("secretive"))?;
    std::fs::write(&value, FIRST)?;
    std::fs::write(&manifest_file, manifest("secrets: { token: api-token }"))?;
    let run = |arguments: &[&str]| -> Result<(bool, String)> {
        let mut command = Command::new(bulkhead_testbed::bulkhead()?);
        let records = folder.join("records");
        std::fs::write(&records, "token\nother\n")?;
        command.arg("run").arg(&module).args(["--output", "json", "--config", "/dev/null", "--records"]).arg(records);
        let output = command.args(arguments).env("XDG_CACHE_HOME", folder.path()).output()?;
        let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok((output.status.success(), said))
    };
    let (value, manifest_file) = (value.display().to_string(), manifest_file.display().to_string());
    let (ok, with) = run(&["-f", &manifest_file, "--secret", &format!("api-token={value}")])?;
    assert!(ok && with.contains(&said("token", FIRST)) && with.contains("other none"), "{with}");
    let (ok, without) = run(&["-f", &manifest_file])?;
    assert!(!ok && without.contains("BH0341") && without.contains("api-token"), "{without}");
    let (ok, flags) = run(&["--secret", &format!("token={value}")])?;
    assert!(ok && flags.contains(&said("token", FIRST)), "{flags}");
    let (ok, ungranted) = run(&[])?;
    assert!(!ok && ungranted.contains("BH0210"), "{ungranted}");
    Ok(())
}
