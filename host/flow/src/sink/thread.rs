//! A sink's thread: a member of the output's group, polling all the time while tasks stage and publish.
//!
//! Must never: block for long, or its group would think it dead.

use super::commit::{Committer, Done};
use super::manifest::Manifest;
use super::publish::{ORPHAN_AGE, publish, sweep};
use super::roll::{Health, Roll, Stager};
use super::trim::{Published, Trim};
use super::{Order, Orders, SinkSpec};
use crate::config::backoff;
use crate::flow::Tools;
use crate::pipeline::state::PipelineState;
use bulkhead_core::assignment::Phase;
use bulkhead_core::bucket::ObjectKey;
use bulkhead_core::code::Code;
use bulkhead_core::limits::{BY_VALUES_MAX, BatchLimits, SINK_BUFFER_BYTES};
use bulkhead_core::manifest::Start;
use bulkhead_log::{Assigned, Event, Fetched, LogError, Reader, ReaderInput, ReaderSpec, Source};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Indexes of the two inputs.
const ROWS: u16 = 0;
const MANIFESTS: u16 = 1;
/// How long a poll may wait.
const POLL: Duration = Duration::from_millis(50);
/// The same while a task is under way.
const POLL_SOON: Duration = Duration::from_millis(5);
/// Bytes that the reader may hold.
const QUEUE_BYTES: u64 = 4 << 20;
/// Staged objects that could not be committed for this long are staged anew, well before they look like orphans.
pub(super) const STAGED_MAX: Duration = Duration::from_secs(1800);
/// How often orphans are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1800);
/// Offsets before a partition's end within which its last manifest is: markers take some.
const MARKERS_MAX: i64 = 20;
/// Manifests of one partition that may wait to be published before it is paused.
const WAITING_MAX: usize = 100;

/// See the module's documentation.
pub(super) struct SinkThread {
    spec: SinkSpec,
    state: Arc<PipelineState>,
    tools: Arc<Tools>,
    orders: Arc<Orders>,
    health: Health,
    said: bool,
}

/// Rows on their way to a staged object: the task, where they end, since when, and their bytes.
type Staging = (JoinHandle<Result<Manifest, LogError>>, i64, Instant, u64);

/// A partition of the rows topic.
struct Rows {
    epoch: u64,
    roll: Roll,
    /// Where the gathered rows end.
    next: i64,
    staging: Option<Staging>,
}

/// A manifest that was read and not published, or only a marker of a transaction.
struct Waiting {
    manifest: Option<(Manifest, i64)>,
    /// The position after it.
    next: i64,
}

/// A partition of the manifests topic.
struct Manifests {
    epoch: u64,
    /// Read and not published.
    waiting: VecDeque<Waiting>,
    publishing: Option<(JoinHandle<()>, Published, i64)>,
    /// Up to where all is published.
    committed: i64,
    swept: Option<Instant>,
    /// Staged objects that were old when all manifests were read up to here.
    orphans: Option<(Vec<ObjectKey>, i64)>,
    listing: Option<JoinHandle<Vec<ObjectKey>>>,
}

/// One membership.
struct Live {
    reader: Box<dyn Reader>,
    committer: Committer,
    rows: BTreeMap<i32, Rows>,
    manifests: BTreeMap<i32, Manifests>,
    paused: bool,
    paused_manifests: BTreeSet<i32>,
    trim: Trim,
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some((task, ..)) = &self.staging {
            task.abort();
        }
    }
}

impl Drop for Manifests {
    fn drop(&mut self) {
        if let Some((task, ..)) = &self.publishing {
            task.abort();
        }
    }
}

fn source(topic: u16, partition: i32) -> Source {
    Source { topic, partition }
}

impl SinkThread {
    pub(super) fn new(spec: SinkSpec, state: Arc<PipelineState>, tools: Arc<Tools>, orders: Arc<Orders>) -> Self {
        Self { spec, state, tools, orders, health: Health::default(), said: false }
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let Err(error) = self.incarnate() else { return };
            tracing::warn!(tenant = %self.state.key.tenant, pipeline = %self.state.key.pipeline, %error, "a sink begins anew");
            self.state.metrics.host_fault(error.code);
            failures = if started.elapsed() > self.tools.config.backoff_max { 0 } else { failures + 1 };
            match self.orders.get() {
                Order::Run => {}
                Order::Finish(until) if Instant::now() < until => {}
                _ => return,
            }
            let config = &self.tools.config;
            self.orders.wait(backoff(config.backoff_min, config.backoff_max, failures));
        }
    }

    /// One membership, until it is told to end, or has to begin anew.
    fn incarnate(&mut self) -> Result<(), LogError> {
        let input = |topic: &bulkhead_core::scope::PhysicalTopic| ReaderInput {
            topic: topic.clone(),
            start: Start::Earliest,
            initialised: BTreeSet::new(),
        };
        let reader = self.tools.log.reader(ReaderSpec {
            group: self.spec.group.clone(),
            inputs: vec![input(&self.spec.rows), input(&self.spec.manifests)],
            // Each row may be of another object, and a manifest has to fit its record.
            batch: BatchLimits { records: BY_VALUES_MAX as u32, ..BatchLimits::default() },
            queue_bytes: QUEUE_BYTES,
        })?;
        let mut live = Live {
            reader,
            committer: Committer::new(self.tools.worker.sink(&self.spec.group), self.spec.manifests.clone()),
            rows: BTreeMap::new(),
            manifests: BTreeMap::new(),
            paused: false,
            paused_manifests: BTreeSet::new(),
            trim: Trim::new(self.spec.rows.clone(), self.spec.manifests.clone(), self.tools.config.trim_every),
        };
        let ended = loop {
            match self.turn(&mut live) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        live.rows.clear();
        live.manifests.clear();
        live.reader.close();
        ended
    }

    /// Whether to go on.
    fn turn(&mut self, live: &mut Live) -> Result<bool, LogError> {
        let order = self.orders.get();
        match order {
            Order::Stop => return Ok(false),
            Order::Finish(until) if Instant::now() >= until => return Ok(false),
            _ => {}
        }
        self.say();
        let busy = live.rows.values().any(|rows| rows.staging.is_some())
            || live.manifests.values().any(|manifests| manifests.publishing.is_some() || manifests.listing.is_some());
        let due = live.rows.values().filter_map(|rows| rows.roll.due_in(&self.spec.output)).min().unwrap_or(POLL);
        let wait = if busy { POLL_SOON } else { POLL.min(due).max(POLL_SOON) };
        let idle = match live.reader.poll(wait)? {
            Event::Idle => true,
            Event::Assigned(assigned) => {
                self.assigned(live, assigned)?;
                false
            }
            Event::Revoke { sources, lost } => {
                // Nothing of theirs is under way but tasks, which end with them: commits happen on this thread.
                for gone in &sources {
                    match gone.topic {
                        ROWS => drop(live.rows.remove(&gone.partition)),
                        _ => drop(live.manifests.remove(&gone.partition)),
                    }
                }
                if !lost {
                    live.reader.acknowledge(&sources)?;
                }
                false
            }
            Event::Batch(fetched) => {
                self.fetched(live, fetched)?;
                false
            }
        };
        let finishing = order != Order::Run;
        self.roll(live, finishing)?;
        self.publish(live)?;
        live.trim.step(&self.tools.log, &self.tools.runtime);
        self.make_room(live)?;
        Ok(!(finishing && idle && !busy && self.all_is_written(live)?))
    }

    /// Tells the pipeline's status of a store that is away.
    fn say(&mut self) {
        match self.health.trouble() {
            Some(_) if !self.said => {
                self.said = true;
                self.state.metrics.host_fault(Code::BucketUnavailable);
                let message = "a bucket does not answer; rows for it wait in the log".to_owned();
                self.state.say(Phase::Backoff, Some((Code::BucketUnavailable, message)));
            }
            None if self.said => {
                self.said = false;
                self.state.say(Phase::Running, None);
            }
            _ => {}
        }
    }

    fn assigned(&self, live: &mut Live, assigned: Vec<Assigned>) -> Result<(), LogError> {
        if live.paused {
            let rows = assigned.iter().map(|assigned| assigned.source).filter(|source| source.topic == ROWS);
            live.reader.pause(&rows.collect::<Vec<_>>())?;
        }
        for Assigned { source, epoch, position } in assigned {
            if source.topic == ROWS {
                let named = self.named_up_to(source.partition)?;
                if named > position {
                    live.reader.seek(source, named)?;
                }
                let rows = Rows { epoch, roll: Roll::default(), next: position.max(named), staging: None };
                live.rows.insert(source.partition, rows);
            } else {
                let manifests = Manifests {
                    epoch,
                    waiting: VecDeque::new(),
                    publishing: None,
                    committed: position,
                    swept: None,
                    orphans: None,
                    listing: None,
                };
                live.manifests.insert(source.partition, manifests);
            }
        }
        Ok(())
    }

    /// The position up to which the last manifest has rows in objects; 0 where there is none. The group's own position says the same,
    /// unless the log has forgotten the group, as Kafka does after a week without members: then rows would come twice.
    fn named_up_to(&self, partition: i32) -> Result<i64, LogError> {
        let ends = self.tools.log.ends(std::slice::from_ref(&self.spec.manifests))?;
        let partitions = ends.first().map_or(&[][..], Vec::as_slice);
        let Some(end) = partitions.get(partition.rem_euclid(partitions.len().max(1) as i32) as usize) else {
            return Ok(0);
        };
        // The last record is followed by at most one marker of its transaction, and by those of positions alone.
        let from = Start::Offset(end.saturating_sub(MARKERS_MAX).max(0));
        let (batch, _) =
            self.tools.log.read(&self.spec.manifests, partition, from, &BatchLimits::MAX, Duration::ZERO)?;
        let manifests = (0..batch.len()).rev().filter_map(|i| batch.values.get(i));
        let manifests = manifests.filter_map(|json| serde_json::from_slice::<Manifest>(json).ok());
        let own = manifests.filter(|of| of.partition == partition && of.rows == self.spec.rows.as_str());
        Ok(own.map(|manifest| manifest.next).next().unwrap_or(0))
    }

    fn fetched(&self, live: &mut Live, fetched: Fetched) -> Result<(), LogError> {
        let partition = fetched.source.partition;
        if fetched.source.topic == ROWS {
            let Some(rows) = live.rows.get_mut(&partition) else { return Ok(()) };
            for i in 0..fetched.batch.len() {
                rows.roll.push(&self.spec.schema, fetched.batch.offsets[i], fetched.batch.values.get(i))?;
            }
            rows.next = fetched.next;
            return Ok(());
        }
        let Some(manifests) = live.manifests.get_mut(&partition) else { return Ok(()) };
        for i in 0..fetched.batch.len() {
            let json = fetched.batch.values.get(i).unwrap_or_default();
            let manifest: Manifest = serde_json::from_slice(json).map_err(|error| {
                LogError::new(Code::LogCorrupt, format!("a manifest record is not readable: {error}"))
            })?;
            let offset = fetched.batch.offsets[i];
            manifests.waiting.push_back(Waiting { manifest: Some((manifest, offset)), next: offset + 1 });
        }
        match manifests.waiting.back_mut() {
            Some(last) if last.next < fetched.next => last.next = fetched.next,
            Some(_) => {}
            None => manifests.waiting.push_back(Waiting { manifest: None, next: fetched.next }),
        }
        Ok(())
    }

    /// Starts staging what is due, and commits what is staged.
    fn roll(&self, live: &mut Live, finishing: bool) -> Result<(), LogError> {
        let member = live.reader.membership();
        let held: u64 = live.rows.values().map(held).sum();
        let staging = live.rows.values().any(|rows| rows.staging.is_some());
        let largest = live.rows.iter().max_by_key(|(_, rows)| rows.roll.held).map(|(partition, _)| *partition);
        let mut lost = Vec::new();
        for (partition, rows) in &mut live.rows {
            if rows.staging.as_ref().is_some_and(|(task, ..)| task.is_finished()) {
                let Some((task, next, since, _)) = rows.staging.take() else { continue };
                let staged = self.tools.runtime.block_on(task);
                let manifest = staged.map_err(|panic| LogError::new(Code::Internal, panic.to_string()))??;
                if since.elapsed() > STAGED_MAX {
                    return Err(LogError::new(Code::BucketUnavailable, "staging took too long; it begins anew"));
                }
                let position = (source(ROWS, *partition), rows.epoch, next);
                if live.committer.commit(&self.tools, &member, position, Some(&manifest))? == Done::Lost {
                    lost.push(*partition);
                }
            }
            let forced = finishing || (held >= SINK_BUFFER_BYTES && !staging && largest == Some(*partition));
            let due = rows.roll.is_due(&self.spec.output) || (forced && !rows.roll.is_empty());
            if due && rows.staging.is_none() {
                let roll = std::mem::take(&mut rows.roll);
                let held = roll.held;
                let task = self.tools.runtime.spawn(self.stager().stage(*partition, roll, rows.next));
                rows.staging = Some((task, rows.next, Instant::now(), held));
            }
        }
        lost.iter().for_each(|partition| drop(live.rows.remove(partition)));
        Ok(())
    }

    fn stager(&self) -> Stager {
        Stager {
            bucket: self.spec.bucket(&self.tools, &self.spec.output.bucket),
            rows: self.spec.rows.to_string(),
            output: Arc::new(self.spec.output.clone()),
            schema: Arc::new(self.spec.schema.clone()),
            config: self.tools.config.clone(),
            health: self.health.clone(),
        }
    }

    /// Publishes what manifests name, one after the other, and commits after each.
    fn publish(&self, live: &mut Live) -> Result<(), LogError> {
        let member = live.reader.membership();
        let mut lost = Vec::new();
        for (partition, manifests) in &mut live.manifests {
            if manifests.publishing.as_ref().is_some_and(|(task, ..)| task.is_finished()) {
                let Some((task, published, next)) = manifests.publishing.take() else { continue };
                self.tools.runtime.block_on(task).map_err(|panic| LogError::new(Code::Internal, panic.to_string()))?;
                let position = (source(MANIFESTS, *partition), manifests.epoch, next);
                match live.committer.commit(&self.tools, &member, position, None)? {
                    Done::Committed => {
                        manifests.committed = next;
                        live.trim.note(*partition, &published);
                    }
                    Done::Lost => lost.push(*partition),
                }
            }
            while manifests.publishing.is_none() {
                let Some(Waiting { manifest, next }) = manifests.waiting.pop_front() else { break };
                let Some((manifest, offset)) = manifest else {
                    // Only a marker of a transaction: nothing that is worth a commit.
                    manifests.committed = next;
                    continue;
                };
                let bucket = self.spec.bucket(&self.tools, &manifest.bucket);
                let published = Published::of(&manifest, offset);
                let task = publish(bucket, manifest, self.tools.config.clone(), self.health.clone());
                manifests.publishing = Some((self.tools.runtime.spawn(task), published, next));
            }
            self.sweep(*partition, manifests)?;
        }
        lost.iter().for_each(|partition| drop(live.manifests.remove(partition)));
        Ok(())
    }

    /// Looks for orphans now and then: lists what is old, publishes all that could name it, removes what is still there.
    fn sweep(&self, partition: i32, manifests: &mut Manifests) -> Result<(), LogError> {
        if manifests.listing.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(task) = manifests.listing.take()
        {
            let old = self.tools.runtime.block_on(task).unwrap_or_default();
            if !old.is_empty() {
                let ends = self.tools.log.ends(std::slice::from_ref(&self.spec.manifests))?;
                let end = ends.first().and_then(|ends| ends.get(partition as usize)).copied().unwrap_or(i64::MAX);
                manifests.orphans = Some((old, end));
            }
        }
        let done = |manifests: &Manifests| manifests.publishing.is_none() && manifests.waiting.is_empty();
        if let Some((orphans, end)) = manifests.orphans.take() {
            if manifests.committed >= end && done(manifests) {
                let bucket = self.spec.bucket(&self.tools, &self.spec.output.bucket);
                drop(self.tools.runtime.spawn(sweep(bucket, orphans)));
            } else {
                manifests.orphans = Some((orphans, end));
            }
        }
        let due = manifests.swept.is_none_or(|at| at.elapsed() > SWEEP_EVERY);
        if due && manifests.orphans.is_none() && manifests.listing.is_none() {
            manifests.swept = Some(Instant::now());
            let bucket = self.spec.bucket(&self.tools, &self.spec.output.bucket);
            let list = async move { bucket.staged_before(partition, ORPHAN_AGE).await.unwrap_or_default() };
            manifests.listing = Some(self.tools.runtime.spawn(list));
        }
        Ok(())
    }

    /// Pauses what brings more than there is room for.
    fn make_room(&self, live: &mut Live) -> Result<(), LogError> {
        let held: u64 = live.rows.values().map(held).sum();
        let rows: Vec<_> = live.rows.keys().map(|partition| source(ROWS, *partition)).collect();
        if held >= SINK_BUFFER_BYTES && !live.paused {
            live.reader.pause(&rows)?;
            live.paused = true;
        } else if live.paused && held < SINK_BUFFER_BYTES / 2 {
            live.reader.resume(&rows)?;
            live.paused = false;
        }
        live.paused_manifests.retain(|partition| live.manifests.contains_key(partition));
        for (partition, manifests) in &live.manifests {
            let source = [source(MANIFESTS, *partition)];
            let waiting = manifests.waiting.len();
            if waiting >= WAITING_MAX && live.paused_manifests.insert(*partition) {
                live.reader.pause(&source)?;
            } else if waiting < WAITING_MAX / 2 && live.paused_manifests.remove(partition) {
                live.reader.resume(&source)?;
            }
        }
        Ok(())
    }

    /// Whether all rows of the owned partitions are in published objects.
    fn all_is_written(&self, live: &Live) -> Result<bool, LogError> {
        let working = live.rows.values().any(|rows| !rows.roll.is_empty() || rows.staging.is_some())
            || live.manifests.values().any(|manifests| !manifests.waiting.is_empty() || manifests.publishing.is_some());
        if working {
            return Ok(false);
        }
        let ends = self.tools.log.ends(&[self.spec.rows.clone(), self.spec.manifests.clone()])?;
        let end = |topic: u16, partition: i32| {
            ends.get(usize::from(topic)).and_then(|ends| ends.get(partition as usize)).copied()
        };
        let rows = live.rows.iter().all(|(partition, rows)| end(ROWS, *partition).is_none_or(|end| rows.next >= end));
        let mut manifests = live.manifests.iter();
        let published =
            manifests.all(|(partition, of)| end(MANIFESTS, *partition).is_none_or(|end| of.committed >= end));
        Ok(rows && published)
    }
}

/// Bytes that a partition's rows take, staged ones too.
fn held(rows: &Rows) -> u64 {
    rows.roll.held + rows.staging.as_ref().map_or(0, |(_, _, _, held)| *held)
}
