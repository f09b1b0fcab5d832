//! What the embedded log asks of its database.
//!
//! One connection writes, under a lock; any number read, each from a snapshot of its own.
//! Must never: report as written what SQLite has not made durable.

use super::block::{Blocks, Place};
use super::schema;
use super::topics::Topic;
use crate::LogError;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Idle connections kept for readers.
const IDLE_READERS: usize = 8;

/// The database of one folder.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    write: Mutex<WriteSide>,
    idle: Mutex<Vec<Connection>>,
    pub(super) blocks: Blocks,
    // Last: the folder is let go when its connections are closed.
    _lock: File,
}

/// The writing connection and what only the one who holds it may look at.
#[derive(Debug)]
pub(super) struct WriteSide {
    pub(super) conn: Connection,
    /// The latest opener of each transactional id.
    pub(super) producers: HashMap<String, u64>,
}

/// A row of `topics`.
#[derive(Debug)]
pub(super) struct TopicRow {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) max_record_bytes: usize,
    pub(super) compacted: bool,
    /// Where each partition goes on.
    pub(super) ends: Vec<i64>,
}

impl Store {
    /// Whether records are sealed.
    pub(super) fn seals(&self) -> bool {
        self.blocks.0.is_some()
    }

    pub(super) fn open(folder: &Path, blocks: Blocks) -> Result<Self, LogError> {
        let lock = schema::lock(folder)?;
        let conn = schema::open_writer(folder)?;
        let write = Mutex::new(WriteSide { conn, producers: HashMap::new() });
        Ok(Self { folder: folder.to_owned(), write, idle: Mutex::default(), blocks, _lock: lock })
    }

    /// The right to write.
    pub(super) fn writing(&self) -> MutexGuard<'_, WriteSide> {
        self.write.lock()
    }

    fn reading<T>(&self, read: impl FnOnce(&Connection) -> Result<T, LogError>) -> Result<T, LogError> {
        let idle = self.idle.lock().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.folder)?,
        };
        let result = read(&conn);
        let mut idle = self.idle.lock();
        if result.is_ok() && idle.len() < IDLE_READERS {
            idle.push(conn);
        }
        result
    }

    pub(super) fn topics(&self) -> Result<Vec<TopicRow>, LogError> {
        self.reading(|conn| {
            let mut topics = conn
                .prepare_cached("SELECT id, name, partitions, max_record_bytes, compacted FROM topics")
                .map_err(db)?;
            let mut ends = conn.prepare_cached("SELECT partition, next FROM ends WHERE topic = ?1").map_err(db)?;
            let mut rows = topics.query([]).map_err(db)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().map_err(db)? {
                let mut topic = topic_row(row).map_err(db)?;
                let pairs = ends.query_map([topic.id], |row| Ok((row.get::<_, u32>(0)?, row.get(1)?))).map_err(db)?;
                for pair in pairs {
                    let (partition, next) = pair.map_err(db)?;
                    *topic.ends.get_mut(partition as usize).ok_or_else(corrupt)? = next;
                }
                found.push(topic);
            }
            Ok(found)
        })
    }

    /// The stored run of records that holds the first record at or after `from`, with the place of its first.
    pub(super) fn fetch(&self, topic: &Topic, partition: i32, from: i64) -> Result<Option<RecordBatch>, LogError> {
        let sql =
            "SELECT base, data FROM batches WHERE topic = ?1 AND partition = ?2 AND last >= ?3 ORDER BY last LIMIT 1";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            let mut rows = statement.query(params![topic.id, partition, from]).map_err(db)?;
            let Some(row) = rows.next().map_err(db)? else { return Ok(None) };
            let base = row.get(0).map_err(db)?;
            let blob = row.get_ref(1).and_then(|data| Ok(data.as_blob()?)).map_err(db)?;
            self.blocks.decode(topic, Place { topic: topic.id, partition, base }, blob).map(Some)
        })
    }

    /// Bytes of the rows of all topics whose names start with `prefix`.
    pub(super) fn bytes(&self, prefix: &str) -> Result<u64, LogError> {
        let sql = "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM batches JOIN topics ON topics.id = batches.topic
                   WHERE SUBSTR(topics.name, 1, LENGTH(?1)) = ?1";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            let bytes: i64 = statement.query_row([prefix], |row| row.get(0)).map_err(db)?;
            Ok(bytes.cast_unsigned())
        })
    }

    /// The offset of the oldest record kept, or `None` where there is none.
    pub(super) fn oldest(&self, topic: i64, partition: i32) -> Result<Option<i64>, LogError> {
        let sql = "SELECT base FROM batches WHERE topic = ?1 AND partition = ?2 ORDER BY last LIMIT 1";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            statement.query_row(params![topic, partition], |row| row.get(0)).optional().map_err(db)
        })
    }

    /// The first record at or after this time, or `None` where there is none.
    pub(super) fn first_since(&self, topic: &Topic, partition: i32, time: i64) -> Result<Option<i64>, LogError> {
        let sql = "SELECT base, data FROM batches WHERE topic = ?1 AND partition = ?2 AND max_timestamp >= ?3 ORDER BY last LIMIT 1";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            let mut rows = statement.query(params![topic.id, partition, time]).map_err(db)?;
            let Some(row) = rows.next().map_err(db)? else { return Ok(None) };
            let base = row.get(0).map_err(db)?;
            let blob = row.get_ref(1).and_then(|data| Ok(data.as_blob()?)).map_err(db)?;
            let batch = self.blocks.decode(topic, Place { topic: topic.id, partition, base }, blob)?;
            Ok(batch.timestamps.iter().position(|t| *t >= time).map(|row| batch.offsets[row]))
        })
    }

    /// Groups with positions whose names begin so, sorted.
    pub(super) fn consumers(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        let sql =
            "SELECT DISTINCT consumer FROM positions WHERE substr(consumer, 1, length(?1)) = ?1 ORDER BY consumer";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            let names = statement.query_map([prefix], |row| row.get(0)).map_err(db)?;
            names.collect::<rusqlite::Result<_>>().map_err(db)
        })
    }

    pub(super) fn position(&self, group: &str, topic: i64, partition: i32) -> Result<Option<i64>, LogError> {
        let sql = "SELECT position FROM positions WHERE consumer = ?1 AND topic = ?2 AND partition = ?3";
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(sql).map_err(db)?;
            statement.query_row(params![group, topic, partition], |row| row.get(0)).optional().map_err(db)
        })
    }
}

impl WriteSide {
    /// Does `work` in one transaction, which is durable when this returns `Ok` and has no effect when it returns an error.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(db)?;
        // Dropping the transaction, on an error here or in COMMIT, rolls it back.
        let value = work(&transaction)?;
        transaction.commit().map_err(db)?;
        Ok(value)
    }
}

/// Makes a topic, and says its number; `None` where the name is taken.
pub(super) fn insert_topic(
    tx: &Transaction<'_>,
    name: &str,
    partitions: i32,
    bytes: u32,
    compacted: bool,
) -> Result<Option<i64>, LogError> {
    let sql = "INSERT INTO topics (name, partitions, max_record_bytes, compacted) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT DO NOTHING";
    let made = tx.execute(sql, params![name, partitions, bytes, compacted]).map_err(db)?;
    Ok((made == 1).then(|| tx.last_insert_rowid()))
}

/// Removes a topic and all that is known of it.
pub(super) fn delete_topic(tx: &Transaction<'_>, topic: i64) -> Result<(), LogError> {
    for table in ["batches", "ends", "positions"] {
        tx.execute(&format!("DELETE FROM {table} WHERE topic = ?1"), [topic]).map_err(db)?;
    }
    tx.execute("DELETE FROM topics WHERE id = ?1", [topic]).map_err(db)?;
    Ok(())
}

/// Adds a run of records; their offsets go on from where the partition ended.
pub(super) fn insert_batch(
    tx: &Transaction<'_>,
    (blocks, topic): (&Blocks, &Topic),
    place: Place,
    batch: &RecordBatch,
) -> Result<(), LogError> {
    let sql = "INSERT INTO batches (topic, partition, base, last, max_timestamp, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let last = batch.offsets.last().copied().unwrap_or(place.base);
    let newest = batch.timestamps.iter().copied().max().unwrap_or(-1);
    let data = blocks.encode(topic, place, batch)?;
    let mut statement = tx.prepare_cached(sql).map_err(db)?;
    statement.execute(params![place.topic, place.partition, place.base, last, newest, data]).map_err(db)?;
    Ok(())
}

/// Removes the runs of records whose last one lies in this range.
pub(super) fn delete_batches(
    tx: &Transaction<'_>,
    topic: i64,
    partition: i32,
    last: std::ops::RangeInclusive<i64>,
) -> Result<(), LogError> {
    let sql = "DELETE FROM batches WHERE topic = ?1 AND partition = ?2 AND last BETWEEN ?3 AND ?4";
    let mut statement = tx.prepare_cached(sql).map_err(db)?;
    statement.execute(params![topic, partition, last.start(), last.end()]).map_err(db)?;
    Ok(())
}

/// Says where a partition goes on.
pub(super) fn set_end(tx: &Transaction<'_>, topic: i64, partition: i32, next: i64) -> Result<(), LogError> {
    let sql = "INSERT INTO ends (topic, partition, next) VALUES (?1, ?2, ?3)
               ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next";
    tx.prepare_cached(sql).and_then(|mut statement| statement.execute(params![topic, partition, next])).map_err(db)?;
    Ok(())
}

/// Says where a group goes on.
pub(super) fn set_position(
    tx: &Transaction<'_>,
    group: &str,
    topic: i64,
    partition: i32,
    position: i64,
) -> Result<(), LogError> {
    let sql = "INSERT INTO positions (consumer, topic, partition, position) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (consumer, topic, partition) DO UPDATE SET position = excluded.position";
    let run = |statement: &mut rusqlite::Statement<'_>| statement.execute(params![group, topic, partition, position]);
    tx.prepare_cached(sql).and_then(|mut statement| run(&mut statement)).map_err(db)?;
    Ok(())
}

/// Forgets where a group was.
pub(super) fn delete_positions(tx: &Transaction<'_>, group: &str) -> Result<(), LogError> {
    tx.execute("DELETE FROM positions WHERE consumer = ?1", [group]).map_err(db)?;
    Ok(())
}

fn topic_row(row: &Row<'_>) -> rusqlite::Result<TopicRow> {
    let (partitions, bytes): (u32, u32) = (row.get(2)?, row.get(3)?);
    let ends = vec![0; partitions as usize];
    Ok(TopicRow { id: row.get(0)?, name: row.get(1)?, max_record_bytes: bytes as usize, compacted: row.get(4)?, ends })
}

fn corrupt() -> LogError {
    LogError::new(Code::LogCorrupt, "the database names a partition that its topic does not have")
}

fn db(error: rusqlite::Error) -> LogError {
    database(&error)
}

/// What an error of the database means to the log's users.
pub(super) fn database(error: &rusqlite::Error) -> LogError {
    let code = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Code::LogCorrupt,
        _ => Code::LogUnavailable,
    };
    LogError::new(code, format!("the database says: {error}"))
}
