//! A real Prometheus on loopback, which scrapes what a test runs, with the rules that operators are given.
//!
//! Must never: outlive the process that started it, listen on anything but 127.0.0.1, or scrape what it was not told of.

use crate::folder::RunFolder;
use crate::install;
use crate::ports::free;
use crate::spawner::spawn;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    child: Child,
    _folder: RunFolder,
}

impl Prometheus {
    /// Starts one that scrapes these URLs of metrics each second, as the job `bulkhead`, with the rules of a folder.
    ///
    /// # Errors
    /// Where it cannot be had, or does not start.
    pub fn start(targets: &[&str], rules: &Path) -> Result<Self> {
        let programs = install::prometheus()?;
        let folder = RunFolder::new()?;
        let mut config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}/*.yml']\nscrape_configs:\n  - job_name: \
             bulkhead\n    static_configs:\n",
            rules.display()
        );
        for target in targets {
            let address = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
            writeln!(config, "      - targets: ['{address}']")?;
        }
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config)?;
        let port = free(1)[0];
        let log = File::create(folder.path().join("prometheus.log"))?;
        let mut command = Command::new(programs.join("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn(command).context("cannot run Prometheus")?;
        let mut server = Self { port, child, _folder: folder };
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("Prometheus ended with {status}");
            }
            if Instant::now() > until {
                bail!("Prometheus did not start within {START_TIMEOUT:?}");
            }
            sleep(POLL);
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
