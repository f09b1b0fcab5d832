//! The command line: what it says and how it ends.

use anyhow::{Context, Result};
use bulkhead_testbed::{Folder, Host, Serve, bulkhead, root, stage};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Result<(i32, String, String)> {
    run_in(&root(), arguments)
}

fn run_in(folder: &Path, arguments: &[&str]) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } = Command::new(bulkhead()?).args(arguments).current_dir(folder).output()?;
    let code = status.code().with_context(|| format!("{arguments:?} ended by {status}"))?;
    Ok((code, String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

#[test]
fn help_and_version_say_what_it_is() -> Result<()> {
    let (code, out, _) = run(&["--help"])?;
    assert_eq!(code, 0);
    assert!(out.contains("A multi-tenant WebAssembly host for stream processing"), "{out}");
    for command in ["serve", "demo", "token", "explain"] {
        assert!(out.contains(command), "{out}");
    }
    assert!(!out.contains("bench-pipeline"), "{out}");
    assert!(run(&["--version"])?.1.starts_with("bulkhead "));
    Ok(())
}

#[test]
fn every_code_is_explained() -> Result<()> {
    let (code, list, _) = run(&["explain"])?;
    assert!(code == 0 && list.lines().count() > 50, "{list}");
    let (code, page, _) = run(&["explain", "bh0104"])?;
    assert!(code == 0 && page.starts_with("BH0104 Import without a grant") && page.contains("What to do"), "{page}");
    let (code, out, error) = run(&["explain", "BH9999"])?;
    assert!(code == 1 && out.is_empty() && error.contains("`bulkhead explain` lists all"), "{error}");
    Ok(())
}

#[test]
fn tokens_are_minted_where_there_is_a_key_and_roles_fit() -> Result<()> {
    let folder = Folder::new("token")?;
    let nowhere = folder.join("nothing").display().to_string();
    let (code, out, error) = run(&["token", "--data-dir", &nowhere, "--role", "platform-admin"])?;
    assert!(code == 1 && out.is_empty() && error.contains("no issuer's key"), "{error}");
    assert!(!folder.join("nothing").exists(), "a folder was made");

    let host = Host::start(Serve::all())?;
    let data = host.data_dir().display().to_string();
    let (code, out, error) = run(&["token", "--data-dir", &data, "--role", "platform-admin"])?;
    assert!(code == 0 && out.trim().split('.').count() == 3 && error.is_empty(), "{error}");
    for (arguments, words) in [
        (&["--role", "viewer"][..], "tenant"),
        (&["--role", "worker"], "slot"),
        (&["--role", "viewer", "--tenant", "acme", "--slot", "pool-0"], "slot"),
        (&["--role", "king"], "roles are"),
        (&["--role", "viewer", "--tenant", "acme", "--life-s", "999999999"], "at most"),
    ] {
        let (code, out, error) = run(&[&["token", "--data-dir", &data], arguments].concat())?;
        assert!(code == 1 && out.is_empty() && error.contains(words), "{arguments:?}: {code} {error}");
    }
    let (code, _, error) = run(&["token", "--data-dir", &data, "--role", "viewer", "--tenant", "A B"])?;
    assert!(code == 2 && error.contains("--tenant"), "{error}");
    Ok(())
}

#[test]
fn a_command_line_that_is_wrong_is_told_what_would_be_right() -> Result<()> {
    for (arguments, words) in [
        (&["serve", "--colour", "red"][..], "--colour"),
        (&["serve", "--role", "king"], "possible values: all, control, worker"),
        (&["serve", "--listen", "here"], "--listen"),
        (&["serve", "--log", "kafka", "--kafka-user", "me"], "--kafka-password-file"),
        (&["fly"], "fly"),
    ] {
        let (code, out, error) = run(arguments)?;
        assert!(code == 2 && out.is_empty() && error.contains(words), "{arguments:?}: {code} {error}");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_the_first_thing_said() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    for (listen, metrics) in [(address.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", address.as_str())] {
        let folder = Folder::new("taken")?;
        let data = folder.join("data").display().to_string();
        let (code, out, error) = run(&["serve", "--data-dir", &data, "--listen", listen, "--metrics-listen", metrics])?;
        assert!(code == 1 && out.is_empty(), "{code} {out}");
        assert!(error.contains(&address) && error.contains("choose another with --listen"), "{error}");
        assert!(!folder.join("data").exists(), "something was made before the port was looked at");
    }
    Ok(())
}

#[test]
fn a_folder_that_another_process_uses_is_not_shared() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let ended = Serve::all().run_to_end(&host.data_dir(), host.folder().path())?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.log.contains("BH0406") && ended.log.contains("a folder of its own"), "{}", ended.log);
    assert!(ended.out.is_empty(), "{}", ended.out);
    host.tenant("still-served")?;
    Ok(())
}

#[test]
fn a_worker_alone_needs_a_token() -> Result<()> {
    let folder = Folder::new("worker")?;
    let ended = Serve::worker("pool-7").run_to_end(&folder.join("data"), folder.path())?;
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.log.contains("--token-file") && ended.log.contains("bulkhead token --role worker --slot"),
        "{}",
        ended.log
    );
    Ok(())
}

#[test]
fn the_demo_runs_both_examples_and_ends() -> Result<()> {
    let folder = Folder::new("demo")?;
    let data = folder.join("data").display().to_string();
    let stages = stage("flights-enrich")?.parent().context("a folder")?.display().to_string();
    let arguments = [
        "demo",
        "--end",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--data-dir",
        &data,
        "--stages",
        &stages,
    ];
    let (code, out, error) = run(&arguments)?;
    assert_eq!(code, 0, "{out}\n{error}");
    let line = |tenant: &str| {
        let found = out.lines().find(|line| line.starts_with(tenant) && line.contains("records in"));
        found.map(str::to_owned).with_context(|| format!("nothing of {tenant} in {out}"))
    };
    let (acme, globex) = (line("acme")?, line("globex")?);
    assert!(acme.contains("19811 records in") && acme.contains("0 dead letters; fuel "), "{acme}");
    assert!(globex.contains("8705 records in") && globex.contains("1 dead letters; fuel "), "{globex}");
    assert!(out.contains("Every output was compared"), "{out}");
    assert!(!out.contains("Try next"), "{out}");

    // Again in the same folder, which it made; but not in one that it did not make.
    std::fs::remove_file(folder.join("data/made-by-bulkhead-demo"))?;
    let (code, _, error) = run(&arguments)?;
    assert!(code == 1 && error.contains("name another folder with --data-dir"), "{error}");
    assert!(folder.join("data").exists());
    Ok(())
}
