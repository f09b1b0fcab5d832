//! A host to test against: one process with control, a folder, and workers where a test wants more.
//!
//! Must never: take a token from anywhere but `bulkhead token`, as an operator would.

use crate::api::{Control, Tenant};
use crate::folder::Folder;
use crate::process::{Process, Role, Serve};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A process that has control, with its folder. It ends, and the folder goes, with this value.
#[derive(Debug)]
pub struct Host {
    serve: Serve,
    process: Option<Process>,
    url: String,
    // Last, so that the processes are gone when it is removed.
    folder: Folder,
}

impl Host {
    /// Starts one: [`Serve::all`] or [`Serve::control`].
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(serve: Serve) -> Result<Self> {
        Self::start_in(serve, Folder::new("host")?)
    }

    /// The same in a folder that the caller has put things into.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_in(serve: Serve, folder: Folder) -> Result<Self> {
        let mut host = Self { serve, process: None, url: String::new(), folder };
        host.start_again()?;
        Ok(host)
    }

    /// Starts the process again after [`Host::stop`] or [`Host::kill9`], at the same address.
    ///
    /// # Errors
    /// Where it does not start, or still runs.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the host runs");
        }
        let process = self.serve.start(&self.data_dir(), self.folder.path())?;
        process.api()?.clone_into(&mut self.url);
        self.serve.listen = self.url.trim_start_matches("http://").to_owned();
        self.process = Some(process);
        Ok(())
    }

    /// Drains and ends the process.
    ///
    /// # Errors
    /// Where it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("the host does not run")?.stop()
    }

    /// Kills the process at once.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// The process.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the host does not run")
    }

    /// The process, to wait for its end.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn process_mut(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the host does not run")
    }

    /// The folder with the data folder and the logs.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Keeps the folder when this value goes, and says where it is.
    pub fn keep_folder(&mut self) -> PathBuf {
        self.folder.keep()
    }

    /// The process's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where the API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Mints a token with this role, for this tenant where the role is a tenant's.
    ///
    /// # Errors
    /// Where `bulkhead token` refuses.
    pub fn token(&self, role: &str, tenant: Option<&str>) -> Result<String> {
        self.token_for(role, tenant, 3 * 3600)
    }

    /// [`Host::token`] that lives so many seconds.
    ///
    /// # Errors
    /// As [`Host::token`].
    pub fn token_for(&self, role: &str, tenant: Option<&str>, life_s: u64) -> Result<String> {
        let role = ["--role", role, "--subject", "test", "--life-s", &life_s.to_string()];
        self.minted(&[&role[..], &tenant.map(|tenant| ["--tenant", tenant]).unwrap_or_default()].concat())
    }

    /// The token of a worker in this slot: of the pool, or of one tenant.
    ///
    /// # Errors
    /// As [`Host::token`].
    pub fn worker_token(&self, slot: &str, tenant: Option<&str>) -> Result<String> {
        let role = ["--role", "worker", "--slot", slot, "--life-s", "10800"];
        self.minted(&[&role[..], &tenant.map(|tenant| ["--tenant", tenant]).unwrap_or_default()].concat())
    }

    fn minted(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(crate::bulkhead()?);
        command.args(["token", "--data-dir"]).arg(self.data_dir());
        command.args(arguments.iter().filter(|argument| !argument.is_empty()));
        let output = command.output().context("cannot run bulkhead")?;
        if !output.status.success() {
            bail!("`bulkhead token` failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The API with a platform admin's token.
    ///
    /// # Errors
    /// As [`Host::token`].
    pub fn admin(&self) -> Result<Control> {
        Control::new(&self.url, &self.token("platform-admin", None)?)
    }

    /// The API with a token of this role of this tenant, which is there already.
    ///
    /// # Errors
    /// As [`Host::token`].
    pub fn tenant_as(&self, tenant: &str, role: &str) -> Result<Tenant> {
        Ok(Control::new(&self.url, &self.token(role, Some(tenant))?)?.tenant(tenant))
    }

    /// Makes a tenant and gives the API with its admin's token.
    ///
    /// # Errors
    /// Where control refuses.
    pub fn tenant(&self, tenant: &str) -> Result<Tenant> {
        self.admin()?.create_tenant(tenant)?;
        self.tenant_as(tenant, "tenant-admin")
    }

    /// How to start a worker alone in this slot: it knows its control, its token file and this host's Kafka. Start it with
    /// [`Host::start_worker`].
    ///
    /// # Errors
    /// Where its token cannot be made or written.
    pub fn worker(&self, slot: &str) -> Result<Serve> {
        let path = self.folder.join(format!("{slot}.token"));
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(self.worker_token(slot, None)?.as_bytes())?;
        let serve = Serve::worker(slot);
        let serve = match self.serve.login() {
            Some(login) => serve.kafka(login),
            None => serve,
        };
        Ok(serve.argument("--control-url").argument(&self.url).argument("--token-file").argument(path))
    }

    /// Starts a worker with a data folder of its slot's own, which stays when the process goes.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_worker(&self, serve: &Serve) -> Result<Process> {
        if serve.role != Role::Worker {
            bail!("that is no worker");
        }
        serve.start(&self.folder.join(format!("worker-{}", serve.slot)), self.folder.path())
    }
}
