//! Records that make a stage trap, loop, run out, return too much or break the contract: each becomes a dead letter with its evidence,
//! readable over HTTP, the others are delivered, and another tenant notices nothing.

use crate::shared::{Guests, host, tells_nothing, tenant_with_guests};
use anyhow::{Context, Result};
use bulkhead_testbed::{Read, Status, Tenant};

struct Case {
    guest: &'static str,
    limits: &'static str,
    bad: &'static str,
    code: &'static str,
    reason: &'static str,
    /// Evidence that only some faults have.
    extra: &'static str,
}

const CASES: [Case; 9] = [
    Case { guest: "trap", limits: "", bad: "!poison", code: "BH0301", reason: "", extra: "backtrace" },
    Case { guest: "exits", limits: "", bad: "!x", code: "BH0301", reason: "", extra: "" },
    Case { guest: "recursion", limits: "", bad: "!x", code: "BH0301", reason: "stack", extra: "" },
    Case {
        guest: "spin",
        limits: "fuelPerRecord: 5000000",
        bad: "!x",
        code: "BH0302",
        reason: "5000000",
        extra: "fuel",
    },
    Case { guest: "exhaust_memory", limits: "memoryBytes: 16777216", bad: "!x", code: "BH0303", reason: "", extra: "" },
    Case {
        guest: "huge_output",
        limits: "fuelPerRecord: 1000000000, memoryBytes: 268435456",
        bad: "!x",
        code: "BH0306",
        reason: "",
        extra: "",
    },
    Case {
        guest: "many_outputs",
        limits: "outputRecords: 1000",
        bad: "!1001",
        code: "BH0306",
        reason: "1000",
        extra: "",
    },
    Case { guest: "malformed", limits: "", bad: "!rows", code: "BH0305", reason: "", extra: "" },
    Case { guest: "exceptions", limits: "retries: 1", bad: "!no good", code: "BH0308", reason: "!no good", extra: "" },
];

fn name(case: &Case) -> String {
    case.guest.replace('_', "-")
}

fn check(tenant: &Tenant, case: &Case) -> Result<()> {
    let pipeline = name(case);
    let mut passed = tenant.out(&pipeline, 4)?;
    passed.sort();
    assert_eq!(passed, ["a", "b", "c", "d"], "{pipeline}");
    let dead = tenant.wait_records(&format!("{pipeline}-dead"), 1)?;
    let letter = dead.first().context("a dead letter")?;
    assert_eq!(dead.len(), 1, "{pipeline}: {dead:?}");
    evidence(letter, case, &pipeline)?;
    // The lag is unknown until the worker has asked for it.
    let is_done = |status: &Status| status.totals.records_in == 5 && status.lag == Some(0);
    let done = tenant.wait_status(&pipeline, "all five to be done", is_done)?;
    assert_eq!((done.totals.dead_letters, done.totals.records_out), (1, 4), "{pipeline}: {done:?}");
    assert_eq!((done.phase.as_deref(), done.lag), (Some("running"), Some(0)), "{pipeline}: {done:?}");
    Ok(())
}

fn evidence(letter: &Read, case: &Case, pipeline: &str) -> Result<()> {
    let header = |name: &str| {
        letter.header(&format!("bulkhead-{name}")).with_context(|| format!("{pipeline}: no {name} in {letter:?}"))
    };
    assert_eq!((letter.text().as_str(), letter.key_text().as_str()), (case.bad, "key"));
    assert_eq!(header("code")?, case.code, "{pipeline}: {letter:?}");
    assert_eq!(
        (header("topic")?, header("partition")?, header("offset")?),
        (format!("{pipeline}-in"), "0".into(), "2".into())
    );
    assert_eq!((header("pipeline")?.as_str(), header("stage")?.as_str()), (pipeline, "guest"));
    assert!(header("module")?.starts_with("sha256:") && header("revision")?.parse::<u64>().is_ok());
    assert!(!header("kind")?.is_empty());
    assert!(header("reason")?.contains(case.reason), "{pipeline}: {}", header("reason")?);
    if !case.extra.is_empty() {
        header(case.extra)?;
    }
    if case.code == "BH0302" {
        assert!(header("fuel")?.parse::<u64>()? >= 5_000_000, "{letter:?}");
    }
    for (_, value) in &letter.headers {
        tells_nothing(&String::from_utf8_lossy(value.as_deref().unwrap_or_default()));
    }
    Ok(())
}

#[test]
fn a_bad_record_becomes_a_dead_letter_with_evidence_and_the_others_pass() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "faulty")?;
    let neighbour = tenant_with_guests(&host, "faultless")?;
    neighbour.run_guest("pass", "passthrough", "")?;
    for case in &CASES {
        tenant.topics(&name(case))?;
        tenant.put(&name(case), &["a", "b", case.bad, "c", "d"])?;
        tenant.apply_guest(&name(case), case.guest, case.limits)?;
    }
    for (i, case) in CASES.iter().enumerate() {
        check(&tenant, case)?;
        neighbour.put("pass", &[case.guest])?;
        assert_eq!(neighbour.out("pass", i + 1)?.last().map(String::as_str), Some(case.guest));
    }
    let theirs =
        neighbour.wait_status("pass", "the neighbour's numbers", |s| s.totals.records_in == CASES.len() as u64)?;
    assert_eq!((theirs.phase.as_deref(), theirs.code, theirs.totals.dead_letters), (Some("running"), None, 0));
    let scrape = host.process()?.scrape()?;
    let faults = |tenant| scrape.sum("bulkhead_faults_total", &[("tenant", tenant), ("side", "guest")]);
    assert!(faults("faulty") >= CASES.len() as f64 && faults("faultless") == 0.0);
    assert_eq!(scrape.sum("bulkhead_faults_total", &[("side", "host")]), 0.0);
    Ok(())
}

/// Rules of the columns that a bad record breaks even where it is alone.
const BROKEN_ALONE: [&str; 11] = [
    "!rows",
    "!source-beyond",
    "!to-unknown",
    "!inherit",
    "!values-missing",
    "!ends-short",
    "!ends-beyond",
    "!nulls",
    "!headers",
    "!header-beyond",
    "!exception-beyond",
];
/// Rules that it breaks only where the batch has others too: one more row is one row too many, but alone it is the right number.
const BROKEN_IN_COMPANY: [&str; 3] = ["!keys", "!timestamps", "!header-rows"];

#[test]
fn every_broken_rule_of_the_columns_is_the_fault_of_its_record_alone() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "columns")?;
    tenant.topics("rules")?;
    let mut values = Vec::new();
    for rule in BROKEN_ALONE.iter().chain(&BROKEN_IN_COMPANY) {
        values.extend(["before", *rule, "after"]);
    }
    tenant.put("rules", &values)?;
    tenant.apply_guest("rules", "malformed", "")?;
    tenant.wait_status("rules", "all to be done", |s| s.totals.records_in == values.len() as u64)?;
    let dead: Vec<(String, Option<String>)> =
        tenant.read_all("rules-dead")?.iter().map(|read| (read.text(), read.header("bulkhead-code"))).collect();
    let wanted: Vec<_> = BROKEN_ALONE.iter().map(|rule| ((*rule).to_owned(), Some("BH0305".to_owned()))).collect();
    assert_eq!(dead, wanted);
    let wanted: Vec<&str> = values.iter().copied().filter(|value| !BROKEN_ALONE.contains(value)).collect();
    assert_eq!(tenant.out("rules", wanted.len())?, wanted);
    Ok(())
}

#[test]
fn a_guest_that_sleeps_meets_its_deadline() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "sleepy")?;
    tenant.run_guest("sleep", "sleep", "deadlineMs: 2000")?;
    tenant.put("sleep", &["a", "!zzz", "b"])?;
    assert_eq!(tenant.out("sleep", 2)?, ["a", "b"]);
    let dead = tenant.wait_records("sleep-dead", 1)?;
    assert_eq!((dead[0].text().as_str(), dead[0].header("bulkhead-code").as_deref()), ("!zzz", Some("BH0304")));
    Ok(())
}

#[test]
fn a_stage_that_does_not_start_says_why_and_loses_nothing() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "unready")?;
    tenant.topics("start")?;
    tenant.put("start", &["waits"])?;
    tenant.apply_guest("start", "init_fails", "")?;
    let status = tenant.wait_status("start", "it to say why", |status| status.code.is_some())?;
    assert_eq!((status.phase.as_deref(), status.code.as_deref()), (Some("backoff"), Some("BH0309")), "{status:?}");
    let message = status.message.context("a message")?;
    assert!(message.contains("no rates for this year"), "{message}");
    tells_nothing(&message);
    assert_eq!(tenant.read_all("start-dead")?.len(), 0);
    tenant.apply_guest("start", "passthrough", "")?;
    assert_eq!(tenant.out("start", 1)?, ["waits"]);
    Ok(())
}
