//! The embedded log: durable topics, groups and transactions in one folder, on SQLite, for one process on one machine.
//!
//! Outputs and positions become durable in one transaction of the database, synchronised to the disk before a commit returns. Groups
//! live in memory: all their members are in this process, because the folder is locked.
//! Must never: share its folder with another process, or give back records that are not what was written.

mod assign;
mod block;
mod compact;
mod fetch;
mod group;
mod reader;
mod schema;
mod scrub;
mod start;
mod store;
mod topics;
mod trim;
mod writer;

use self::block::Blocks;
use self::compact::Compaction;
use self::fetch::Cursor;
use self::group::Groups;
use self::store::{Store, TopicRow};
use self::topics::{Topic, Topics};
use crate::wake::Waker;
use crate::{AtRest, Changes, Keep, Log, LogError, Reader, ReaderSpec, TopicInfo, TopicSpec, Writer};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TransactionalId};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of one record at most, framing included, where a topic says nothing: Kafka's own default, so that a pipeline which fits here
/// fits there.
pub const DEFAULT_MAX_RECORD_BYTES: u32 = 1_048_588;
/// Partitions of a topic at most. Stops a typing mistake from making a topic that takes all memory.
pub const PARTITIONS_MAX: i32 = 10_000;

/// A log in a folder. Clones share it; the folder is let go with the last of them and of their readers and writers.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    topics: Topics,
    groups: Groups,
    compaction: Mutex<Compaction>,
}

impl EmbeddedLog {
    /// Opens the log of this folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`Code::FolderLocked`] where it is open already, in this process or another; [`Code::LogUnavailable`] where the disk
    /// refuses; [`Code::LogCorrupt`] where the files are not a log; [`Code::ConfigInvalid`] where a newer version made them.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        Self::open_with(folder, Blocks::default())
    }

    /// [`EmbeddedLog::open`] of a log that seals each run of records before it is written. What was written before without being sealed is
    /// read all the same; what the log keeps beside records (names, positions, times) is not sealed.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn open_sealed(folder: &Path, at_rest: Arc<dyn AtRest>) -> Result<Self, LogError> {
        Self::open_with(folder, Blocks(Some(at_rest)))
    }

    fn open_with(folder: &Path, blocks: Blocks) -> Result<Self, LogError> {
        let store = Store::open(folder, blocks)?;
        let topics = Topics::load(&store)?;
        let (groups, compaction) = (Groups::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { store, topics, groups, compaction }) })
    }
}

impl Log for EmbeddedLog {
    fn create_topic(&self, topic: &PhysicalTopic, spec: &TopicSpec) -> Result<(), LogError> {
        if !(1..=PARTITIONS_MAX).contains(&spec.partitions) {
            let text = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {}", spec.partitions);
            return Err(LogError::new(Code::BadRequest, text));
        }
        let max_record_bytes = spec.max_record_bytes.unwrap_or(DEFAULT_MAX_RECORD_BYTES);
        let mut write = self.shared.store.writing();
        let name = topic.as_str();
        let compacted = spec.keep == Keep::Latest;
        let id = write.transaction(|tx| store::insert_topic(tx, name, spec.partitions, max_record_bytes, compacted))?;
        let Some(id) = id else {
            return Err(LogError::new(Code::Conflict, format!("topic {name} exists already")));
        };
        let ends = vec![0; spec.partitions as usize];
        self.shared.topics.insert(Topic::new(TopicRow {
            id,
            name: name.to_owned(),
            max_record_bytes: max_record_bytes as usize,
            compacted,
            ends,
        }));
        Ok(())
    }

    fn delete_topic(&self, topic: &PhysicalTopic) -> Result<(), LogError> {
        let mut write = self.shared.store.writing();
        let Some(found) = self.shared.topics.find(topic) else { return Ok(()) };
        write.transaction(|tx| store::delete_topic(tx, found.id))?;
        self.shared.topics.remove(topic.as_str());
        // A commit takes a group's lock before the right to write.
        drop(write);
        self.shared.groups.forget_topic(found.id);
        Ok(())
    }

    fn delete_records(&self, topic: &PhysicalTopic, before: &[(i32, i64)]) -> Result<(), LogError> {
        trim::delete_records(&self.shared, &*self.shared.topics.get(topic)?, before)
    }

    fn describe(&self, topic: &PhysicalTopic) -> Result<Option<TopicInfo>, LogError> {
        Ok(self.shared.topics.find(topic).map(|topic| TopicInfo {
            partitions: topic.partitions(),
            max_record_bytes: topic.max_record_bytes,
            leaderless: BTreeSet::new(),
        }))
    }

    fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        Ok(self.shared.topics.names(prefix))
    }

    fn stored_bytes(&self, prefix: &str) -> Result<Option<u64>, LogError> {
        self.shared.store.bytes(prefix).map(Some)
    }

    fn ends(&self, topics: &[PhysicalTopic]) -> Result<Vec<Vec<i64>>, LogError> {
        Ok(topics
            .iter()
            .map(|topic| self.shared.topics.find(topic).map(|topic| topic.ends()).unwrap_or_default())
            .collect())
    }

    fn tell(&self, topic: &PhysicalTopic, changes: &Arc<Changes>) -> bool {
        match self.shared.topics.find(topic) {
            Some(found) => found.tell(topic, changes),
            None => changes.push(topic.clone()),
        }
        true
    }

    fn written(&self, topic: &PhysicalTopic, partition: i32) -> Result<i64, LogError> {
        let topic = self.shared.topics.get(topic)?;
        // Waits for a commit in progress: what it writes is shown with it.
        let _no_commit = self.shared.store.writing();
        if (0..topic.partitions()).contains(&partition) {
            return Ok(topic.end(partition));
        }
        Err(LogError::new(Code::NotFound, format!("topic {} has no partition {partition}", topic.name)))
    }

    fn committed(&self, group: &GroupId, topics: &[PhysicalTopic]) -> Result<Vec<Vec<Option<i64>>>, LogError> {
        // Waits for a commit in progress: who sees its positions here must find its records too.
        let _no_commit = self.shared.store.writing();
        let positions = |name: &PhysicalTopic| match self.shared.topics.find(name) {
            None => Ok(Vec::new()),
            Some(topic) => {
                (0..topic.partitions()).map(|p| self.shared.store.position(group.as_str(), topic.id, p)).collect()
            }
        };
        topics.iter().map(positions).collect()
    }

    fn delete_group(&self, group: &GroupId) -> Result<(), LogError> {
        let name = group.as_str();
        let delete = || self.shared.store.writing().transaction(|tx| store::delete_positions(tx, name));
        let in_use = || LogError::new(Code::Conflict, format!("group {name} has members: close them first"));
        self.shared.groups.while_empty(name, delete).unwrap_or_else(|| Err(in_use()))
    }

    fn groups(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        self.shared.store.consumers(prefix)
    }

    fn seals(&self) -> bool {
        self.shared.store.seals()
    }

    fn scrub(&self) -> Result<&'static [&'static str], LogError> {
        scrub::scrub(&self.shared).map(|()| &[] as &[_])
    }

    fn append(&self, topic: &PhysicalTopic, batch: &RecordBatch, outputs: &Outputs) -> Result<(), LogError> {
        writer::append(&self.shared, &self.shared.topics.get(topic)?, batch, outputs)
    }

    fn read(
        &self,
        topic: &PhysicalTopic,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
        wait: Duration,
    ) -> Result<(RecordBatch, i64), LogError> {
        let deadline = Instant::now() + wait;
        let topic = self.shared.topics.get(topic)?;
        if !(0..topic.partitions()).contains(&partition) {
            let text =
                format!("topic {} has the partitions 0 to {}, not {partition}", topic.name, topic.partitions() - 1);
            return Err(LogError::new(Code::NotFound, text));
        }
        let mut cursor = Cursor::at(start::resolve(&self.shared, &topic, partition, from)?);
        let waker = Arc::new(Waker::default());
        topic.wakers.add(&waker);
        loop {
            cursor.fill(&self.shared, &topic, partition, limits, true)?;
            if topic.is_gone() {
                return Err(topics::gone(&topic.name));
            }
            if !cursor.batch.is_empty() || Instant::now() >= deadline {
                let (mut batch, next) = cursor.take();
                batch.partition = partition;
                return Ok((batch, next));
            }
            waker.wait_until(deadline);
        }
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(reader::EmbeddedReader::join(Arc::clone(&self.shared), spec)?))
    }

    fn writer(&self, id: &TransactionalId) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(writer::EmbeddedWriter::new(Arc::clone(&self.shared), id.as_str().to_owned())))
    }
}
