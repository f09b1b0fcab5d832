//! A tenant's developer at the command line: from an empty folder to the first output, and every day after.

use crate::shared::{Guests, host, tenant_with_guests};
use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_test_guests::{settings, wasm};
use bulkhead_testbed::{Host, Serve, bulkhead, until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// A project's own cargo: without the network where everything that it needs is cached, which it is where this repository was built.
fn settle(shell: &mut Shell) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    if shell.program(&cargo, &["metadata", "--offline", "--format-version", "1"], b"")?.code == 0 {
        shell.set("CARGO_NET_OFFLINE", "true");
    }
    Ok(())
}

#[test]
fn from_an_empty_folder_to_the_first_output() -> Result<()> {
    let host = host()?;
    host.tenant("newcomer")?;
    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_BIN", &bulkhead()?.display().to_string());
    shell.ok(&["new", "shop"])?;
    shell.at = shell.at.join("shop");
    settle(&mut shell)?;
    let tested = shell.cargo(&["test"])?;
    assert!(tested.contains("test the_sandbox_says_the_same_and_it_is_cheap ... ok"), "{tested}");
    shell.cargo(&["build", "--profile", "guest", "--target", "wasm32-wasip2"])?;
    let module = "target/wasm32-wasip2/guest/shop.wasm";

    let ran = shell.ok(&["run", module, "-f", "pipeline.yaml", "--records", "sample.jsonl"])?;
    assert!(ran.contains("4 records, 3 outputs, 1 dead letter,"), "{ran}");

    let token = host.token("developer", Some("newcomer"))?;
    let login = shell.with_input(&["login", host.url()], token.as_bytes())?;
    assert_eq!(login.code, 0, "{}", login.error);
    for topic in ["shop-in", "shop-large", "shop-small", "shop-dead"] {
        shell.ok(&["topic", "create", topic])?;
    }
    shell.ok(&["module", "push", module, "shop:v1"])?;
    let applied = shell.ok(&["pipeline", "apply", "-f", "pipeline.yaml", "--wait"])?;
    assert!(applied.contains("pipeline shop, revision 1; it runs"), "{applied}");
    let produced = shell.ok(&["produce", "shop-in", "--file", "sample.jsonl"])?;
    assert!(produced.contains("4 records written to shop-in"), "{produced}");
    until("the large orders", || {
        let large = shell.ok(&["consume", "shop-large", "--values"]).map_err(|error| error.to_string())?;
        let wanted = "{\"id\": \"a-1\", \"amount\": 250.0}\n{\"id\": \"a-3\", \"amount\": 100}\n";
        if large == wanted { Ok(()) } else { Err(large) }
    })?;
    Ok(())
}

#[test]
fn a_token_is_stored_for_its_server_alone_and_privately() -> Result<()> {
    let host = host()?;
    host.tenant("keeper")?;
    let mut shell = Shell::new()?;
    let refused = shell.run(&["topic", "list"])?;
    assert!(
        refused.code == 6 && refused.error.contains("BH0603") && refused.error.contains("bulkhead login"),
        "{refused:?}"
    );
    let bad = shell.with_input(&["login", host.url()], b"no.such.token\n")?;
    assert!(bad.code == 6 && bad.error.contains("BH0002"), "{bad:?}");
    let config = shell.folder().join("config/bulkhead/config.toml");
    assert!(!config.exists(), "a token that was refused was stored");

    let token = host.token("viewer", Some("keeper"))?;
    let login = shell.with_input(&["login", host.url()], format!("{token}\n").as_bytes())?;
    assert!(login.code == 0 && !login.out.contains(&token), "{login:?}");
    assert_eq!(std::fs::metadata(&config)?.permissions().mode() & 0o777, 0o600);
    assert!(shell.ok(&["topic", "list"])?.contains("no topics"), "the stored tenant and token are used");

    // Another server is not sent it.
    let other = shell.run(&["topic", "list", "--server", "http://127.0.0.1:9"])?;
    assert!(other.code == 6 && other.error.contains("http://127.0.0.1:9"), "{other:?}");
    shell.set("BULKHEAD_TOKEN", "wrong");
    let wrong = shell.run(&["topic", "list"])?;
    assert!(wrong.code == 6 && wrong.error.contains("BH0002"), "the environment must win over the file: {wrong:?}");
    Ok(())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() -> Result<()> {
    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_TOKEN", "any");
    let file = shell.folder().join("settings.toml");
    std::fs::write(&file, "server = \"http://127.0.0.1:1\"\ntenant = \"acme\"\noutput = \"json\"\n")?;
    shell.set("BULKHEAD_CONFIG", &file.display().to_string());
    let asked = |shell: &Shell, arguments: &[&str]| -> Result<Value> {
        let said = shell.run(&[&["topic", "list"], arguments].concat())?;
        assert_eq!(said.code, 5, "{said:?}");
        serde_json::from_str(&said.error).with_context(|| said.error.clone())
    };
    let server =
        |problem: &Value| problem["detail"].as_str().and_then(|detail| detail.split(' ').next().map(str::to_owned));
    assert_eq!(server(&asked(&shell, &[])?).as_deref(), Some("http://127.0.0.1:1"));
    shell.set("BULKHEAD_SERVER", "http://127.0.0.1:2");
    assert_eq!(server(&asked(&shell, &[])?).as_deref(), Some("http://127.0.0.1:2"));
    assert_eq!(server(&asked(&shell, &["--server", "http://127.0.0.1:3"])?).as_deref(), Some("http://127.0.0.1:3"));
    std::fs::write(&file, "sevrer = 1\n")?;
    let said = shell.run(&["topic", "list"])?;
    assert!(said.code == 2 && said.error.contains("BH0604") && said.error.contains("sevrer"), "{said:?}");
    Ok(())
}

#[test]
fn a_pipeline_lives_at_the_command_line() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "typist")?;
    tenant.topics("p")?;
    let shell = Shell::of(&host, "typist", "developer")?;
    shell.write("p.yaml", &crate::shared::manifest("p", "passthrough", "retries: 1"))?;
    shell.ok(&["pipeline", "apply", "-f", "p.yaml", "--wait"])?;
    let lines = shell.with_input(&["produce", "p-in", "--key", "k", "--header", "h=1"], b"one\ntwo\xff\nthree")?;
    assert_eq!((lines.code, lines.out.as_str()), (0, "3 records written to p-in\n"), "{}", lines.error);
    tenant.wait_records("p-out", 3)?;
    let shown = shell.ok(&["consume", "p-out", "--limit", "2", "-o", "json"])?;
    let records: Vec<Value> = shown.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(records.len(), 2);
    assert_eq!(
        (&records[0]["value"], &records[0]["key"], &records[0]["partition"]),
        (&"one".into(), &"k".into(), &0.into())
    );
    assert_eq!(records[1]["valueBase64"], "dHdv/w==");
    let rest = shell.ok(&["consume", "p-out", "--from", "2", "--headers"])?;
    assert!(rest.contains("k  three") && rest.contains("h: 1") && !rest.contains("one"), "{rest}");

    let status: Value = serde_json::from_str(&shell.ok(&["pipeline", "status", "p", "-o", "json"])?)?;
    assert_eq!((&status["name"], &status["revision"]), (&"p".into(), &1.into()));
    assert!(shell.ok(&["pipeline", "list"])?.lines().any(|line| line.starts_with("p ")), "it is not listed");
    shell.ok(&["pipeline", "pause", "p"])?;
    tenant.wait_status("p", "the pause", |status| status.phase.as_deref() == Some("paused"))?;
    shell.ok(&["pipeline", "resume", "p"])?;
    let in_use = shell.run(&["topic", "delete", "p-in"])?;
    assert!(in_use.code == 1 && in_use.error.contains("BH0010"), "{in_use:?}");
    shell.ok(&["pipeline", "delete", "p"])?;
    assert_eq!(shell.run(&["pipeline", "status", "p"])?.code, 4);
    Ok(())
}

#[test]
fn an_apply_that_does_not_come_to_run_fails_and_says_why() -> Result<()> {
    // Without a worker nothing runs.
    let host = Host::start(Serve::control())?;
    let tenant = tenant_with_guests(&host, "unlucky")?;
    tenant.topics("p")?;
    let shell = Shell::of(&host, "unlucky", "developer")?;
    shell.write("p.yaml", &crate::shared::manifest("p", "passthrough", "retries: 1"))?;
    let said = shell.run(&["pipeline", "apply", "-f", "p.yaml", "--wait", "--wait-s", "1"])?;
    let words = ["BH0608", "revision 1, was applied but does not run", "no worker has reported"];
    assert!(said.code == 1 && words.iter().all(|word| said.error.contains(word)), "{said:?}");
    shell.write("bad.yaml", &crate::shared::manifest("p", "passthrough", "retires: 1"))?;
    let said = shell.run(&["pipeline", "apply", "-f", "bad.yaml"])?;
    assert!(said.code == 1 && said.error.contains("retires"), "{said:?}");
    Ok(())
}

/// The records of a run: what each became.
fn played(shell: &Shell, guest: &str, arguments: &[&str], records: &str) -> Result<(Vec<Value>, Value)> {
    std::fs::write(shell.at.join("guests.wasm"), wasm(guest))?;
    let settings = settings(guest);
    let base = ["run", "guests.wasm", "-o", "json", "--settings", settings.as_str()];
    let said = shell.with_input(&[&base, arguments].concat(), records.as_bytes())?;
    assert_eq!(said.code, 0, "{said:?}");
    let mut lines: Vec<Value> = said.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let totals = lines.pop().context("no totals")?["totals"].take();
    lines.retain(|line| line["log"].is_null());
    Ok((lines, totals))
}

#[test]
fn a_run_here_says_what_each_record_became_and_cost_every_time_the_same() -> Result<()> {
    let shell = Shell::new()?;
    let once = played(&shell, "work", &[], "1000\n100000\n1000")?;
    assert_eq!(once, played(&shell, "work", &[], "1000\n100000\n1000")?);
    let fuel: Vec<u64> = once.0.iter().filter_map(|line| line["fuel"].as_u64()).collect();
    assert!(fuel.len() == 3 && fuel[1] > 10 * fuel[0] && fuel[0] == fuel[2], "{fuel:?}");
    assert_eq!(once.1["fuel"].as_u64(), Some(fuel.iter().sum()));
    assert_eq!(once.1["records"], 3);

    for (guest, code) in [("trap", "BH0301"), ("spin", "BH0302")] {
        for batch in ["1", "10"] {
            let (lines, totals) = played(&shell, guest, &["--batch", batch], "a\n!\nb")?;
            let exceptions: Vec<&Value> = lines.iter().map(|line| &line["exception"]["code"]).collect();
            assert_eq!(exceptions, [&Value::Null, &code.into(), &Value::Null], "{guest} in batches of {batch}");
            assert_eq!((&totals["deadLetters"], lines[2]["outputs"][0]["value"].as_str()), (&1.into(), Some("b")));
        }
    }
    let said = shell.run(&["run", "guests.wasm", "--settings", "{"])?;
    assert!(said.code == 1 && said.error.contains("--settings is not JSON"), "{said:?}");
    shell.write("no.wasm", "no")?;
    let said = shell.run(&["run", "no.wasm"])?;
    assert!(said.code == 1 && said.error.contains("BH0101"), "{said:?}");
    Ok(())
}

#[test]
fn a_flame_graph_shows_where_the_fuel_goes_and_costs_none() -> Result<()> {
    let shell = Shell::new()?;
    let plain = played(&shell, "work", &[], "200000\n300000")?;
    let profiled = played(&shell, "work", &["--flame", "flame.svg"], "200000\n300000")?;
    assert_eq!(plain, profiled, "profiling changed what the records cost or became");
    let svg = std::fs::read_to_string(shell.at.join("flame.svg"))?;
    assert!(svg.contains("<svg") && svg.contains("fuel"), "{}", &svg[..400.min(svg.len())]);
    // The guest's own loop has nearly all of it.
    let percents = svg.split("fuel, ").filter_map(|rest| rest.split('%').next()?.parse::<f64>().ok());
    let work = svg.lines().any(|line| line.contains("<title>") && line.contains("work"));
    assert!(work && percents.filter(|percent| *percent > 90.0).count() >= 2, "{svg}");
    Ok(())
}
