//! One `bulkhead serve` process.
//!
//! Its addresses are parsed from what it prints, its logs go to files, and it ends with this process whatever happens.
//! Must never: signal a process that is not its own child.

use crate::kafka::KafkaLogin;
use crate::metrics::Scrape;
use crate::wait::{DEADLINE, failing, until_within};
use anyhow::{Context, Result, bail, ensure};
use bulkhead_test_services::spawn;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What the binary prints before its addresses.
const API_LINE: &str = "bulkhead: API on ";
const METRICS_LINE: &str = "bulkhead: metrics on ";
/// Lines of a log that are shown where something failed.
const SHOWN_LINES: usize = 40;

static STARTS: AtomicU32 = AtomicU32::new(0);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Control and worker.
    All,
    /// HTTP API and metadata.
    Control,
    /// Runs stages.
    Worker,
}

/// How to start a process: `bulkhead serve` with these arguments, on free ports of 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Serve {
    pub(crate) role: Role,
    pub(crate) slot: String,
    pub(crate) listen: String,
    kafka: Option<KafkaLogin>,
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Serve {
    fn role(role: Role, slot: &str) -> Self {
        let variables = vec![("RUST_LOG".to_owned(), "info".to_owned())];
        let (slot, listen) = (slot.to_owned(), "127.0.0.1:0".to_owned());
        Self { role, slot, listen, kafka: None, arguments: Vec::new(), variables }
    }

    /// Control and worker in one process, on the embedded log unless [`Serve::kafka`] says otherwise.
    pub fn all() -> Self {
        Self::role(Role::All, "pool-0")
    }

    /// Control alone.
    pub fn control() -> Self {
        Self::role(Role::Control, "pool-0")
    }

    /// A worker alone, in this slot. [`crate::Host::worker`] fills in where its control is.
    pub fn worker(slot: &str) -> Self {
        Self::role(Role::Worker, slot)
    }

    /// On Kafka, with this login.
    pub fn kafka(mut self, login: &KafkaLogin) -> Self {
        self.kafka = Some(login.clone());
        self
    }

    pub(crate) fn login(&self) -> Option<&KafkaLogin> {
        self.kafka.as_ref()
    }

    /// In another slot than `pool-0`: on a Kafka that several hosts share, each needs one of its own.
    pub fn slot(mut self, slot: &str) -> Self {
        slot.clone_into(&mut self.slot);
        self
    }

    /// Another argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// An environment variable, for instance `RUST_LOG` (`info` by default).
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, data_dir: &Path) -> Result<Command> {
        let role = match self.role {
            Role::All => "all",
            Role::Control => "control",
            Role::Worker => "worker",
        };
        let mut command = Command::new(crate::bulkhead()?);
        // What this shell happens to set is not part of the test.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BULKHEAD_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--role", role, "--worker-slot", &self.slot])
            .args(["--listen", &self.listen, "--metrics-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data_dir)
            .args(self.kafka.iter().flat_map(KafkaLogin::arguments))
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the process and waits until it says where it listens. Its logs go to `logs`.
    ///
    /// # Errors
    /// Where it ends instead; the error has the end of its log.
    pub fn start(&self, data_dir: &Path, logs: &Path) -> Result<Process> {
        let mut process = self.spawn(data_dir, logs)?;
        let role = self.role;
        let found = until_within(DEADLINE, "the process to listen", || {
            let said = read(&process.out);
            let address = |line: &str| said.lines().find_map(|l| l.strip_prefix(line)).map(str::to_owned);
            match (address(API_LINE), address(METRICS_LINE)) {
                (api, Some(metrics)) if role == Role::Worker || api.is_some() => Ok(Ok((api, metrics))),
                _ => match process.ended() {
                    Some(status) => Ok(Err(status)),
                    None => Err(format!("it printed {said:?}")),
                },
            }
        });
        match found {
            Ok(Ok((api, metrics))) => (process.api, process.metrics) = (api, metrics),
            Ok(Err(status)) => bail!("bulkhead ended with {status} at its start:\n{}", process.last_lines()),
            Err(error) => return Err(error.context(process.last_lines())),
        }
        Ok(process)
    }

    /// Starts a process that is to end by itself, and waits until it has.
    ///
    /// # Errors
    /// Where it does not end within [`DEADLINE`]; it is killed then.
    pub fn run_to_end(&self, data_dir: &Path, logs: &Path) -> Result<Ended> {
        let mut process = self.spawn(data_dir, logs)?;
        let status = process.wait_end(DEADLINE)?;
        Ok(Ended { status, out: read(&process.out), log: process.log() })
    }

    fn spawn(&self, data_dir: &Path, logs: &Path) -> Result<Process> {
        let name = format!("{}-{}", self.slot, STARTS.fetch_add(1, Ordering::Relaxed));
        let (out, log) = (logs.join(format!("{name}.out")), logs.join(format!("{name}.log")));
        let mut command = self.command(data_dir)?;
        let create = |path: &Path| File::create(path).with_context(|| format!("making {}", path.display()));
        command.stdout(create(&out)?).stderr(create(&log)?);
        let child = spawn(command).context("cannot run bulkhead")?;
        Ok(Process { child, name, api: None, metrics: String::new(), out, log })
    }
}

/// A process that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub log: String,
}

/// A running process; killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    api: Option<String>,
    metrics: String,
    out: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Its slot and the number of its start in this program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API is, for instance `http://127.0.0.1:40123`.
    ///
    /// # Errors
    /// Where it has none, being a worker.
    pub fn api(&self) -> Result<&str> {
        self.api.as_deref().context("a worker alone has no API")
    }

    /// Where its metrics are.
    pub fn metrics_url(&self) -> &str {
        &self.metrics
    }

    /// Its metrics now.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn scrape(&self) -> Result<Scrape> {
        Scrape::of(&self.metrics)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it still runs at the deadline.
    pub fn wait_end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        until_within(deadline, "the process to end", || self.ended().ok_or_else(|| "it runs".to_owned()))
            .with_context(|| self.last_lines())
    }

    fn signal(&self, signal: libc::c_int) {
        if let Ok(id) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: the child is waited for only through a `&mut self` that gives its status, so the id is its own or a zombie's.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// Asks it to drain and end (SIGTERM), without waiting.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Asks it to drain and end, and waits until it has done so with success.
    ///
    /// # Errors
    /// Where it does not end in time, or not with success.
    pub fn stop(mut self) -> Result<()> {
        self.terminate();
        let status = self.wait_end(DEADLINE)?;
        ensure!(status.success(), "bulkhead ended with {status} at SIGTERM:\n{}", self.last_lines());
        Ok(())
    }

    /// Kills it at once (SIGKILL).
    pub fn kill9(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Undoes [`Process::freeze`].
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if failing() {
            eprintln!("the last of {}'s log:\n{}", self.name, self.last_lines());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
