//! What is done as the role that owns tables: making and changing them, and the homes that tenants have to themselves.
//!
//! Must never: be reached by a request but where a tenant is made or gone.

use super::database::schema_code;
use super::homes::{MetadataPlacement, name_of};
use super::postgres::{Access, MIGRATIONS, SCHEMA, connect, quoted, refused};
use crate::folder::OpenError;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::scope::MetadataHome;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

/// Makes or changes the tables as their owner, and gives the server's role what it needs.
///
/// # Errors
/// [`Code::ConfigInvalid`] where no owner is given; [`Code::SchemaNewer`]; [`Code::DatabaseAway`]; [`Code::DatabaseRefused`].
pub(crate) async fn migrate(access: &Access) -> Result<(), OpenError> {
    sqlx::any::install_default_drivers();
    let mut connection = connect(access.need_owner()?, access.wait).await?;
    let done = prepare_all(access, &mut connection).await;
    let _closed = connection.close().await;
    done
}

pub(super) async fn prepare(connection: &mut AnyConnection, schema: &str, role: &str) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| refused("the tables' owner could not prepare the schema", error);
    let enter = format!("CREATE SCHEMA IF NOT EXISTS {0}; SET search_path TO {0}, pg_temp", quoted(schema));
    let (schema, role) = (quoted(schema), quoted(role));
    sqlx::raw_sql(AssertSqlSafe(enter)).execute(&mut *connection).await.map_err(failed)?;
    // `run` takes what implements a trait for one lifetime only, which no future that is sent between threads can hold.
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(|error| {
        OpenError::because(schema_code(&error), "cannot bring the metadata on PostgreSQL up to date", error)
    })?;
    let grant = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
         REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM {role};
         REVOKE INSERT, DELETE ON generation FROM {role};
         REVOKE UPDATE, DELETE ON audit_lines, audit_checkpoints FROM {role};
         REVOKE UPDATE ON audit_pruning FROM {role}"
    );
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

/// The shared tables, then those of every home, which the list of tenants names. It is read as the background does: the owner is bound too.
async fn prepare_all(access: &Access, connection: &mut AnyConnection) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| refused("the tables' owner could not read the list of tenants", error);
    prepare(connection, SCHEMA, access.role()).await?;
    sqlx::raw_sql("SET bulkhead.reach = 'background'").execute(&mut *connection).await.map_err(failed)?;
    let homes: Vec<(String, String)> =
        sqlx::query_as("SELECT tenant, metadata FROM tenants WHERE metadata <> 'shared'")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    for (tenant, placement) in homes {
        let unreadable =
            || OpenError::new(Code::ConfigInvalid, format!("the list of tenants holds `{tenant}` in `{placement}`"));
        let tenant: TenantId = tenant.parse().map_err(|_| unreadable())?;
        let name = name_of(&tenant, access);
        access.prepare_home(&name, placement.parse().map_err(|_| unreadable())?).await?;
    }
    Ok(())
}

impl Access {
    /// Makes a home with its tables, none of which has a row.
    pub(super) async fn make_home(&self, name: &MetadataHome, placement: MetadataPlacement) -> Result<(), OpenError> {
        if placement == MetadataPlacement::Database {
            let (database, role) = (quoted(name.as_str()), quoted(self.role()));
            self.as_owner(&[
                format!("CREATE DATABASE {database}"),
                format!(
                    "REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {role}"
                ),
            ])
            .await?;
        }
        self.prepare_home(name, placement).await
    }

    /// Drops a home, if it is there, and ends who uses it.
    pub(super) async fn drop_home(&self, name: &MetadataHome, placement: MetadataPlacement) -> Result<(), OpenError> {
        let name = quoted(name.as_str());
        match placement {
            MetadataPlacement::Shared => Ok(()),
            MetadataPlacement::Schema => self.as_owner(&[format!("DROP SCHEMA IF EXISTS {name} CASCADE")]).await,
            MetadataPlacement::Database => {
                self.as_owner(&[format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")]).await
            }
        }
    }

    async fn prepare_home(&self, name: &MetadataHome, placement: MetadataPlacement) -> Result<(), OpenError> {
        let mut options = self.need_owner()?.clone();
        let schema = match placement {
            MetadataPlacement::Shared => return Ok(()),
            MetadataPlacement::Schema => name.as_str(),
            MetadataPlacement::Database => {
                options.database_url.set_path(name.as_str());
                SCHEMA
            }
        };
        let mut connection = connect(&options, self.wait).await?;
        let done = prepare(&mut connection, schema, self.role()).await;
        let _closed = connection.close().await;
        done
    }

    async fn as_owner(&self, statements: &[String]) -> Result<(), OpenError> {
        let mut connection = connect(self.need_owner()?, self.wait).await?;
        for statement in statements {
            let done = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await;
            done.map_err(|error| refused("the tables' owner could not make or drop a tenant's home", error))?;
        }
        let _closed = connection.close().await;
        Ok(())
    }

    pub(super) fn need_owner(&self) -> Result<&sqlx::any::AnyConnectOptions, OpenError> {
        let missing = || OpenError::new(Code::ConfigInvalid, "give the tables' owner too: --database-owner-url-file");
        self.owner.as_ref().ok_or_else(missing)
    }
}
