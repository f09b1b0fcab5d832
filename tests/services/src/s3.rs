//! A real S3 server on loopback: versitygw over a folder.
//!
//! Must never: outlive the process that started it, or listen on anything but 127.0.0.1.

use crate::folder::RunFolder;
use crate::ports::free;
use crate::spawner::spawn;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The server's own account.
pub const S3_USER: &str = "s3root";
/// Its password.
pub const S3_PASSWORD: &str = "s3root-secret";
/// The bucket that is there from the start.
pub const S3_BUCKET: &str = "bulkhead";

const POLL: Duration = Duration::from_millis(20);
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running S3 server. It keeps its objects over a stop and a start.
#[derive(Debug)]
pub struct S3 {
    program: PathBuf,
    port: u16,
    child: Option<Child>,
    // After the child, which writes into it.
    folder: RunFolder,
}

impl S3 {
    /// Starts one with an empty bucket [`S3_BUCKET`].
    ///
    /// # Errors
    /// Where it cannot be installed or started.
    pub fn start() -> Result<Self> {
        let program = crate::install::s3()?;
        let folder = RunFolder::new()?;
        let port = free(1)[0];
        // A bucket is a folder there.
        fs::create_dir_all(folder.path().join("data").join(S3_BUCKET))?;
        fs::create_dir_all(folder.path().join("iam"))?;
        let mut server = Self { program, port, child: None, folder };
        server.resume()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `bulkhead serve --buckets` is given.
    pub fn buckets(&self) -> String {
        format!("s3://{S3_BUCKET}?endpoint={}&region=us-east-1", self.endpoint())
    }

    /// Where its objects are files.
    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("data").join(S3_BUCKET)
    }

    /// Kills it: connections break, nothing answers.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with the objects that it had.
    ///
    /// # Errors
    /// Where it does not answer within a minute.
    pub fn resume(&mut self) -> Result<()> {
        let log = File::create(self.folder.path().join("s3.log"))?;
        let mut command = Command::new(&self.program);
        command.args(["-p", &format!("127.0.0.1:{}", self.port), "--iam-dir"]).arg(self.folder.path().join("iam"));
        command.args(["--health", "/health", "--quiet", "posix"]).arg(self.folder.path().join("data"));
        command.env("ROOT_ACCESS_KEY", S3_USER).env("ROOT_SECRET_KEY", S3_PASSWORD);
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(spawn(command).context("cannot run the S3 server")?);
        let until = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("the S3 server ended with {status}; see s3.log in {}", self.folder.path().display());
            }
            if Instant::now() > until {
                bail!("the S3 server did not start within {START_TIMEOUT:?}");
            }
            sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}
