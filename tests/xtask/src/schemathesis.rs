//! Requests that nobody would write: schemathesis makes them from the API's own description, and a host must answer each without a 5xx,
//! and as the description says.
//!
//! The host is a real one on a folder of its own, with two tenants, their topics, a module and a pipeline each, so that names which are
//! there are met too. Everything that a tenant wrote holds its marker, and no answer to the other may hold it (`markers.py`). What is sent is the same each time, by a fixed seed. The tool and all that it needs come from PyPI into a folder below
//! `target`, each in the version of `schemathesis.txt`.
//! Must never: leave the host running, or call a run good in which nothing was sent.

use crate::command::{Program, cargo, program, root, target};
use crate::tally::Tally;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

/// The tool and what it needs, with versions.
const REQUIREMENTS: &str = include_str!("schemathesis.txt");
/// What is asked of every answer.
const CHECKS: &str = "not_a_server_error,response_schema_conformance,content_type_conformance,another_tenants_marker";
/// The check of markers, which is ours.
const MARKERS: &str = include_str!("markers.py");
/// Requests that are made up for each operation, beside those for each rule of its parameters.
const EXAMPLES: &str = "3";
/// The same by hand, where there is more time.
const EXAMPLES_BY_HAND: &str = "25";
const SEED: &str = "7";
/// The example whose stage and pipeline are there.
const PIPELINE: &str = "weather";
/// The tenants.
const TENANTS: [&str; 2] = ["acme", "globex"];

/// What is in everything that a tenant wrote.
fn marker(tenant: &str) -> String {
    format!("zq{tenant}zq")
}

/// Who asks, and for what.
struct Asker {
    what: &'static str,
    role: &'static str,
    /// Whose token it is; the platform's own where there is none.
    tenant: Option<&'static str>,
    /// The tenant in paths.
    asks: &'static str,
    /// Names in paths that are not made up, as lines of schemathesis's configuration.
    names: &'static str,
    /// Whether what the tenant wrote must be met.
    meets: bool,
}

/// Names of what is there.
const NAMES: &str = "\"path.project\" = \"default\"\n\"path.topic\" = \"weather\"\n\"path.module\" = \"weather-alerts\"\n\
                     \"path.pipeline\" = \"weather\"\n";

/// First names that are there, so that more is reached than 404s; then any names; then either tenant with its token in the other's paths;
/// then the platform's own.
const ASKERS: [Asker; 6] = [
    Asker {
        what: "acme, names that are there",
        role: "tenant-admin",
        tenant: Some("acme"),
        asks: "acme",
        names: NAMES,
        meets: true,
    },
    Asker {
        what: "acme, any names",
        role: "tenant-admin",
        tenant: Some("acme"),
        asks: "acme",
        names: "",
        meets: false,
    },
    Asker {
        what: "globex, names that are there",
        role: "tenant-admin",
        tenant: Some("globex"),
        asks: "globex",
        names: NAMES,
        meets: true,
    },
    Asker {
        what: "acme in globex's paths",
        role: "tenant-admin",
        tenant: Some("acme"),
        asks: "globex",
        names: NAMES,
        meets: false,
    },
    Asker {
        what: "globex in acme's paths",
        role: "tenant-admin",
        tenant: Some("globex"),
        asks: "acme",
        names: NAMES,
        meets: false,
    },
    Asker { what: "the platform's admin", role: "platform-admin", tenant: None, asks: "acme", names: "", meets: false },
];

/// Runs it with more requests; `arguments` are schemathesis's own and come last.
///
/// # Errors
/// Where an answer was not as it must be, or something did not start.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    crate::wasm::build()?;
    cargo(["build", "--workspace", "--all-targets"]).run()?;
    let told = ask(&[&["--max-examples", EXAMPLES_BY_HAND], arguments].concat())?;
    ensure!(told.failed == 0, "schemathesis found what it should not; see above");
    println!("schemathesis: every answer was as the description says");
    Ok(())
}

/// Runs it as a step of the tests, on the host and the stages that were built: each asker is one test.
///
/// # Errors
/// Where something did not start. Answers that are not as they must be are no error here: they are counted.
pub(crate) fn test() -> Result<Tally> {
    ask(&["--max-examples", EXAMPLES])
}

fn ask(arguments: &[&str]) -> Result<Tally> {
    let folder = target().join("schemathesis");
    let tool = install(&folder)?;
    let host = Host::start(&folder)?;
    host.prepare()?;
    let mut tally = Tally::default();
    for asker in &ASKERS {
        println!("schemathesis: {}", asker.what);
        let well = asker.ask(&tool, &folder, &host, arguments)?;
        host.is_alive()?;
        *(if well { &mut tally.passed } else { &mut tally.failed }) += 1;
    }
    Ok(tally)
}

impl Asker {
    /// Returns whether every answer was as it must be. What was found is shown, each with a command that asks it again.
    fn ask(&self, tool: &Path, folder: &Path, host: &Host, arguments: &[&str]) -> Result<bool> {
        let token = host.token(self.role, self.tenant)?;
        // Of the platform's own, whose admins see names only, neither.
        let foreign: Vec<_> = TENANTS.into_iter().filter(|of| self.tenant != Some(of)).map(marker).collect();
        let own = self.tenant.filter(|_| self.meets).map(marker).unwrap_or_default();
        let hooks = folder.join("markers.py");
        fs::write(&hooks, MARKERS)?;
        let (config, report) = (folder.join("schemathesis.toml"), folder.join("report.xml"));
        let headers = format!("hooks = {hooks:?}\nheaders = {{ Authorization = \"Bearer {token}\" }}\n");
        fs::write(&config, format!("{headers}[parameters]\n\"path.tenant\" = \"{}\"\n{}", self.asks, self.names))?;
        // What an earlier run left would look like an answer to this one.
        let _ = fs::remove_file(&report);
        let asked = program(tool)
            .folder(folder)
            .env("BULKHEAD_FOREIGN_MARKERS", foreign.join(" "))
            .env("BULKHEAD_OWN_MARKER", own)
            .arg("--config-file")
            .arg(&config)
            .arg("run")
            .arg(format!("{}/api/v1/openapi.json", host.url))
            .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--seed", SEED])
            .args(["--request-timeout", "60", "--warnings", "off", "--suppress-health-check", "all"])
            // The tenant is still needed, and so is the server's time: a long poll is a worker's.
            .args(["--exclude-path", "/internal/v1/assignment", "--continue-on-failure"])
            .arg("--report-junit-path")
            .arg(&report)
            .args(arguments)
            .run();
        let answered = fs::read_to_string(&report).context("schemathesis did not run; see above")?;
        ensure!(answered.contains("<testcase"), "schemathesis sent nothing");
        if let Err(error) = &asked {
            println!("schemathesis: {}: {error:#}", self.what);
        }
        Ok(asked.is_ok())
    }
}

/// Puts the tool into a folder of its own, unless it is there as it should be.
fn install(folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let (tool, installed) = (venv.join("bin/schemathesis"), folder.join("installed.txt"));
    if fs::read_to_string(&installed).is_ok_and(|known| known == REQUIREMENTS)
        && program(&tool).arg("--version").succeeds()
    {
        return Ok(tool);
    }
    fs::create_dir_all(folder)?;
    program("python3").args(["-m", "venv", "--clear"]).arg(&venv).run()?;
    let requirements = root().join("tests/xtask/src/schemathesis.txt");
    let pip = program(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg("--requirement").arg(requirements).run()?;
    fs::write(&installed, REQUIREMENTS)?;
    Ok(tool)
}

/// A host that runs while this value lives.
struct Host {
    process: Child,
    data: PathBuf,
    url: String,
    /// What the host says: with nobody to read it, its next line would go nowhere.
    _said: Option<BufReader<ChildStdout>>,
}

impl Host {
    fn start(folder: &Path) -> Result<Self> {
        let data = folder.join("data");
        let _ = fs::remove_dir_all(&data);
        let log = fs::File::create(folder.join("host.log"))?;
        let mut process = bulkhead()
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

    /// Makes the tenants with their topics, modules and pipelines, and a marker in every text that a tenant can write.
    fn prepare(&self) -> Result<()> {
        let admin = self.token("platform-admin", None)?;
        let component = crate::wasm::folder().join("weather_alerts.wasm");
        let manifest = root().join("examples").join(PIPELINE).join("pipeline.yaml");
        for tenant in TENANTS {
            let marker = marker(tenant);
            self.command(&admin, &["tenant", "create", tenant])?;
            let token = self.token("tenant-admin", Some(tenant))?;
            let command = |words: &[&str]| self.command(&token, words);
            for topic in ["weather", "weather-alerts", "weather-dead"] {
                command(&["topic", "create", topic])?;
            }
            command(&["module", "push", &component.to_string_lossy(), "weather-alerts:v1"])?;
            command(&["pipeline", "apply", "-f", &manifest.to_string_lossy(), "--wait"])?;
            command(&["project", "create", "shop", "--description", &marker])?;
            command(&["access", "roles", "put", "reader", "--action", "topics.read", "--description", &marker])?;
            command(&["access", "grant", "reader", "--user", &marker])?;
            // No weather: the stage cannot handle it, so that it is in a dead letter too.
            let records = self.data.join("records");
            fs::write(&records, format!("{marker}\n"))?;
            let file = records.to_string_lossy();
            command(&["produce", "weather", "--file", &file, "--key", &marker, "--header", &format!("h={marker}")])?;
        }
        Ok(())
    }

    fn token(&self, role: &str, tenant: Option<&str>) -> Result<String> {
        let mut command = bulkhead()
            .args(["token", "--role", role, "--subject", "schemathesis", "--life-s", "7200", "--data-dir"])
            .arg(&self.data);
        if let Some(tenant) = tenant {
            command = command.args(["--tenant", tenant]);
        }
        Ok(command.output()?.trim().to_owned())
    }

    fn command(&self, token: &str, words: &[&str]) -> Result<()> {
        bulkhead()
            .args(words)
            // Nothing of this machine's own settings.
            .args(["--config", "/dev/null", "--server", &self.url])
            .env("BULKHEAD_TOKEN", token)
            .run()
    }

    fn is_alive(&self) -> Result<()> {
        TcpStream::connect(self.url.trim_start_matches("http://")).context("the host is gone")?;
        Ok(())
    }
}

fn bulkhead() -> Program {
    program(target().join("debug/bulkhead"))
}

impl Drop for Host {
    fn drop(&mut self) {
        // It is ours, and its folder is thrown away.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
