//! A stage's component in the sandbox of `bulkhead run`.
//!
//! Must never: go on with what is left of a case whose stage did not survive.

use crate::{build, records};
use anyhow::{Context, Result, bail, ensure};
use bulkhead_sdk::Stage;
use bulkhead_sdk::log::Level;
use bulkhead_sdk::testing::{Case, Rejected, Report};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the program, where it is not `bulkhead` on the `PATH`.
const PROGRAM: &str = "BULKHEAD_BIN";
/// What the stage itself said, as opposed to what happened to it.
const REJECTED: &str = "rejected";

/// A stage's component, ready to run cases in the sandbox.
#[derive(Debug, Clone)]
pub struct Sandbox {
    component: PathBuf,
    program: Option<PathBuf>,
}

/// What a case came to in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Outputs, rejections and log lines. Lines that the stage prints are there too: stdout as `Info`, stderr as `Warn`.
    pub report: Report,
    /// Fuel of all records and ticks together.
    pub fuel: u64,
    /// Fuel of `init`.
    pub init_fuel: u64,
    /// Bytes of memory that the instance held at the end.
    pub memory_bytes: usize,
}

/// A case that the stage did not survive: it trapped, or went over a limit.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Place in the case of the record that it happened at; of a tick, the number of records before it.
    pub record: usize,
    /// Which rule was broken, for instance `out-of-fuel`.
    pub kind: String,
    /// What happened.
    pub reason: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the stage stopped at record {}: {}: {}", self.record, self.kind, self.reason)
    }
}

impl std::error::Error for Stopped {}

impl Sandbox {
    /// Compiles the crate in this folder, usually `env!("CARGO_MANIFEST_DIR")`.
    ///
    /// # Errors
    /// Where it does not compile.
    pub fn of_crate(folder: impl AsRef<Path>) -> Result<Self> {
        Self::of_file(build::component(folder.as_ref())?)
    }

    /// Takes a component from a file.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of_file(path: impl Into<PathBuf>) -> Result<Self> {
        let component = path.into();
        component.metadata().with_context(|| format!("cannot read {}", component.display()))?;
        Ok(Self { component, program: None })
    }

    /// Names the program `bulkhead`, instead of the `PATH` and `BULKHEAD_BIN`.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Runs a case as [`Case::run`] does natively: one instance, batch after batch, until all records are done or one is to be
    /// tried again.
    ///
    /// # Errors
    /// [`Stopped`] where the stage trapped or went over a limit; otherwise where it did not start, or `bulkhead` cannot be run.
    pub fn run(&self, case: &Case) -> Result<Run> {
        ensure!(case.buckets.is_empty(), "`bulkhead run` lends no buckets; test what reaches them natively");
        let secrets = SecretFiles::write(case)?;
        let named = || std::env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("bulkhead"));
        let program = self.program.as_ref().map_or_else(named, OsString::from);
        let mut command = Command::new(&program);
        command.arg("run").arg(&self.component).args(["--output", "json", "--ndjson", "--records", "-"]);
        command.args(["--config", "/dev/null", "--pipeline", &case.pipeline, "--stage-name", &case.stage]);
        command.args(["--inputs", &case.inputs.join(","), "--ports", &case.outputs.join(",")]);
        command.args(["--settings", &case.settings, "--batch", &case.batch_records.to_string()]);
        command.args(["--tick-ms", "0", "--show-state"]).args(&secrets.arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| {
                format!("cannot run `{}`: put `bulkhead` on the PATH, or name it in {PROGRAM}", program.display())
            })?;
        let mut input = child.stdin.take().context("no pipe to bulkhead")?;
        let lines = records::lines(case)?;
        // The child answers while it reads, so what is written must not wait for what is read.
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("`bulkhead run` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        writer.join().map_err(|_| anyhow::anyhow!("writing to bulkhead failed"))?.context("writing to bulkhead")?;
        read(&String::from_utf8(output.stdout)?)
    }

    /// Runs a case natively and in the sandbox, and gives the latter. Log lines may differ; outputs, rejections and state may not. State is
    /// not compared where a case ends at a retry: `bulkhead run` goes on with the records behind it.
    ///
    /// # Panics
    /// Where the two differ, or where the stage did not survive.
    pub fn assert_agrees<S: Stage>(&self, case: &Case) -> Run {
        let run = self.run(case).unwrap_or_else(|error| panic!("in the sandbox: {error:#}"));
        let native = case.run::<S>();
        native.assert_agrees(&run.report);
        if !run.report.rejected.last().is_some_and(|rejected| rejected.retry) {
            assert_eq!(native.state, run.report.state, "state natively (left) differs from the sandbox (right)");
        }
        run
    }
}

/// The secrets of a case in files that only this user can read, and that go with the run.
struct SecretFiles {
    folder: PathBuf,
    arguments: Vec<OsString>,
}

impl SecretFiles {
    fn write(case: &Case) -> Result<Self> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let name = format!("bulkhead-sandbox-{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let mut files = Self { folder: std::env::temp_dir().join(name), arguments: Vec::new() };
        if case.secrets.is_empty() {
            return Ok(files);
        }
        std::fs::DirBuilder::new().mode(0o700).create(&files.folder).context("a folder for secrets")?;
        for (name, value) in &case.secrets {
            let path = files.folder.join(name);
            std::fs::write(&path, value).context("a file for a secret")?;
            let mut argument = OsString::from(format!("{name}="));
            argument.push(&path);
            files.arguments.extend(["--secret".into(), argument]);
        }
        Ok(files)
    }
}

impl Drop for SecretFiles {
    fn drop(&mut self) {
        // Where it was never made, there is nothing to remove.
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `bulkhead run` printed.
fn read(text: &str) -> Result<Run> {
    let mut report = Report::default();
    let mut totals = None;
    let (mut done, mut ended) = (0, false);
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).context("`bulkhead run` printed something else than JSON")?;
        if !value["log"].is_null() {
            let said: records::Said = serde_json::from_value(value["log"].take())?;
            report.logs.push((level(&said.level), said.message));
        } else if !value["totals"].is_null() {
            totals = Some(serde_json::from_value::<records::Totals>(value["totals"].take())?);
        } else if !value["state"].is_null() {
            let records::Entry { input, partition, cells } = serde_json::from_value(value["state"].take())?;
            let (key, value) = (records::cell(&cells, "key")?, records::cell(&cells, "value")?);
            let entry = key.zip(value).context("an entry of the state without key or value")?;
            report.state.entry((input, partition)).or_default().extend([entry]);
        } else if !ended {
            ended = take(serde_json::from_value(value)?, &mut done, &mut report)?;
        }
    }
    let records::Totals { fuel, tick_fuel, init_fuel, memory_bytes } =
        totals.context("`bulkhead run` gave no totals")?;
    Ok(Run { report, fuel: fuel + tick_fuel, init_fuel, memory_bytes })
}

/// Adds what became of a record, or of a tick after `done` of them. Returns whether the case ends there, because it is to be tried again.
fn take(line: records::Line, done: &mut usize, report: &mut Report) -> Result<bool> {
    let record = line.record.unwrap_or(*done);
    *done = line.record.map_or(*done, |record| record + 1);
    for output in &line.outputs {
        report.outputs.push(records::emitted(record, line.record.is_none(), output)?);
    }
    let Some(exception) = line.exception else { return Ok(false) };
    if exception.kind != REJECTED {
        return Err(Stopped { record, kind: exception.kind, reason: exception.reason }.into());
    }
    let retry = exception.action == "retry";
    report.rejected.push(Rejected { record, retry, reason: exception.reason });
    Ok(retry)
}

fn level(name: &str) -> Level {
    match name {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_run_prints_becomes_a_report() {
        let text = r#"{"log":{"level":"warn","message":"careful"}}
{"record":0,"fuel":12,"outputs":[{"to":"out","key":null,"value":"a","headers":[{"name":"h","valueBase64":"/w=="}],"timestamp":5}],"exception":null}
{"record":1,"fuel":3,"outputs":[],"exception":{"action":"retry","kind":"rejected","code":"BH0308","reason":"later"}}
{"record":2,"fuel":3,"outputs":[],"exception":{"action":"retry","kind":"rejected","code":"BH0308","reason":"later"}}
{"totals":{"records":3,"outputs":1,"deadLetters":0,"retries":2,"fuel":18,"ticks":0,"tickFuel":0,"initFuel":7,"memoryBytes":65536}}"#;
        let run = read(text).unwrap();
        assert_eq!(run.report.outputs[0].header("h"), Some([0xff].as_slice()));
        assert_eq!(run.report.rejected.len(), 1, "a case ends at a retry");
        assert_eq!((run.fuel, run.init_fuel, run.report.logs.len()), (18, 7, 1));
    }

    #[test]
    fn a_trap_is_an_error_that_names_the_record() {
        let text = r#"{"record":4,"fuel":1,"outputs":[],"exception":{"action":"deadLetter","kind":"trap","code":"BH0301","reason":"unreachable"}}"#;
        let error = read(text).unwrap_err();
        assert_eq!(error.downcast_ref::<Stopped>().map(|stopped| stopped.record), Some(4), "{error}");
    }
}
