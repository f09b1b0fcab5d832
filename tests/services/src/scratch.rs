//! A database for one test, on a PostgreSQL that all tests of a process share.
//!
//! Must never: leave a database behind, which would fill the disk over a few hundred tests.

use crate::postgres::{POSTGRES_OWNER, POSTGRES_SERVER, Postgres};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static SHARED: OnceLock<Postgres> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Postgres {
    /// The one that all tests of this process share; started with the first that asks.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::start().expect("PostgreSQL starts"))
    }
}

/// A database on [`Postgres::shared`], dropped with this value.
#[derive(Debug)]
pub struct ScratchDatabase {
    /// Its name.
    pub name: String,
    folder: tempfile::TempDir,
}

impl ScratchDatabase {
    /// Makes one, as a copy of `template` where one is named.
    ///
    /// # Errors
    /// Where PostgreSQL refuses it, or the files with its addresses cannot be written.
    pub fn new(template: Option<&str>) -> Result<Self> {
        let server = Postgres::shared();
        let name = format!("scratch_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.database(&name, template)?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("server"), server.url(POSTGRES_SERVER, &name))?;
        fs::write(folder.path().join("owner"), server.url(POSTGRES_OWNER, &name))?;
        Ok(Self { name, folder })
    }

    /// The file with the server's address.
    pub fn server_url_file(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// The file with the owner's address.
    pub fn owner_url_file(&self) -> PathBuf {
        self.folder.path().join("owner")
    }

    /// Runs SQL in it as the superuser.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn run(&self, sql: &str) -> Result<String> {
        Postgres::shared().run(&self.name, sql)
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        // A server that is gone has taken its databases along.
        let _ = Postgres::shared().drop_database(&self.name);
    }
}
