//! A real Keycloak on loopback, with the realms of the files that it is given.
//!
//! Its program is the Java that `kc.sh` would start, without the shell between: so a signal meets it, and it dies with this process.
//! Must never: outlive the process that started it, or listen on anything but 127.0.0.1.

use crate::folder::RunFolder;
use crate::ports::free;
use crate::spawner::spawn;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The administrator of the realm `master`.
pub const KEYCLOAK_ADMIN: &str = "admin";
/// Its password.
pub const KEYCLOAK_PASSWORD: &str = "admin-secret";

/// It starts in about 20 seconds on a quiet machine; a busy one may take much longer.
const START_TIMEOUT: Duration = Duration::from_secs(300);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What `kc.sh` gives Java, with a small heap and the first compiler only: tests want a quick start and little memory.
const JAVA: [&str; 15] = [
    "-Xms64m",
    "-Xmx512m",
    "-XX:MaxMetaspaceSize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dfile.encoding=UTF-8",
    "-Duser.language=en",
    "-Duser.country=US",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.security=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
    "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
];

/// A running Keycloak. It keeps what it knows over a stop and a start.
#[derive(Debug)]
pub struct Keycloak {
    home: PathBuf,
    port: u16,
    child: Option<Child>,
    // After the child, which writes into it.
    folder: RunFolder,
}

impl Keycloak {
    /// Starts one that imports this realm.
    ///
    /// # Errors
    /// Where it cannot be installed or started.
    pub fn start(realm: &Path) -> Result<Self> {
        let home = crate::install::keycloak()?;
        let folder = RunFolder::new()?;
        // Its data are of this run; the program is shared.
        for part in ["bin", "lib", "conf", "providers", "themes"] {
            symlink(home.join(part), folder.path().join(part))?;
        }
        let import = folder.path().join("data/import");
        fs::create_dir_all(&import)?;
        fs::copy(realm, import.join("realm.json")).with_context(|| format!("cannot read {}", realm.display()))?;
        let mut keycloak = Self { home, port: free(1)[0], child: None, folder };
        keycloak.resume()?;
        Ok(keycloak)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The issuer of a realm.
    pub fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.url())
    }

    /// Stops it in order, so that it keeps what it knows.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = libc::pid_t::try_from(child.id()).context("a process id fits")?;
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let until = Instant::now() + STOP_TIMEOUT;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("Keycloak did not stop within {STOP_TIMEOUT:?}");
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Starts it again at the same address.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn resume(&mut self) -> Result<()> {
        let log = self.folder.path().join("keycloak.log");
        let out = File::create(&log)?;
        let folder = self.folder.path();
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .arg(format!("-Dkc.home.dir={}", folder.display()))
            .arg(format!("-Djboss.server.config.dir={}", folder.join("conf").display()))
            .arg("-cp")
            .arg(self.home.join("lib/quarkus-run.jar"))
            .args(["io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized", "--import-realm"])
            // Without `--cache=local`, it would listen for others of its kind on all addresses.
            .args(["--cache=local", "--http-enabled=true", "--http-host=127.0.0.1"])
            .arg(format!("--http-port={}", self.port))
            .arg(format!("--hostname={}", self.url()))
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", KEYCLOAK_ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", KEYCLOAK_PASSWORD)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = self.child.insert(spawn(command).context("cannot run java")?);
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("Listening on:") {
                return Ok(());
            }
            let last: Vec<&str> = said.lines().rev().take(8).collect();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            if let Some(status) = child.try_wait()? {
                bail!("Keycloak ended with {status} while it started:\n{last}");
            }
            if Instant::now() > until {
                bail!("Keycloak did not start within {START_TIMEOUT:?}:\n{last}");
            }
            sleep(POLL);
        }
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
