//! What was deleted, gone from the database's files as well: they are written anew after an erasure.
//!
//! SQLite forgets a row by forgetting where it is; PostgreSQL keeps it as a dead row. Neither overwrites it before it needs the room. Only the owner
//! of PostgreSQL's tables may write them anew, so that is done where the server was given the owner's address, and said where it was not.
//! Must never: say that a file is clean which could not be written.

use super::Store;
use super::database::Kind;
use super::tables::TABLES;
use crate::problem::Problem;
use sqlx::any::AnyConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// What was done, in words for a report, and where something may stay.
pub(crate) struct Scrubbed {
    pub(crate) how: &'static str,
    pub(crate) elsewhere: &'static [&'static str],
}

const IN_POSTGRES: &[&str] = &[
    "PostgreSQL's write-ahead log, its archives and its replicas hold rows as they were, until its files are recycled and written over, which \
     takes two checkpoints and as much writing as `max_wal_size`",
    "dead rows of PostgreSQL's statistics, `pg_statistic`, until its vacuum, where the tables' owner does not own the database",
];
const NOT_OURS: &[&str] = &[
    "dead rows in the files of PostgreSQL's tables: only their owner may write them anew, and this server does not know it \
     (`--database-owner-url-file`); `VACUUM (FULL, ANALYZE)` by the owner does it",
    "PostgreSQL's write-ahead log, its archives and its replicas hold rows as they were, until its files are recycled and written over, which \
     takes two checkpoints and as much writing as `max_wal_size`",
];

impl Store {
    /// Writes the metadata anew. Nobody writes meanwhile.
    pub(crate) async fn scrub(&self) -> Result<Scrubbed, Problem> {
        match (self.shared.kind, self.homes.owner()) {
            (Kind::Sqlite, _) => self.scrub_file().await,
            (Kind::Postgres, Some(owner)) => scrub_tables(owner, &self.shared.search_path).await,
            (Kind::Postgres, None) => Ok(Scrubbed { how: "left to the owner of the tables", elsewhere: NOT_OURS }),
        }
    }

    async fn scrub_file(&self) -> Result<Scrubbed, Problem> {
        let write = &self.shared.write;
        sqlx::query("VACUUM").execute(write).await?;
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(write).await?;
        if busy != 0 {
            return Err(Problem::conflict("the metadata is being read; its journal is emptied when that is over"));
        }
        Ok(Scrubbed { how: "written anew (VACUUM), and the journal emptied", elsewhere: &[] })
    }
}

async fn scrub_tables(owner: &AnyConnectOptions, search_path: &str) -> Result<Scrubbed, Problem> {
    let mut connection = owner.connect().await?;
    sqlx::query("SELECT set_config('search_path', $1, false)").bind(search_path).execute(&mut connection).await?;
    for table in TABLES.iter().map(|table| table.name).chain(["erasures"]) {
        // The names are constants of this program.
        sqlx::raw_sql(AssertSqlSafe(format!("VACUUM (FULL, ANALYZE) {table}"))).execute(&mut connection).await?;
    }
    // What ANALYZE knew before; for a role that owns the database, too.
    let _refused = sqlx::raw_sql("VACUUM (FULL) pg_catalog.pg_statistic").execute(&mut connection).await;
    // Files of the tables as they were go with the checkpoint. Only some roles may ask for one; otherwise it comes within minutes.
    let asked = sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await.is_ok();
    let _closed = connection.close().await;
    let how = if asked {
        "tables written anew (VACUUM FULL), and a checkpoint made"
    } else {
        "tables written anew (VACUUM FULL); their old files go with the next checkpoint"
    };
    Ok(Scrubbed { how, elsewhere: IN_POSTGRES })
}
