//! A real browser without a window: Chromium, driven by chromedriver over WebDriver's plain HTTP.
//!
//! Only the process is here; who uses it speaks to [`Browser::url`].
//! Must never: outlive the process that started it, or ask anything of the network that a test did not ask for.

use crate::folder::RunFolder;
use crate::ports::free;
use crate::spawner::spawn;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// What Chromium is started with. The pipe ends it with its driver, however that ends.
const CHROMIUM: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
];

/// A running chromedriver.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    child: Child,
    folder: RunFolder,
}

impl Browser {
    /// Starts the driver; a browser comes with a session.
    ///
    /// # Errors
    /// Where it is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let folder = RunFolder::new()?;
        let port = free(1)[0];
        let log = File::create(folder.path().join("chromedriver.log"))?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn(command).context("cannot run chromedriver (Debian packages chromium and chromium-driver)")?;
        let mut browser = Self { port, child, folder };
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = browser.child.try_wait()? {
                bail!("chromedriver ended with {status}");
            }
            if Instant::now() > until {
                bail!("chromedriver did not start within {START_TIMEOUT:?}");
            }
            sleep(POLL);
        }
        Ok(browser)
    }

    /// Where the driver listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The arguments of a browser with a profile of its own.
    pub fn arguments(&self) -> Vec<String> {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        CHROMIUM.iter().map(|argument| (*argument).to_owned()).chain([profile]).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
