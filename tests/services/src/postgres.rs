//! A real PostgreSQL on loopback, with one role that owns tables and one that a server logs in as.
//!
//! PostgreSQL refuses to run as root, and so as the user `postgres` where the tests do. Its locale sorts names as people do and not by
//! bytes, so that a query which leans on the order of bytes without saying so is found out.
//! Must never: outlive the process that started it, or listen on anything but 127.0.0.1.

use crate::ports::free;
use crate::spawner::spawn;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The superuser.
pub const POSTGRES_ADMIN: &str = "admin";
/// The role that owns tables, and may make databases.
pub const POSTGRES_OWNER: &str = "bulkhead_owner";
/// The role that a server logs in as, which owns nothing.
pub const POSTGRES_SERVER: &str = "bulkhead";
/// The password of them all.
pub const POSTGRES_PASSWORD: &str = "pg-test-secret";

const POLL: Duration = Duration::from_millis(20);
const START_TIMEOUT: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running PostgreSQL. It keeps its databases over a stop and a start.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    child: Option<Child>,
}

impl Postgres {
    /// Starts one with both roles and no database of theirs.
    ///
    /// # Errors
    /// Where it is not installed or does not start.
    pub fn start() -> Result<Self> {
        let programs = crate::install::postgres()?;
        // SAFETY: geteuid only reads.
        let root = unsafe { libc::geteuid() } == 0;
        let user = if root { Some(ids_of("postgres")?) } else { None };
        let folder = folder(user)?;
        let mut server = Self { programs, folder, user, port: free(1)[0], child: None };
        server.make()?;
        server.resume()?;
        for role in [
            format!("CREATE ROLE {POSTGRES_OWNER} LOGIN CREATEDB PASSWORD '{POSTGRES_PASSWORD}'"),
            format!("CREATE ROLE {POSTGRES_SERVER} LOGIN PASSWORD '{POSTGRES_PASSWORD}'"),
        ] {
            server.run("postgres", &role)?;
        }
        Ok(server)
    }

    /// Makes a database that belongs to the owner, as a copy of `template` where one is named.
    ///
    /// # Errors
    /// Where PostgreSQL refuses it.
    pub fn database(&self, name: &str, template: Option<&str>) -> Result<()> {
        let from = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        self.run("postgres", &format!("CREATE DATABASE {name} OWNER {POSTGRES_OWNER}{from}")).map(drop)
    }

    /// Deletes a database and ends who uses it.
    ///
    /// # Errors
    /// Where PostgreSQL refuses it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        self.run("postgres", &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).map(drop)
    }

    /// The address of a database for a role.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{POSTGRES_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL as the superuser, whom no policy binds, and gives the rows: columns between `|`.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn run(&self, database: &str, sql: &str) -> Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.url(POSTGRES_ADMIN, database))
            .args(["-c", sql])
            .stdin(Stdio::null())
            .output()
            .context("cannot run psql")?;
        ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Where all its files are.
    pub fn files(&self) -> &Path {
        &self.folder
    }

    /// Kills it, with all its processes: connections break, nothing answers.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SIGQUIT is PostgreSQL's immediate shutdown: as a crash, but it takes its children along.
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGQUIT) };
        let _ = child.wait();
    }

    /// Starts it again, with the databases that it had.
    ///
    /// # Errors
    /// Where it does not answer within a minute.
    pub fn resume(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.folder.join("data")).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "shared_buffers=64MB",
            "max_connections=300",
            "full_page_writes=off",
            "dynamic_shared_memory_type=mmap",
        ] {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("unix_socket_directories={}", self.folder.display()));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(spawn(command).context("cannot run PostgreSQL")?);
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended with {status}; see the file log in {}", self.folder.display());
            }
            if Instant::now() > until {
                bail!("PostgreSQL did not start within {START_TIMEOUT:?}");
            }
            sleep(POLL);
        }
        while let Err(error) = self.run("postgres", "SELECT 1") {
            if Instant::now() > until {
                return Err(error.context("PostgreSQL did not let the superuser in"));
            }
            sleep(POLL);
        }
        Ok(())
    }

    fn make(&self) -> Result<()> {
        let password = self.folder.join("password");
        fs::write(&password, POSTGRES_PASSWORD)?;
        if let Some((user, group)) = self.user {
            chown(&password, Some(user), Some(group))?;
        }
        let mut command = self.program("initdb");
        command.arg("-D").arg(self.folder.join("data")).arg(format!("--pwfile={}", password.display()));
        command.args(["-U", POSTGRES_ADMIN, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        command.args(["--locale-provider=icu", "--icu-locale=en-US"]);
        let output = command.stdin(Stdio::null()).output().context("cannot run initdb")?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.folder);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
        // A test that fails wants the log.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A new folder that the user may reach: not below the target folder, which may lie in a home that only its owner may enter. What
/// earlier processes left when they were killed goes now.
fn folder(user: Option<(u32, u32)>) -> Result<PathBuf> {
    let base = std::env::temp_dir();
    for entry in fs::read_dir(&base)?.flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("bulkhead-postgres-")?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = base.join(format!("bulkhead-postgres-{}-{number}", std::process::id()));
    // A folder of this name can only be a dead process's, whose id this one was given again.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if let Some((user, group)) = user {
        chown(&folder, Some(user), Some(group))?;
    }
    Ok(folder)
}

/// The numbers of a user and its group.
fn ids_of(user: &str) -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.split(':').next() == Some(user));
    let mut fields = line
        .with_context(|| format!("there is no user `{user}`, which the package postgresql makes"))?
        .split(':')
        .skip(2);
    let mut number =
        || fields.next().and_then(|field| field.parse().ok()).context("/etc/passwd is not as it should be");
    Ok((number()?, number()?))
}
