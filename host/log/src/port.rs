//! The port to the log: what the record path needs of one, with Kafka's semantics kept rather than watered down.
//!
//! All calls block and are made from threads that may. Two implementations, [`crate::kafka`] and [`crate::embedded`], pass one
//! suite, [`crate::conformance`]. How exactly-once works across the port:
//!
//! 1. A [`Reader`] is a member of a consumer group. It gives batches of the partitions it owns, each with the *epoch* of
//!    its assignment.
//! 2. A [`Writer`] is one transactional producer. Outputs and the positions of several groups commit in one transaction.
//!    At commit it checks, through each group's [`Membership`], that every epoch is still owned, and takes the group metadata then.
//! 3. When a partition is to go, `poll` gives [`Event::Revoke`]; the group is held up until
//!    [`Reader::acknowledge`], which the caller makes once its lanes have committed or dropped that partition's batches.
//!
//! Must never: reset a position that was once committed, deliver a batch of a partition after its revoke, or report
//! `Committed` where it is not known.

use crate::Changes;
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::{GroupId, PhysicalTopic, TransactionalId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A log of topics.
pub trait Log: Send + Sync + 'static {
    /// Makes a topic.
    ///
    /// # Errors
    /// [`Code::Conflict`] where it exists.
    fn create_topic(&self, topic: &PhysicalTopic, spec: &TopicSpec) -> Result<(), LogError>;

    /// Deletes a topic with everything in it. Deleting one that is not there is no error.
    fn delete_topic(&self, topic: &PhysicalTopic) -> Result<(), LogError>;

    /// Deletes the records of each of these partitions that lie before its offset, for good. Where the partition goes on does not change; a
    /// group whose position lies before the offset has lost it. An offset before what is kept changes nothing.
    ///
    /// # Errors
    /// [`Code::OffsetLost`] for an offset behind the end, [`Code::LogRefused`] for a topic that is not [`Keep::UntilDeleted`] but
    /// [`Keep::Latest`], [`Code::TopicGone`]. Of several partitions, some may have been done.
    fn delete_records(&self, topic: &PhysicalTopic, before: &[(i32, i64)]) -> Result<(), LogError>;

    /// What a topic is like now; `None` where there is none. Asks the log each time: callers cache.
    fn describe(&self, topic: &PhysicalTopic) -> Result<Option<TopicInfo>, LogError>;

    /// Physical names of all topics that start with `prefix`, sorted.
    fn topics(&self, prefix: &str) -> Result<Vec<String>, LogError>;

    /// Bytes that the records of all topics take whose names start with `prefix`, of some seconds ago at most: of Kafka whole segments as they
    /// are on disk, a replica counted once. `None` where this log cannot say.
    fn stored_bytes(&self, prefix: &str) -> Result<Option<u64>, LogError>;

    /// For each topic and partition, the offset after the last readable record (read committed); -1 for a partition that nobody leads
    /// at the moment. An empty list for a topic that is not there.
    fn ends(&self, topics: &[PhysicalTopic]) -> Result<Vec<Vec<i64>>, LogError>;

    /// Puts a topic's name into `changes` with the next records that are committed to it, or when it goes, or at once where there is no
    /// such topic. Once: who wants to hear of more asks again. Ask first and look at [`Log::ends`] then, or a change between the two is
    /// missed. `false` where this log does not tell, and its ends have to be asked for now and then.
    fn tell(&self, topic: &PhysicalTopic, changes: &Arc<Changes>) -> bool;

    /// The offset after the last record of a partition, those of open transactions included: once a read has come this far, no
    /// transaction that was under way at the time of the call can add to what it found.
    ///
    /// # Errors
    /// [`Code::TopicGone`]; [`Code::LogUnavailable`] where nobody leads the partition.
    fn written(&self, topic: &PhysicalTopic, partition: i32) -> Result<i64, LogError>;

    /// The committed position of each partition of each topic, with open transactions waited for; `None` where there is none.
    fn committed(&self, group: &GroupId, topics: &[PhysicalTopic]) -> Result<Vec<Vec<Option<i64>>>, LogError>;

    /// What [`Log::committed`] says, of many groups at once and without waiting for open transactions: what one may change is told as it was
    /// before it. `None` of a group that could not be asked.
    fn positions(&self, groups: &[GroupTopics]) -> Result<Vec<Option<PositionsAt>>, LogError> {
        let of = |partitions: Vec<Option<i64>>| (0..).zip(partitions).filter_map(|(p, at)| Some((p, at?))).collect();
        let ask =
            |(group, topics): &GroupTopics| Ok(Some(self.committed(group, topics)?.into_iter().map(of).collect()));
        groups.iter().map(ask).collect()
    }

    /// Forgets a group's positions. No error where there is no such group; [`Code::Conflict`] while it has members.
    fn delete_group(&self, group: &GroupId) -> Result<(), LogError>;

    /// Names of all groups that have committed positions and begin with `prefix`, sorted.
    fn groups(&self, prefix: &str) -> Result<Vec<String>, LogError>;

    /// Makes what was deleted so far unreadable in the log's files too, as far as that is in its hands, and says where something of it
    /// may stay, and until when. May take long, and hold up writers.
    ///
    /// # Errors
    /// [`Code::LogUnavailable`] where it could not be done now.
    fn scrub(&self) -> Result<&'static [&'static str], LogError>;

    /// Whether all records are sealed in the log's files, so that nobody need seal what is written.
    fn seals(&self) -> bool;

    /// Writes rows outside any transaction, durably when it returns: `outputs` whose `to` is ignored, made from `batch`.
    /// Partitions are chosen by [`partition_of`].
    fn append(&self, topic: &PhysicalTopic, batch: &RecordBatch, outputs: &Outputs) -> Result<(), LogError>;

    /// Committed records of one partition from `from` on, without a group: at most `limits`, at least one if there is one.
    /// Returns with what there is after `wait`. The second value is the offset to go on from.
    fn read(
        &self,
        topic: &PhysicalTopic,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
        wait: Duration,
    ) -> Result<(RecordBatch, i64), LogError>;

    /// Joins a group.
    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>, LogError>;

    /// Opens a transactional producer, fencing any other with this id.
    fn writer(&self, id: &TransactionalId) -> Result<Box<dyn Writer>, LogError>;
}

/// A group, and topics that it reads.
pub type GroupTopics = (GroupId, Vec<PhysicalTopic>);

/// The committed positions of a group in each of some topics, by partition. A partition that has none is left out.
pub type PositionsAt = Vec<BTreeMap<i32, i64>>;

/// A topic to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// How many partitions, at least 1.
    pub partitions: i32,
    /// Bytes of one record at most; `None` for the log's default (1 MiB).
    pub max_record_bytes: Option<u32>,
    /// How many brokers keep a copy; `None` for the log's default. The embedded log keeps one.
    pub replicas: Option<i32>,
    /// How long it keeps its records.
    pub keep: Keep,
}

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// As the log does where nothing is said: Kafka's brokers have a setting, by which records of old timestamps go soon.
    #[default]
    Default,
    /// Of records with the same key in a partition only the last needs to be kept, and that one whatever its age; a null value says
    /// that there is none any more. Offsets then have gaps.
    Latest,
    /// All of them, whatever their age, timestamps and size, until [`Log::delete_records`]. The log may replace timestamps by its own.
    UntilDeleted,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// How many partitions it has.
    pub partitions: i32,
    /// Bytes of one record (key, value, headers and a little framing) at most.
    pub max_record_bytes: usize,
    /// Partitions that nobody leads at the moment: writes to these would stall.
    pub leaderless: BTreeSet<i32>,
}

/// What a reader is to read.
#[derive(Debug, Clone)]
pub struct ReaderSpec {
    /// The group to join.
    pub group: GroupId,
    /// The topics; a batch's `topic` is an index into these.
    pub inputs: Vec<ReaderInput>,
    /// How records are grouped.
    pub batch: BatchLimits,
    /// Bytes that the reader may hold which were not yet given to the caller.
    pub queue_bytes: u64,
}

/// A topic that a reader reads.
#[derive(Debug, Clone)]
pub struct ReaderInput {
    /// Which.
    pub topic: PhysicalTopic,
    /// Where to begin in a partition that never had a committed position.
    pub start: Start,
    /// Partitions that had one: if the log has lost it, that is [`Code::OffsetLost`].
    pub initialised: BTreeSet<i32>,
}

/// A partition of one of a reader's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Index into [`ReaderSpec::inputs`].
    pub topic: u16,
    /// Partition.
    pub partition: i32,
}

/// A member of a consumer group. Used by one thread, which must poll at least every few seconds to stay a member.
pub trait Reader: Send {
    /// Gives the next event, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`Code::TopicGone`], [`Code::OffsetLost`], [`Code::PositionMoved`] and [`Code::LogRefused`] end the reader: close it. Others are passing,
    /// and polling may go on.
    fn poll(&mut self, timeout: Duration) -> Result<Event, LogError>;

    /// Lets go of partitions that a [`Event::Revoke`] named, once no batch of theirs can still commit.
    fn acknowledge(&mut self, revoked: &[Source]) -> Result<(), LogError>;

    /// Stops giving batches of these, though the reader stays their owner.
    fn pause(&mut self, sources: &[Source]) -> Result<(), LogError>;

    /// Undoes [`Reader::pause`], going on where the last batch ended.
    fn resume(&mut self, sources: &[Source]) -> Result<(), LogError>;

    /// Goes to this offset, dropping what was fetched: for a batch that must be read again.
    fn seek(&mut self, source: Source, offset: i64) -> Result<(), LogError>;

    /// What a writer needs at commit.
    fn membership(&self) -> Arc<dyn Membership>;

    /// Leaves the group at once, so that others take over without waiting. Batches given and not committed are void.
    fn close(self: Box<Self>);
}

/// What `poll` gives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an event is taken apart where it is received, and most are batches")]
pub enum Event {
    /// Nothing within the time.
    Idle,
    /// Partitions are now this reader's. Each has a committed position, made from [`ReaderInput::start`] where there was none.
    Assigned(Vec<Assigned>),
    /// Partitions must go: answer with [`Reader::acknowledge`]. No batch of theirs comes any more.
    Revoke {
        /// Which.
        sources: Vec<Source>,
        /// They are gone already (the session ran out): their batches can no longer commit.
        lost: bool,
    },
    /// Records of one owned partition.
    Batch(Fetched),
}

/// A partition that a reader now owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// Which.
    pub source: Source,
    /// Never used twice by one reader.
    pub epoch: u64,
    /// Its committed position.
    pub position: i64,
}

/// Records of one partition.
#[derive(Debug)]
pub struct Fetched {
    /// The partition.
    pub source: Source,
    /// Epoch of its assignment.
    pub epoch: u64,
    /// The records; may be empty where only `next` moved (transaction markers).
    pub batch: RecordBatch,
    /// The position to commit when the batch is done: past gaps and markers.
    pub next: i64,
}

/// A group's side of a commit.
pub trait Membership: Send + Sync {
    /// The group.
    fn group(&self) -> &GroupId;

    /// The topics of [`ReaderSpec::inputs`], in their order.
    fn topics(&self) -> &[PhysicalTopic];

    /// Whether this source is still owned in this epoch. Takes the lock that a revoke takes.
    fn owns(&self, source: Source, epoch: u64) -> bool;

    /// For the implementation's own writer, which casts it to what it made.
    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync);
}

/// A transaction that has been open for longer is given up by the log itself, which hides its partitions until then. A writer
/// that comes after that looks fenced, though nobody took its id.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A transactional producer. Used by one thread.
pub trait Writer: Send {
    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), LogError>;

    /// Hands over the rows of `held`; the writer keeps it until the transaction ends. `owner` comes back in
    /// [`CommitOutcome::Aborted`] where one of its rows is at fault.
    ///
    /// # Errors
    /// Where the transaction can only be aborted: call [`Writer::abort`], or [`Writer::recover`] for the outcomes that ask for it.
    fn produce(&mut self, owner: u32, held: &Arc<Held>) -> Result<(), CommitOutcome>;

    /// Commits what was produced together with these positions.
    fn commit(&mut self, positions: &[GroupPositions], timeout: Duration) -> CommitOutcome;

    /// Ends the transaction without effect. No error where there is none, as after a [`Writer::commit`].
    ///
    /// # Errors
    /// Where only [`Writer::recover`] helps.
    fn abort(&mut self) -> Result<(), LogError>;

    /// Starts afresh under the same transactional id, which settles what was unknown: afterwards [`Log::committed`] tells
    /// whether the last transaction took place.
    fn recover(&mut self) -> Result<(), LogError>;
}

/// Outputs that wait for their commit. Shared, so that an abort can produce them again without another guest run.
#[derive(Debug, Default)]
pub struct Held {
    /// The records that the outputs were made from, for what they inherit. Its partition is that of the source records.
    pub batch: Arc<RecordBatch>,
    /// Outputs, in the order in which they are to be written.
    pub blocks: Vec<Block>,
}

/// Outputs with their topics.
#[derive(Debug)]
pub struct Block {
    /// Rows; `source` is a row of [`Held::batch`].
    pub outputs: Outputs,
    /// The topic for each value of `to`; rows of `None` are not written.
    pub targets: Arc<[Option<PhysicalTopic>]>,
    /// The partition of every row, modulo the topic's; `None` for [`partition_of`] each.
    pub partition: Option<i32>,
}

impl Block {
    /// The partition of output `i`, made from `batch`, in a topic of `partitions`.
    pub fn partition(&self, i: usize, batch: &RecordBatch, partitions: i32) -> i32 {
        match self.partition {
            Some(partition) => partition.rem_euclid(partitions),
            None => partition_of(self.outputs.key(i, batch), batch.partition, partitions),
        }
    }
}

/// Positions of one group to commit.
#[derive(Clone)]
pub struct GroupPositions {
    /// The group's member that read them.
    pub member: Arc<dyn Membership>,
    /// Each partition with the epoch under which its batches were read, and where the group is to go on.
    pub positions: Vec<(Source, u64, i64)>,
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It took place. Readers see it at once or within moments.
    Committed,
    /// It did not, because these no longer own what they want to commit. The transaction was aborted.
    Fenced(Fenced),
    /// It did not, and the transaction was aborted; it may be tried again, without the culprit where one is named.
    Aborted {
        /// The `owner` whose output or position is at fault; `None` where it is the lane or the log.
        owner: Option<u32>,
        /// Why.
        error: LogError,
    },
    /// Nobody knows: call [`Writer::recover`], then ask [`Log::committed`]. With [`Code::Fenced`], another opened the transactional id,
    /// which has settled it already: ask without recovering, which would fence that one in turn.
    Unknown(LogError),
}

/// Who was fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fenced {
    /// These of the groups given to `commit`, by index: a revoke or a newer generation overtook them.
    Groups(Vec<usize>),
    /// The producer: another process opened this transactional id.
    Writer,
}

/// A failure of the log. `message` is for the operator and may hold physical names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct LogError {
    /// The page that explains it.
    pub code: Code,
    /// The cause.
    pub message: String,
}

impl LogError {
    /// An error.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What a record counts against [`TopicInfo::max_record_bytes`].
pub use bulkhead_core::columns::record_bytes;

/// The partition that a record goes to: by its key as Kafka's own clients do (murmur2), so that other producers and consumers
/// agree; without a key, the source's partition modulo the topic's, which keeps the order of the source.
pub fn partition_of(key: Option<&[u8]>, source_partition: i32, partitions: i32) -> i32 {
    match key {
        Some(key) => (murmur2(key) & 0x7fff_ffff) as i32 % partitions,
        None => source_partition.rem_euclid(partitions),
    }
}

/// MurmurHash2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let (chunks, tail) = data.as_chunks::<4>();
    for chunk in chunks {
        let k = u32::from_le_bytes(*chunk).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_kafka_does() {
        // From Kafka's own UtilsTest.testMurmur2.
        for (key, hash) in [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn records_without_a_key_keep_to_their_source() {
        assert_eq!(partition_of(None, 5, 4), 1);
        assert_eq!(partition_of(None, 3, 4), 3);
    }
}
