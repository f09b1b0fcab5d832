//! Transactions of the embedded log: outputs and positions become durable together, in one transaction of the database.
//!
//! Must never: write a row while its group could move, or say `Committed` of what SQLite did not make durable.

use super::Shared;
use super::assign::TopicPartition;
use super::block::{Blocks, Place};
use super::compact;
use super::group::Group;
use super::reader::Member;
use super::store::{WriteSide, insert_batch, set_end, set_position};
use super::topics::{Topic, gone};
use crate::{CommitOutcome, Fenced, GroupPositions, Held, LogError, Writer, record_bytes};
use bulkhead_core::code::Code;
use bulkhead_core::columns::{Outputs, RecordBatch};
use rusqlite::Transaction;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Records, and bytes, of one stored run at most: what a reader decodes at once.
pub(super) const RUN_RECORDS: usize = 5_000;
pub(super) const RUN_BYTES: usize = 1 << 20;

/// A transactional producer.
pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    id: String,
    generation: u64,
    rows: Vec<Rows>,
}

/// Rows to be written, with their topics found.
pub(super) struct Rows {
    owner: u32,
    held: Arc<Held>,
    /// For each block, the topic of each value of `to`.
    targets: Vec<Vec<Option<Arc<Topic>>>>,
}

impl EmbeddedWriter {
    pub(super) fn new(shared: Arc<Shared>, id: String) -> Self {
        let generation = take_over(&shared, &id);
        Self { shared, id, generation, rows: Vec::new() }
    }

    fn resolve(&self, owner: u32, held: &Arc<Held>) -> Result<Rows, LogError> {
        let mut targets = Vec::with_capacity(held.blocks.len());
        for block in &held.blocks {
            let find = |name: &Option<_>| name.as_ref().map(|name| self.shared.topics.get(name)).transpose();
            let topics = block.targets.iter().map(find).collect::<Result<Vec<_>, _>>()?;
            for i in 0..block.outputs.len() {
                if let Some(topic) = &topics[block.outputs.to[i] as usize] {
                    check_size(topic, &block.outputs, i, &held.batch)?;
                }
            }
            targets.push(topics);
        }
        Ok(Rows { owner, held: Arc::clone(held), targets })
    }

    fn commit_rows(&self, rows: &[Rows], positions: &[GroupPositions]) -> Result<(), CommitOutcome> {
        let members = positions.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let mut groups: Vec<&Arc<Group>> = members.iter().map(|member| &member.group).collect();
        groups.sort_by_key(|group| Arc::as_ptr(group));
        groups.dedup_by_key(|group| Arc::as_ptr(group));
        // Held in one order by all, until the positions are durable: nothing moves meanwhile.
        let held: Vec<_> = groups.iter().map(|group| (Arc::as_ptr(group), group.hold())).collect();
        let owned = |member: &Member, positions: &GroupPositions| {
            let (_, state) = held.iter().find(|(group, _)| *group == Arc::as_ptr(&member.group)).expect("all are held");
            positions.positions.iter().all(|(source, epoch, _)| {
                member.partition(*source).is_some_and(|partition| state.owns(member.id, partition, *epoch))
            })
        };
        let lost = (0..members.len()).filter(|i| !owned(members[*i], &positions[*i])).collect::<Vec<_>>();
        if !lost.is_empty() {
            return Err(CommitOutcome::Fenced(Fenced::Groups(lost)));
        }
        let mut write = self.shared.store.writing();
        if write.producers.get(&self.id) != Some(&self.generation) {
            return Err(CommitOutcome::Fenced(Fenced::Writer));
        }
        let gone_sources =
            |i: &usize| positions[*i].positions.iter().any(|(source, _, _)| members[*i].is_gone(*source));
        let lost = (0..members.len()).filter(gone_sources).collect::<Vec<_>>();
        if !lost.is_empty() {
            return Err(CommitOutcome::Fenced(Fenced::Groups(lost)));
        }
        let positions = members.iter().zip(positions).flat_map(|(member, positions)| {
            positions.positions.iter().map(|(source, _, position)| {
                (member.group.name.as_str(), member.partition(*source).expect("checked above"), *position)
            })
        });
        write_rows((&mut write, &self.shared.store.blocks), rows, positions)
    }
}

impl Writer for EmbeddedWriter {
    fn begin(&mut self) -> Result<(), LogError> {
        self.rows.clear();
        if self.shared.store.writing().producers.get(&self.id) == Some(&self.generation) {
            return Ok(());
        }
        Err(LogError::new(Code::Fenced, format!("another opened the transactional id {}", self.id)))
    }

    fn produce(&mut self, owner: u32, held: &Arc<Held>) -> Result<(), CommitOutcome> {
        let rows = self.resolve(owner, held).map_err(|error| CommitOutcome::Aborted { owner: Some(owner), error })?;
        self.rows.push(rows);
        Ok(())
    }

    fn commit(&mut self, positions: &[GroupPositions], _timeout: Duration) -> CommitOutcome {
        let rows = std::mem::take(&mut self.rows);
        if let Err(outcome) = self.commit_rows(&rows, positions) {
            return outcome;
        }
        compact::step(&self.shared, rows.iter().flat_map(|rows| rows.targets.iter().flatten().flatten()));
        CommitOutcome::Committed
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.rows.clear();
        Ok(())
    }

    fn recover(&mut self) -> Result<(), LogError> {
        self.rows.clear();
        self.generation = take_over(&self.shared, &self.id);
        Ok(())
    }
}

/// Makes this the latest opener of the id. A commit in progress ends first, because it holds the right to write.
fn take_over(shared: &Shared, id: &str) -> u64 {
    let mut write = shared.store.writing();
    let generation = write.producers.entry(id.to_owned()).or_default();
    *generation += 1;
    *generation
}

fn member(positions: &GroupPositions) -> Result<&Member, CommitOutcome> {
    positions.member.as_any().downcast_ref::<Member>().ok_or_else(|| CommitOutcome::Aborted {
        owner: None,
        error: LogError::new(Code::Internal, "a membership of another log was given to the embedded one"),
    })
}

/// Rows outside any producer.
pub(super) fn append(
    shared: &Shared,
    topic: &Arc<Topic>,
    batch: &RecordBatch,
    outputs: &Outputs,
) -> Result<(), LogError> {
    for i in 0..outputs.len() {
        check_size(topic, outputs, i, batch)?;
    }
    let mut runs = Runs::new(&shared.store.blocks);
    let mut write = shared.store.writing();
    if topic.is_gone() {
        return Err(gone(&topic.name));
    }
    write.transaction(|tx| {
        for i in 0..outputs.len() {
            let partition = crate::partition_of(outputs.key(i, batch), batch.partition, topic.partitions());
            runs.push(tx, (topic, partition), outputs, i, batch)?;
        }
        runs.flush(tx)
    })?;
    runs.show();
    Ok(())
}

fn write_rows<'a>(
    (write, blocks): (&mut WriteSide, &Blocks),
    rows: &[Rows],
    positions: impl Iterator<Item = (&'a str, TopicPartition, i64)>,
) -> Result<(), CommitOutcome> {
    for row in rows {
        if let Some(topic) = row.targets.iter().flatten().flatten().find(|topic| topic.is_gone()) {
            return Err(CommitOutcome::Aborted { owner: Some(row.owner), error: gone(&topic.name) });
        }
        if let Some(error) = row.targets.iter().flatten().flatten().find_map(|topic| blocks.check(topic).err()) {
            return Err(CommitOutcome::Aborted { owner: Some(row.owner), error });
        }
    }
    let mut runs = Runs::new(blocks);
    let result = write.transaction(|tx| {
        for row in rows {
            for (block, topics) in row.held.blocks.iter().zip(&row.targets) {
                for i in 0..block.outputs.len() {
                    if let Some(topic) = &topics[block.outputs.to[i] as usize] {
                        let partition = block.partition(i, &row.held.batch, topic.partitions());
                        runs.push(tx, (topic, partition), &block.outputs, i, &row.held.batch)?;
                    }
                }
            }
        }
        runs.flush(tx)?;
        for (group, (topic, partition), position) in positions {
            set_position(tx, group, topic, partition, position)?;
        }
        Ok(())
    });
    // An error in COMMIT too leaves the database as it was: SQLite rolls back, and the next transaction overwrites what the failed one
    // left in its log. Should the process die before, that log holds the whole transaction or nothing of it.
    result.map_err(|error| CommitOutcome::Aborted { owner: None, error })?;
    runs.show();
    Ok(())
}

fn check_size(topic: &Topic, outputs: &Outputs, i: usize, batch: &RecordBatch) -> Result<(), LogError> {
    let bytes = record_bytes(outputs.key(i, batch), outputs.values.get(i), outputs.headers(i, batch));
    if bytes <= topic.max_record_bytes {
        return Ok(());
    }
    let text = format!(
        "a record of {bytes} bytes, framing included, is more than the {} that topic {} takes: make it smaller, or raise \
         the topic's limit",
        topic.max_record_bytes, topic.name
    );
    Err(LogError::new(Code::OutputRefused, text))
}

/// Runs of records under construction, one for each partition written to.
struct Runs<'a> {
    blocks: &'a Blocks,
    runs: BTreeMap<TopicPartition, Run>,
}

struct Run {
    topic: Arc<Topic>,
    next: i64,
    batch: RecordBatch,
}

impl<'a> Runs<'a> {
    fn new(blocks: &'a Blocks) -> Self {
        Self { blocks, runs: BTreeMap::new() }
    }

    fn push(
        &mut self,
        tx: &Transaction<'_>,
        (topic, partition): (&Arc<Topic>, i32),
        outputs: &Outputs,
        i: usize,
        batch: &RecordBatch,
    ) -> Result<(), LogError> {
        let key = outputs.key(i, batch);
        let run = self.runs.entry((topic.id, partition)).or_insert_with(|| Run {
            topic: Arc::clone(topic),
            next: topic.end(partition),
            batch: RecordBatch { partition, ..RecordBatch::default() },
        });
        let timestamp = match outputs.timestamp(i, batch) {
            known if known >= 0 => known,
            _ => now_ms(),
        };
        run.batch.push(run.next, timestamp, key, outputs.values.get(i), outputs.headers(i, batch));
        run.next += 1;
        if run.batch.len() >= RUN_RECORDS || run.batch.bytes() >= RUN_BYTES {
            run.store(tx, self.blocks, (topic.id, partition))?;
        }
        Ok(())
    }

    fn flush(&mut self, tx: &Transaction<'_>) -> Result<(), LogError> {
        for (partition, run) in &mut self.runs {
            run.store(tx, self.blocks, *partition)?;
            set_end(tx, partition.0, partition.1, run.next)?;
        }
        Ok(())
    }

    /// Shows readers what is durable now.
    fn show(&self) {
        for ((_, partition), run) in &self.runs {
            run.topic.advance(*partition, run.next);
        }
        for run in self.runs.values() {
            run.topic.notify();
        }
    }
}

impl Run {
    fn store(
        &mut self,
        tx: &Transaction<'_>,
        blocks: &Blocks,
        (topic, partition): TopicPartition,
    ) -> Result<(), LogError> {
        let Some(base) = self.batch.offsets.first().copied() else { return Ok(()) };
        let batch = std::mem::take(&mut self.batch);
        self.batch.partition = partition;
        insert_batch(tx, (blocks, &self.topic), Place { topic, partition, base }, &batch)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
