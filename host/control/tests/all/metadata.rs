//! Which database a test's server keeps its metadata in.
//!
//! Must never: let two tests share a database.

use bulkhead_control::{ControlConfig, migrate_database};
use bulkhead_test_services::{Postgres, ScratchDatabase};
use tokio::sync::OnceCell;

/// The metadata of one test's server, over its restarts.
pub(crate) enum Metadata {
    /// A file in the data folder.
    File,
    /// PostgreSQL.
    Postgres(ScratchDatabase),
}

/// A database whose tables are made, to be copied: that takes a tenth of making them.
static TEMPLATE: OnceCell<()> = OnceCell::const_new();
const TEMPLATE_NAME: &str = "prepared";

impl Metadata {
    /// That of the binary that runs.
    pub(crate) async fn new() -> Self {
        match env!("CARGO_CRATE_NAME") {
            "all" => Self::File,
            "postgres" => Self::Postgres(prepared().await),
            other => panic!("`{other}` does not say where its metadata is"),
        }
    }

    pub(crate) fn set(&self, config: &mut ControlConfig) {
        if let Self::Postgres(database) = self {
            config.database_url_file = Some(database.server_url_file());
        }
    }

    /// Whether it is in the data folder.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File)
    }
}

/// A database that the server's role can use.
pub(crate) async fn prepared() -> ScratchDatabase {
    TEMPLATE.get_or_init(make_template).await;
    ScratchDatabase::new(Some(TEMPLATE_NAME)).expect("a copy of the prepared database")
}

async fn make_template() {
    let first = ScratchDatabase::new(None).expect("a database");
    let mut config = ControlConfig::new("unused");
    config.database_url_file = Some(first.server_url_file());
    config.database_owner_url_file = Some(first.owner_url_file());
    migrate_database(&config).await.expect("the owner makes the tables");
    Postgres::shared().database(TEMPLATE_NAME, Some(&first.name)).expect("a template");
}
