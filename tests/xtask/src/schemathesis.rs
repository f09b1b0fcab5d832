//! Requests that nobody would write: schemathesis makes them from the API's own description, and a host must answer each
//! without a 5xx.
//!
//! The host is a real one on a folder of its own, with a tenant, its topics and a pipeline, so that names which are there are
//! met too. What is sent is the same each time, by a fixed seed.
//! Must never: leave the host running, or call a run good in which nothing was sent.

use crate::command::{cargo, program, target};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

const PACKAGE: &str = "schemathesis==4.32.5";
/// Requests that are made up for each operation and phase.
const EXAMPLES: &str = "25";
const SEED: &str = "7";
const TENANT: &str = "acme";

/// Runs it; `arguments` are schemathesis's own and come last.
///
/// # Errors
/// Where a request was answered with a 5xx, or something did not start.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let folder = target().join("schemathesis");
    let tool = install(&folder)?;
    cargo(["build", "--workspace", "--bin", "bulkhead"]).run()?;
    let host = Host::start(&folder)?;
    let admin = host.token("platform-admin", None)?;
    host.post(&admin, "/api/v1/tenants", &format!(r#"{{"name":"{TENANT}"}}"#))?;
    let token = host.token("tenant-admin", Some(TENANT))?;
    for topic in ["in", "out"] {
        host.post(&token, &format!("/api/v1/tenants/{TENANT}/topics"), &format!(r#"{{"name":"{topic}"}}"#))?;
    }
    // First names that are there, so that more is reached than 404s; then any names; then those of the platform's own.
    let there =
        "\"path.project\" = \"default\"\n\"path.topic\" = \"in\"\n\"path.module\" = \"m\"\n\"path.pipeline\" = \"p\"\n";
    for (what, token, names) in
        [("names that are there", &token, there), ("any names", &token, ""), ("the platform's admin", &admin, "")]
    {
        println!("schemathesis: {what}");
        let config = folder.join("schemathesis.toml");
        let headers = format!("headers = {{ Authorization = \"Bearer {token}\" }}\n");
        fs::write(&config, format!("{headers}[parameters]\n\"path.tenant\" = \"{TENANT}\"\n{names}"))?;
        program(&tool)
            .folder(&folder)
            .arg("--config-file")
            .arg(&config)
            .arg("run")
            .arg(format!("{}/api/v1/openapi.json", host.url))
            .args(["--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"])
            .args(["--max-examples", EXAMPLES, "--seed", SEED, "--request-timeout", "60", "--warnings", "off"])
            // The tenant is still needed, and so is the server's time: a long poll is a worker's.
            .args(["--exclude-path", "/internal/v1/assignment", "--continue-on-failure"])
            .args(["--suppress-health-check", "all"])
            .args(arguments)
            .run()
            .context("schemathesis found what it should not, or did not run; see above")?;
        host.is_alive()?;
    }
    println!("schemathesis: no 5xx");
    Ok(())
}

/// Puts the tool into a folder of its own, unless it is there.
fn install(folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let tool = venv.join("bin/schemathesis");
    let (_, version) = PACKAGE.split_once("==").unwrap_or_default();
    if program(&tool).arg("--version").says().is_some_and(|said| said.contains(version)) {
        return Ok(tool);
    }
    fs::create_dir_all(folder)?;
    program("python3").args(["-m", "venv"]).arg(&venv).run()?;
    program(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", PACKAGE]).run()?;
    Ok(tool)
}

/// A host that runs while this value lives.
struct Host {
    process: Child,
    data: PathBuf,
    url: String,
    /// What the host says: with nobody to read it, its next line would end it.
    _said: Option<BufReader<ChildStdout>>,
}

impl Host {
    fn start(folder: &Path) -> Result<Self> {
        let data = folder.join("data");
        let _ = fs::remove_dir_all(&data);
        let log = fs::File::create(folder.join("host.log"))?;
        let mut process = program(target().join("debug/bulkhead"))
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .into_std()
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot run the host that was just built")?;
        let said = process.stdout.take().context("the host has no output")?;
        let mut host = Self { process, data, url: String::new(), _said: None };
        let (mut said, mut line) = (BufReader::new(said), String::new());
        while said.read_line(&mut line)? > 0 {
            if let Some(url) = line.trim_end().strip_prefix("bulkhead: API on ") {
                url.clone_into(&mut host.url);
                host._said = Some(said);
                return Ok(host);
            }
            line.clear();
        }
        bail!("the host ended before it served; see {}", folder.join("host.log").display())
    }

    fn token(&self, role: &str, tenant: Option<&str>) -> Result<String> {
        let mut command = program(target().join("debug/bulkhead"))
            .args(["token", "--role", role, "--subject", "schemathesis", "--life-s", "7200", "--data-dir"])
            .arg(&self.data);
        if let Some(tenant) = tenant {
            command = command.args(["--tenant", tenant]);
        }
        Ok(command.output()?.trim().to_owned())
    }

    /// A small request: this crate has no client of HTTP, so that it builds in seconds.
    fn post(&self, token: &str, path: &str, body: &str) -> Result<()> {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 201") {
            bail!("{path} was refused: {answer}");
        }
        Ok(())
    }

    fn is_alive(&self) -> Result<()> {
        TcpStream::connect(self.url.trim_start_matches("http://")).context("the host is gone")?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It is ours, and its folder is thrown away.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
