//! One tenant of several is erased: a byte-level search of every file of the host finds nothing of it, and everything of its neighbours.
//!
//! Each tenant has a mark that stands in everything that it has: names, settings, records, state, modules, objects, logs and the audit.
//! `BULKHEAD_ERASURE_TENANTS` says how many there are; `cargo xtask bench erasure` takes 50.
//! Must never: pass because the search is blind: every mark must be found before.

use crate::shared::{Guests, wait_applied};
use crate::shell::Shell;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Line, Serve, Tenant, until};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Tenants unasked.
const TENANTS: usize = 4;
/// Whose erasure it is.
pub(crate) const ERASED: usize = 1;
/// Writes of a megabyte each to a stage's state: more than is kept in memory.
const LARGE_WRITES: usize = 6;

/// How many tenants there are to be.
pub(crate) fn tenants(unasked: usize) -> Result<usize> {
    Ok(std::env::var("BULKHEAD_ERASURE_TENANTS").ok().map_or(Ok(unasked), |n| n.parse())?)
}

/// A tenant with its mark.
pub(crate) struct Marked {
    pub(crate) mark: String,
    pub(crate) tenant: Tenant,
}

pub(crate) fn mark(n: usize) -> String {
    format!("zq{n:02}vkj")
}

/// Whether a tenant has more state than is kept in memory.
fn large(n: usize) -> bool {
    n == ERASED || n == ERASED + 1
}

pub(crate) fn name(n: usize) -> String {
    format!("t-{}", mark(n))
}

/// A component with a custom section more, which changes nothing but its bytes.
fn signed(wasm: &[u8], mark: &str) -> Vec<u8> {
    let text = format!("made by {mark}");
    let body = [&[4_u8][..], b"mark", text.as_bytes()].concat();
    [wasm, &[0, u8::try_from(body.len()).expect("a short text")], &body].concat()
}

fn counting(mark: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: count-{mark}
inputs: [{{ topic: {mark}-in }}]
stages:
  - name: stage-{mark}
    module: stateful:v1
    config: setting of {mark}
    state: {{}}
    tickMs: 3600000
    outputs: {{ out: {{ topic: {mark}-out }} }}
deadLetter: {{ topic: {mark}-dead }}
batch: {{ records: 20 }}
"
    )
}

fn filing(mark: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: file-{mark}
inputs: [{{ topic: {mark}-numbers }}]
stages:
  - name: guest
    module: guests:v1
    config: to_rows
    outputs:
      out: {{ bucket: b-{mark}, prefix: of-{mark}/, format: jsonl, roll: {{ records: 5, everyMs: 200 }},
        columns: [{{ name: n, type: int64 }}, {{ name: by, type: string }}, {{ name: partition, type: int64 }}] }}
deadLetter: {{ topic: {mark}-dead }}
"
    )
}

impl Marked {
    pub(crate) fn make(host: &Host, n: usize) -> Result<Self> {
        let (mark, name) = (mark(n), name(n));
        let admin = host.admin()?;
        let made = json!({"name": name, "displayName": format!("The {mark} company")});
        admin.send(admin.request(Method::POST, "/api/v1/tenants").json(&made))?;
        let first = host.tenant_as(&name, "tenant-admin")?;
        let wanted = json!({"subject": format!("ann@{mark}"), "role": "tenant-admin"});
        let minted = admin.send(first.request(Method::POST, "/tokens").json(&wanted))?;
        let token = minted["token"].as_str().context("a token")?;
        let marked = Self { tenant: admin.with_token(token).tenant(&name), mark };
        marked.fill(large(n))?;
        Ok(marked)
    }

    fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        Ok(self.tenant.control().send(self.tenant.request(method, path).json(body))?)
    }

    fn fill(&self, large: bool) -> Result<()> {
        let Self { mark, tenant } = self;
        let project = json!({"name": format!("p-{mark}"), "description": format!("what {mark} does")});
        self.ask(Method::POST, "/projects", &project)?;
        for topic in ["in", "out", "dead", "numbers"] {
            tenant.create_topic(&format!("{mark}-{topic}"), 1)?;
        }
        tenant.upload_guests()?;
        tenant.upload("stateful", "v1", signed(bulkhead_test_guests::wasm("stateful"), mark))?;
        tenant.apply(&format!("count-{mark}"), counting(mark))?;
        tenant.apply(&format!("file-{mark}"), filing(mark))?;
        let numbers: Vec<Line> = (0..10).map(|n| Line::text(mark, &n.to_string())).collect();
        tenant.produce(&format!("{mark}-numbers"), &numbers)?;
        self.count(20)?;
        let reject = Line::text(mark, &format!("reject {mark}-rejected")).header(&format!("h-{mark}"), mark);
        tenant.produce(&format!("{mark}-in"), &[reject])?;
        if large {
            for n in 0..LARGE_WRITES {
                let line = Line::text(mark, &format!("fill {mark}-large-{n} 1000000"));
                tenant.produce(&format!("{mark}-in"), &[line])?;
            }
        }
        Ok(())
    }

    pub(crate) fn count(&self, records: usize) -> Result<()> {
        let line = |n: usize| {
            let line = Line::text(&format!("key-{}", self.mark), &format!("count {}-{n}", self.mark));
            line.header(&format!("h-{}", self.mark), &format!("v-{}", self.mark))
        };
        let lines: Vec<Line> = (0..records).map(line).collect();
        self.tenant.produce(&format!("{}-in", self.mark), &lines)?;
        Ok(())
    }

    /// Waits until all of it was worked off, and puts the dead letter away, so that the metadata speaks of it.
    pub(crate) fn settle(&self, objects: &Path, large: bool) -> Result<()> {
        let Self { mark, tenant } = self;
        wait_applied(tenant, &format!("count-{mark}"))?;
        tenant.wait_records(&format!("{mark}-out"), 20 + if large { LARGE_WRITES } else { 0 })?;
        tenant.wait_records(&format!("{mark}-dead"), 1)?;
        let letter = format!("/projects/default/pipelines/count-{mark}/dead-letters/0-0");
        tenant.control().send(tenant.request(Method::DELETE, &letter))?;
        let bucket = objects.join(format!("{}/b-{mark}", tenant.name()));
        until("an object", || if files(&bucket).is_empty() { Err("none".to_owned()) } else { Ok(()) })
    }

    fn export(&self) -> Result<String> {
        Ok(self.tenant.request(Method::GET, "/export").send()?.error_for_status()?.text()?)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    entries.flat_map(|entry| [vec![entry.path()], folders(&entry.path())].concat()).collect()
}

/// Files and folders that hold these bytes or are called so. The search is `grep`'s, which is quick and knows nothing of Bulkhead.
pub(crate) fn holding(folder: &Path, mark: &str) -> Vec<String> {
    let called = |path: &&PathBuf| path.strip_prefix(folder).is_ok_and(|path| path.to_string_lossy().contains(mark));
    let mut found: Vec<String> =
        folders(folder).iter().chain(&files(folder)).filter(called).map(|path| path.display().to_string()).collect();
    let flags = ["--recursive", "--binary-files=text", "--fixed-strings", "--files-with-matches", "--no-messages"];
    let searched = Command::new("grep").env("LC_ALL", "C").args(flags).arg("-e").arg(mark).arg(folder).output();
    let searched = searched.expect("grep runs");
    found.extend(String::from_utf8_lossy(&searched.stdout).lines().map(str::to_owned));
    found
}

/// What stands around the bytes, of each file that holds them.
fn around(found: &[String], mark: &str) -> String {
    let shown = |path: &String| {
        let bytes = std::fs::read(path).unwrap_or_default();
        let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes());
        let text = at
            .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(60)..(at + 60).min(bytes.len())]).into_owned());
        format!("{path}: {}", text.unwrap_or_default())
    };
    found.iter().map(shown).collect::<Vec<_>>().join("\n")
}

/// Kinds of files in which something of a tenant is to be found, so that the search is not blind for one.
fn seen_everywhere(data: &Path, n: usize) -> Result<()> {
    let mark = mark(n);
    let found = holding(data, &mark).join("\n");
    for place in ["control.db", "log/log.sqlite", "objects/modules", "buckets/", "worker/pool-0/assignment.json"] {
        ensure!(found.contains(place), "nothing of {mark} in {place}, where it should be:\n{found}");
    }
    Ok(())
}

/// An export of one tenant has everything that is its, and nothing that is another's.
fn exported(all: &[Marked]) -> Result<()> {
    let [marked, ..] = all else { return Ok(()) };
    let text = marked.export()?;
    let end: Value = serde_json::from_str(text.lines().next_back().context("a last line")?)?;
    let kinds = [
        "project",
        "module",
        "tag",
        "pipeline",
        "revision",
        "dead-letter",
        "log-line",
        "audit",
        "module-bytes",
        "topic",
        "record",
        "object",
    ];
    for kind in kinds {
        ensure!(end["kinds"][kind].as_u64() > Some(0), "no {kind} in {end}");
    }
    for what in ["what", "key-", "v-", "count ", "setting of ", "ann@", "-rejected", "b-", "of-"] {
        ensure!(
            text.contains(&format!("{what}{}", marked.mark))
                || text.contains(&format!("{what} {}", marked.mark))
                || text.contains(&format!("{}{what}", marked.mark)),
            "`{what}` is missing"
        );
    }
    for other in &all[1..] {
        ensure!(!text.contains(&other.mark), "the export of {} holds something of {}", marked.mark, other.mark);
    }
    Ok(())
}

#[test]
fn nothing_of_an_erased_tenant_is_in_any_file_and_all_of_its_neighbours_is() -> Result<()> {
    let tenants = tenants(TENANTS)?;
    let mut host = Host::start(Serve::all())?;
    let all = (0..tenants).map(|n| Marked::make(&host, n)).collect::<Result<Vec<_>>>()?;
    for (n, marked) in all.iter().enumerate() {
        marked.settle(&host.data_dir().join("buckets"), large(n))?;
    }
    let data = host.data_dir();
    for n in 0..tenants {
        seen_everywhere(&data, n)?;
    }
    exported(&all)?;

    // Its stages are at work.
    all[ERASED].count(500)?;
    let mut shell = Shell::new()?;
    shell.set("BULKHEAD_SERVER", host.url());
    shell.set("BULKHEAD_TOKEN", &host.token("platform-admin", None)?);
    let erased = name(ERASED);
    let began = Instant::now();
    shell.ok(&["tenant", "delete", &erased, "--confirm", &erased, "--wait", "--report", "report.jws"])?;
    println!("{:>7.1} s  to erase one of {tenants} tenants", began.elapsed().as_secs_f64());

    let document: Value =
        serde_json::from_str(&shell.ok(&["tenant", "verify-erasure", "report.jws", "--of", &erased])?)?;
    assert_eq!((&document["complete"], &document["by"]), (&json!(true), &json!("test")));
    for kind in [
        "topics",
        "topics at the begin",
        "groups at the begin",
        "objects",
        "module files",
        "rows of pipelines",
        "rows of log_lines",
        "rows of audit_lines",
    ] {
        assert!(document["deleted"][kind].as_u64() > Some(0), "{kind}: {document}");
    }
    assert_ne!(shell.run(&["tenant", "verify-erasure", "report.jws", "--of", &name(0)])?.code, 0);

    let found = holding(&data, &mark(ERASED));
    assert!(found.is_empty(), "left of the erased tenant:\n{}", around(&found, &mark(ERASED)));
    for (n, marked) in all.iter().enumerate().filter(|(n, _)| *n != ERASED) {
        seen_everywhere(&data, n)?;
        let before = marked.tenant.read_all(&format!("{}-out", marked.mark))?.len();
        marked.count(3)?;
        marked.tenant.wait_records(&format!("{}-out", marked.mark), before + 3)?;
    }
    host.stop()?;
    let found = holding(&data, &mark(ERASED));
    assert!(found.is_empty(), "left of the erased tenant after a stop:\n{}", around(&found, &mark(ERASED)));
    host.start_again()?;
    until("the neighbours to run again", || {
        let marked = &all[0];
        marked.tenant.wait_running(&format!("count-{}", marked.mark)).map(drop).map_err(|error| error.to_string())
    })?;
    let found = holding(&data, &mark(ERASED));
    assert!(found.is_empty(), "left of the erased tenant after a start:\n{}", around(&found, &mark(ERASED)));
    Ok(())
}
