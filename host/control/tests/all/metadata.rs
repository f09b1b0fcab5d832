//! Which database a test's server keeps its metadata in.
//!
//! Must never: let two tests share a database.

use bulkhead_control::{ControlConfig, MetadataPlacement, migrate_database};
use bulkhead_core::scope::TenantScope;
use bulkhead_test_services::{Postgres, ScratchDatabase};
use tokio::sync::OnceCell;

/// The metadata of one test's server, over its restarts.
pub(crate) enum Metadata {
    /// A file in the data folder.
    File,
    /// PostgreSQL, and where in it.
    Postgres(ScratchDatabase, MetadataPlacement),
}

/// A database whose tables are made, to be copied: that takes a tenth of making them.
static TEMPLATE: OnceCell<()> = OnceCell::const_new();
const TEMPLATE_NAME: &str = "prepared";

impl Metadata {
    /// That of the binary that runs.
    pub(crate) async fn new() -> Self {
        match env!("CARGO_CRATE_NAME") {
            "all" => Self::File,
            "postgres" => Self::Postgres(prepared().await, MetadataPlacement::Shared),
            "own_schema" => Self::Postgres(prepared().await, MetadataPlacement::Schema),
            "own_database" => Self::Postgres(prepared().await, MetadataPlacement::Database),
            other => panic!("`{other}` does not say where its metadata is"),
        }
    }

    pub(crate) fn set(&self, config: &mut ControlConfig) {
        if let Self::Postgres(database, placement) = self {
            config.database_url_file = Some(database.server_url_file());
            config.database_owner_url_file = Some(database.owner_url_file());
            config.metadata_placement = *placement;
        }
    }

    /// The schema and the database of a tenant's rows, as the superuser knows them; `None` where there is no superuser.
    pub(crate) fn home(&self, tenant: &str) -> Option<(String, String)> {
        let Self::Postgres(database, placement) = self else { return None };
        let own = TenantScope::assume(tenant.parse().unwrap()).metadata_home(&database.name).to_string();
        Some(match placement {
            MetadataPlacement::Shared => ("bulkhead".to_owned(), database.name.clone()),
            MetadataPlacement::Schema => (own, database.name.clone()),
            MetadataPlacement::Database => ("bulkhead".to_owned(), own),
        })
    }

    /// The database that all tenants share.
    pub(crate) fn shared(&self) -> &ScratchDatabase {
        match self {
            Self::File => panic!("SQLite has no superuser"),
            Self::Postgres(database, _) => database,
        }
    }

    /// The name of a tenant's own database.
    pub(crate) fn own_database(&self, tenant: &str) -> String {
        TenantScope::assume(tenant.parse().unwrap()).metadata_home(&self.shared().name).to_string()
    }

    /// Whether it is in the data folder.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File)
    }
}

impl Drop for Metadata {
    /// Databases of tenants' own go with the one that lists them.
    fn drop(&mut self) {
        let Self::Postgres(database, MetadataPlacement::Database) = self else { return };
        for tenant in database.run("SELECT tenant FROM bulkhead.tenants").unwrap_or_default().lines() {
            if let Some((_, own)) = self.home(tenant) {
                let _gone = Postgres::shared().drop_database(&format!("\"{own}\""));
            }
        }
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
