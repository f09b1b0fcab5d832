//! What the command line says, word for word: help, tables and errors, against a real host.
//!
//! The texts are in `tests/snapshots`, for a reader to judge. `UPDATE_SNAPSHOTS=1` writes them anew; the diff is the review.
//! Must never: compare what differs between two runs; times, addresses and digests are replaced first.

use crate::shared::{Guests, manifest};
use crate::shell::Shell;
use anyhow::{Result, ensure};
use bulkhead_testbed::{Host, Serve, root};
use std::path::PathBuf;

fn folder() -> PathBuf {
    root().join("tests/e2e/tests/snapshots")
}

/// Compares a text with the file of this name.
pub(crate) fn compare(name: &str, text: &str) -> Result<()> {
    let path = folder().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(folder())?;
        std::fs::write(&path, text)?;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        kept == text,
        "{} differs; UPDATE_SNAPSHOTS=1 writes it anew.\n--- kept\n{kept}\n--- now\n{text}",
        path.display()
    );
    Ok(())
}

/// `text` with every word that `is` finds replaced.
fn replaced(text: &str, is: impl Fn(&str) -> bool, by: &str) -> String {
    let edge = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.' | '…'));
    let mut out = String::new();
    for piece in text.split_inclusive(edge) {
        let word = piece.trim_end_matches(edge);
        out += if is(word) { by } else { word };
        out += &piece[word.len()..];
    }
    out
}

fn is_time(word: &str) -> bool {
    word.len() >= 20 && word.ends_with('Z') && word.starts_with("20") && word.contains('T')
}

fn is_id(word: &str) -> bool {
    word.len() == 36 && word.matches('-').count() == 4
}

/// Without what differs between two runs.
fn settled(text: &str, host: &Host) -> String {
    let text = text.replace(host.url(), "http://SERVER").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let text = replaced(&text, is_time, "TIME");
    let text = replaced(&text, is_id, "ID");
    let text = replaced(&text, |word| word.starts_with("sha256:"), "sha256:DIGEST");
    // Columns that a replaced word moved.
    text.lines().map(|line| squeezed(line) + "\n").collect()
}

/// Runs of spaces after the first word as two, where the line has a replaced word or is a table's heading, which may stand above one: a time
/// is a character shorter where its milliseconds end with a zero.
fn squeezed(line: &str) -> String {
    let heading = !line.is_empty() && !line.chars().any(char::is_lowercase);
    if !heading && !["TIME", "DIGEST", "ID"].iter().any(|word| line.contains(word)) {
        return line.trim_end().to_owned();
    }
    let indent = line.len() - line.trim_start().len();
    // A module's size depends on the paths of the machine that built it.
    let settled = |cell: &str| if cell.ends_with(" KiB") { "SIZE".to_owned() } else { cell.to_owned() };
    let cells = line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(settled);
    let cells: Vec<String> = cells.collect();
    format!("{}{}", &line[..indent], cells.join("  "))
}

/// The commands, each with what it said and its exit code.
fn transcript(shell: &Shell, host: &Host, commands: &[&str]) -> Result<String> {
    let mut text = String::new();
    for command in commands {
        let (command, input) = command.split_once(" <<< ").unwrap_or((command, ""));
        let words: Vec<&str> = command.split(' ').collect();
        let said = shell.with_input(&words, input.as_bytes())?;
        let from = if input.is_empty() { String::new() } else { format!(" <<< {input}") };
        text += &format!("$ bulkhead {command}{from}\n{}{}", said.out, said.error);
        if said.code != 0 {
            text += &format!("(exit code {})\n", said.code);
        }
        text += "\n";
    }
    Ok(settled(&text, host))
}

/// Every command with its own help.
const COMMANDS: [&str; 25] = [
    "",
    "new",
    "run",
    "login",
    "logout",
    "whoami",
    "access",
    "access grant",
    "tenant",
    "tenant limits",
    "plan",
    "project",
    "topic",
    "topic create",
    "module",
    "module push",
    "pipeline",
    "pipeline apply",
    "produce",
    "consume",
    "logs",
    "deadletter",
    "usage",
    "top",
    "completion",
];

#[test]
fn help_is_as_a_reader_judged_it() -> Result<()> {
    let shell = Shell::new()?;
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
        words.push("--help");
        let name = if command.is_empty() { "help".to_owned() } else { format!("help-{}", command.replace(' ', "-")) };
        let text = shell.ok(&words)?;
        let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        compare(&name, &text)?;
    }
    Ok(())
}

#[test]
fn tables_are_as_a_reader_judged_them() -> Result<()> {
    let host = Host::start(Serve::all())?;
    let tenant = host.tenant("acme")?;
    tenant.upload_guests()?;
    let shell = Shell::of(&host, "acme", "tenant-admin")?;
    shell.write("p.yaml", &manifest("p", "passthrough", "retries: 1"))?;
    let text = transcript(
        &shell,
        &host,
        &[
            "topic list",
            "topic create p-in --partitions 2",
            "topic create p-out",
            "topic create p-dead",
            "topic list",
            "topic show p-in",
            "topic list -o json",
            "module list",
            "pipeline list",
            "pipeline apply -f p.yaml --wait",
            "tenant show",
        ],
    )?;
    compare("tables", &text)
}

#[test]
fn access_is_as_a_reader_judged_it() -> Result<()> {
    let host = Host::start(Serve::all())?;
    host.tenant("acme")?;
    let mut shell = Shell::of(&host, "acme", "tenant-admin")?;
    let given = transcript(
        &shell,
        &host,
        &[
            "access list",
            "project create shop",
            "access grant operator --user test-2 --project shop",
            "access grant viewer --group ops",
            "access roles put night-shift --action pipelines.pause --action logs.read --description nights",
            "access roles put night-shift --action tokens.mint",
            "access grant nobody --user test-2",
            "access grant viewer",
            "access list",
            "access list --project shop",
            "access explain pipelines.pause --project shop --subject user:test-2",
            "access explain pipelines.apply --project shop --subject user:test-2 -o json",
            "access revoke viewer --group ops",
            "access roles delete night-shift",
        ],
    )?;
    shell.set("BULKHEAD_TOKEN", &host.token("viewer", Some("acme"))?);
    let asked =
        transcript(&shell, &host, &["access explain pipelines.apply", "access list", "access explain audit.raed"])?;
    compare("access", &(given + &asked))
}

#[test]
fn errors_are_as_a_reader_judged_them() -> Result<()> {
    let host = Host::start(Serve::all())?;
    host.tenant("acme")?;
    let shell = Shell::of(&host, "acme", "developer")?;
    shell.write("p.yaml", &manifest("p", "passthrough", "retries: 99, colour: 1"))?;
    shell.write("two.yaml", &manifest("p", "passthrough", "retries: 1"))?;
    shell.write("no.wasm", "#!/bin/sh")?;
    let text = transcript(
        &shell,
        &host,
        &[
            "topic show nothing",
            "topic show nothing -o json",
            "topic create Bad!",
            "topic create t --partitions 0",
            "topic list --tenant other",
            "topic list --server http://127.0.0.1:1",
            "topic list --server localhost:7070",
            "topic list --token-file nowhere",
            "pipeline apply -f nowhere.yaml",
            "pipeline apply -f p.yaml",
            "pipeline apply -f two.yaml",
            "pipeline status nothing",
            "module push no.wasm m:v1",
            "module push no.wasm m",
            "module delete nothing",
            "tenant list",
            "tenant delete acme --confirm acne",
            "produce nothing <<< line",
            "consume nothing",
            "run no.wasm",
            "new match",
            "deadletter show p 17",
            "fly",
        ],
    )?;
    compare("errors", &text)
}
