//! The command line as a developer's shell runs it: a folder, a config file of its own, and nothing else of this machine's settings.
//!
//! Must never: let a variable of whoever runs the tests reach the command.

use anyhow::{Context, Result, ensure};
use bulkhead_test_services::spawn;
use bulkhead_testbed::{Host, bulkhead, until};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Settings of the test run that are not the project's.
const NOT_INHERITED: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "NO_COLOR"];

/// A shell in a folder outside of the repository.
pub(crate) struct Shell {
    folder: TempDir,
    variables: Vec<(String, String)>,
    /// Where commands run.
    pub(crate) at: PathBuf,
}

/// A command that goes on beside the test.
pub(crate) struct Begun {
    child: Child,
    out: PathBuf,
    error: PathBuf,
}

impl Begun {
    /// Waits until a line of its standard error begins so, and gives the rest of that line.
    pub(crate) fn told(&mut self, start: &str) -> Result<String> {
        until(&format!("the command to say `{start}`"), || {
            let said = std::fs::read_to_string(&self.error).unwrap_or_default();
            let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let found = whole.lines().find_map(|line| line.trim_start().strip_prefix(start));
            found.map(str::to_owned).ok_or(said)
        })
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Result<Said> {
        let child = &mut self.child;
        let status = until("the command to end", || {
            child.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "it runs".to_owned())
        })?;
        let code = status.code().with_context(|| format!("it ended by {status}"))?;
        Ok(Said { code, out: std::fs::read_to_string(&self.out)?, error: std::fs::read_to_string(&self.error)? })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Shell {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bulkhead-shell-").tempdir()?;
        let at = folder.path().to_owned();
        Ok(Self { folder, variables: Vec::new(), at })
    }

    /// A shell that has this role's token for a tenant of a host, which is there already.
    pub(crate) fn of(host: &Host, tenant: &str, role: &str) -> Result<Self> {
        let mut shell = Self::new()?;
        shell.set("BULKHEAD_SERVER", host.url());
        shell.set("BULKHEAD_TOKEN", &host.token(role, Some(tenant))?);
        Ok(shell)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.at.join(name), text)?)
    }

    /// Runs a program with this input.
    pub(crate) fn program(&self, program: &OsStr, arguments: &[&str], input: &[u8]) -> Result<Said> {
        let mut command = self.command(program, arguments);
        let began = Instant::now();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("no pipe")?;
        let input = input.to_vec();
        // A command that ends before it has read all is no error of the shell's.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        _ = writer.join();
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        println!("{:>7.1} s  $ {name} {}", began.elapsed().as_secs_f64(), arguments.join(" "));
        let code = status.code().with_context(|| format!("{arguments:?} ended by {status}"))?;
        Ok(Said { code, out: String::from_utf8(stdout)?, error: String::from_utf8(stderr)? })
    }

    fn command(&self, program: &OsStr, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BULKHEAD_")) {
            command.env_remove(name);
        }
        NOT_INHERITED.iter().for_each(|name| _ = command.env_remove(name));
        command.env("XDG_CONFIG_HOME", self.folder().join("config")).env("XDG_CACHE_HOME", self.folder().join("cache"));
        command.args(arguments).envs(self.variables.iter().cloned()).current_dir(&self.at);
        command
    }

    /// Begins `bulkhead`, which goes on beside the test.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Result<Begun> {
        let file = |name: &str| self.folder().join(format!("{name}-{}", arguments.join("-").replace('/', "_")));
        let (out, error) = (file("out"), file("error"));
        let mut command = self.command(bulkhead()?.as_os_str(), arguments);
        command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&error)?);
        Ok(Begun { child: spawn(command)?, out, error })
    }

    /// Runs `bulkhead` with this input, however it ends.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Said> {
        self.program(bulkhead()?.as_os_str(), arguments, input)
    }

    /// Runs `bulkhead`, however it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.with_input(arguments, b"")
    }

    /// Runs `bulkhead`, which must end well, and gives what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Result<String> {
        let said = self.run(arguments)?;
        ensure!(
            said.code == 0,
            "`bulkhead {}` ended with {}:\n{}{}",
            arguments.join(" "),
            said.code,
            said.out,
            said.error
        );
        Ok(said.out)
    }

    /// Runs cargo, which must end well.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let said = self.program(&cargo, arguments, b"")?;
        ensure!(
            said.code == 0,
            "`cargo {}` ended with {}:\n{}{}",
            arguments.join(" "),
            said.code,
            said.out,
            said.error
        );
        Ok(said.out)
    }
}
