//! PostgreSQL: two roles, one that owns the tables and one that the server logs in as.
//!
//! The owner makes and changes tables; it is used at the start, where its address is given, or by `bulkhead database migrate`. The server's role reads
//! and writes rows and no more. Row-level security binds only roles that own nothing and may not bypass it, so the server looks
//! whether its role is such, and whether every table with a tenant has row-level security, before it takes a request.
//! Must never: run as a role that row-level security does not bind, or show a password.

use super::database::{Database, Kind};
use crate::folder::OpenError;
use bulkhead_core::code::Code;
use bulkhead_core::scope::MetadataHome;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The tables' schema.
pub(super) const SCHEMA: &str = "bulkhead";
/// How long a request waits for a connection, reconnecting included, before it is told to come again.
const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(5);
/// What a connection begins with: waits for a lock end, and a process that hangs does not keep one.
const SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'";
/// Connections that only raise the generation.
const RAISING_CONNECTIONS: u32 = 2;
/// Connections to one tenant's own database at most, and how long an idle one is kept: a server has many such tenants.
const OWN_CONNECTIONS_MAX: u32 = 4;
const OWN_IDLE: Duration = Duration::from_secs(60);
/// Milliseconds between two tries to reach a database that is away at the start.
const RETRY_MS: u64 = 500;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// How PostgreSQL is reached.
#[derive(Clone)]
pub(crate) struct Access {
    server: AnyConnectOptions,
    pub(super) owner: Option<AnyConnectOptions>,
    /// How long a start waits for a database that is away.
    pub(super) wait: Duration,
    /// Connections at most.
    connections_max: u32,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("host", &self.server.database_url.host_str()).finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the addresses from their files.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] where one cannot be read or is no address; [`Code::DatabaseRole`] where both name one role.
    pub(crate) fn read(
        server: &Path,
        owner: Option<&Path>,
        wait: Duration,
        connections_max: u32,
    ) -> Result<Self, OpenError> {
        let server = address(server)?;
        let owner = owner.map(address).transpose()?;
        if let Some(owner) = &owner
            && owner.database_url.username() == server.database_url.username()
        {
            let message = "the server and the owner of the tables log in as one role, which row-level security does not \
                           bind; make a role for the server that owns nothing";
            return Err(OpenError::new(Code::DatabaseRole, message));
        }
        Ok(Self { server, owner, wait, connections_max })
    }

    pub(super) fn role(&self) -> &str {
        self.server.database_url.username()
    }

    /// The name of the database that all tenants share.
    pub(super) fn database(&self) -> &str {
        self.server.database_url.path().trim_start_matches('/')
    }

    /// Whether homes can be made and dropped.
    pub(super) fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Connections to a tenant's own database.
    pub(super) fn own_database(&self, name: &MetadataHome) -> Database {
        let mut options = self.server.clone();
        options.database_url.set_path(name.as_str());
        let pool = pool(OWN_CONNECTIONS_MAX).min_connections(0).idle_timeout(OWN_IDLE).connect_lazy_with(options);
        let (read, write, raise) = (pool.clone(), pool.clone(), pool);
        Database { kind: Kind::Postgres, read, write, raise, search_path: search_path(SCHEMA), own: true }
    }
}

/// Connections of a server, not yet made.
fn pool(connections_max: u32) -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_TIME_MAX).after_connect(
        |connection, _| Box::pin(async move { sqlx::raw_sql(SESSION).execute(&mut *connection).await.map(drop) }),
    )
}

/// Where tables of this schema are looked for. Nobody's temporary table stands before them.
pub(super) fn search_path(schema: &str) -> String {
    format!("{}, pg_temp", quoted(schema))
}

fn address(file: &Path) -> Result<AnyConnectOptions, OpenError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        OpenError::because(
            Code::ConfigInvalid,
            format!("cannot read the database's address in `{}`", file.display()),
            error,
        )
    })?;
    let wrong = |why: &str| {
        let message = format!(
            "`{}` holds no address of PostgreSQL, `postgres://ROLE:PASSWORD@HOST:5432/DATABASE`: {why}",
            file.display()
        );
        OpenError::new(Code::ConfigInvalid, message)
    };
    let options: AnyConnectOptions = text.trim().parse().map_err(|_| wrong("it is no URL"))?;
    if !matches!(options.database_url.scheme(), "postgres" | "postgresql") {
        return Err(wrong("it begins with another scheme"));
    }
    if options.database_url.username().is_empty() {
        return Err(wrong("it names no role"));
    }
    Ok(options)
}

/// Opens the connections of a server, once its role and the schema are as they must be.
pub(super) async fn open(access: &Access) -> Result<Database, OpenError> {
    if access.owner.is_some() {
        super::owner::migrate(access).await?;
    }
    let mut connection = connect(&access.server, access.wait).await?;
    check(&mut connection, access.role()).await?;
    let _closed = connection.close().await;
    let write = pool(access.connections_max).connect_lazy_with(access.server.clone());
    let raise = pool(RAISING_CONNECTIONS).connect_lazy_with(access.server.clone());
    let search_path = search_path(SCHEMA);
    Ok(Database { kind: Kind::Postgres, read: write.clone(), write, raise, search_path, own: false })
}

/// A name as SQL takes it, whatever its characters.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Connects; a database that is away, or starting, is tried again for a while.
pub(super) async fn connect(options: &AnyConnectOptions, wait: Duration) -> Result<AnyConnection, OpenError> {
    let until = Instant::now() + wait;
    loop {
        let error = match options.connect().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if !is_away(&error) {
            return Err(refused("PostgreSQL refused the connection", error));
        }
        if Instant::now() >= until {
            let message = format!("PostgreSQL did not answer within {} s", wait.as_secs());
            return Err(OpenError::because(Code::DatabaseAway, message, error));
        }
        tracing::warn!(code = %Code::DatabaseAway, %error, "PostgreSQL does not answer; trying again");
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
    }
}

pub(super) fn refused(what: &str, error: sqlx::Error) -> OpenError {
    let code = if is_away(&error) { Code::DatabaseAway } else { Code::DatabaseRefused };
    OpenError::because(code, what, error)
}

/// Whether the server is not there, going or coming, so that trying again may help.
pub(crate) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // Classes: connection exceptions, and an operator's intervention (shutdown, crash, starting up). Then: too many connections.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "53300")
        }
        _ => false,
    }
}

/// Sees that the schema is this program's, and the role one that row-level security binds.
async fn check(connection: &mut AnyConnection, role: &str) -> Result<(), OpenError> {
    let failed = |error| refused("cannot look into the metadata on PostgreSQL", error);
    sqlx::query("SELECT set_config('search_path', $1, false)")
        .bind(search_path(SCHEMA))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    check_role(connection, role).await?;
    let applied: Vec<(i64,)> = match sqlx::query_as("SELECT version FROM _sqlx_migrations").fetch_all(connection).await
    {
        Ok(applied) => applied,
        // No such schema, no such table, or not this role's to see.
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| ["3F000", "42P01", "42501"].contains(&&*code)) =>
        {
            return Err(unprepared(role));
        }
        Err(error) => return Err(failed(error)),
    };
    let applied: BTreeSet<i64> = applied.into_iter().map(|(version,)| version).collect();
    let known: BTreeSet<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    if let Some(newer) = applied.difference(&known).next() {
        let message =
            format!("the metadata on PostgreSQL has the change {newer}, of a newer version; run that version");
        return Err(OpenError::new(Code::SchemaNewer, message));
    }
    if applied.len() < known.len() { Err(unprepared(role)) } else { Ok(()) }
}

fn unprepared(role: &str) -> OpenError {
    let message = format!(
        "the metadata on PostgreSQL is not prepared for this version and the role `{role}`; run `bulkhead database migrate`, or \
         give `serve` --database-owner-url-file"
    );
    OpenError::new(Code::SchemaOlder, message)
}

async fn check_role(connection: &mut AnyConnection, role: &str) -> Result<(), OpenError> {
    let failed = |error| refused("cannot look what the role may do", error);
    let wide: Option<(String,)> = sqlx::query_as(
        "SELECT CASE WHEN rolsuper THEN 'it is a superuser' WHEN rolbypassrls THEN 'it has BYPASSRLS'
                     WHEN rolcreaterole THEN 'it has CREATEROLE' END
         FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls OR rolcreaterole)",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let owned: Option<(String,)> = sqlx::query_as(
        "SELECT 'it owns ' || CAST(c.relname AS TEXT) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v') AND (pg_has_role(current_user, c.relowner, 'MEMBER')
            OR pg_has_role(current_user, n.nspowner, 'MEMBER')) LIMIT 1",
    )
    .bind(SCHEMA)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    if let Some((why,)) = wide.or(owned) {
        let message = format!(
            "row-level security does not bind the role `{role}`: {why}; log in as a role of its own that owns nothing and has \
             neither SUPERUSER, BYPASSRLS nor CREATEROLE"
        );
        return Err(OpenError::new(Code::DatabaseRole, message));
    }
    let open: Option<(String,)> = sqlx::query_as(
        "SELECT CAST(c.relname AS TEXT) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) LIMIT 1",
    )
    .bind(SCHEMA)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    if let Some((table,)) = open {
        let message = format!(
            "the table `{table}` holds tenants' rows and has no row-level security; as its owner, ENABLE and FORCE it again"
        );
        return Err(OpenError::new(Code::DatabaseRole, message));
    }
    Ok(())
}
