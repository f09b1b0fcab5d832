//! Which of the slots this worker owns: pipelines hash to them, and who owns a slot looks after its pipelines.
//!
//! The slots are the partitions of a topic that never holds a record; the workers of a fleet share them out as the members of one group, so
//! that a worker that dies is noticed as every other member is. A worker that does not know its slots yet stands by for all pipelines, for
//! [`FlowConfig::slots_wait`](crate::FlowConfig::slots_wait) at most: a group that does not form, or a log that is away, must not keep
//! pipelines from running, so from then on it looks after all of them, which costs work and nothing else. The same goes for a worker that
//! lost its membership.
//! Must never: write to the topic, or let a slot go to the next owner before this worker has let go of it.

use super::Shared;
use crate::config::backoff;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::WorkerScope;
use bulkhead_log::{Event, Keep, LogError, Reader, ReaderInput, ReaderSpec, TopicSpec, partition_of};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many there are: for a hundred workers at most, and few enough to be assigned in one go.
pub(crate) const SLOTS: i32 = 128;
/// How long a poll of the group may wait. A stop waits for it.
const POLL: Duration = Duration::from_millis(100);
/// Bytes that a member of the group may fetch ahead, where nothing is to be fetched.
const QUEUE_BYTES: u64 = 1 << 20;

/// The slot of a pipeline: the partition to which Kafka's own clients would write a record with the key `TENANT/PROJECT/PIPELINE`. It is the
/// same on all workers, and has to stay so.
pub(crate) fn slot_of(key: &PipelineKey) -> i32 {
    let PipelineKey { tenant, project, pipeline } = key;
    partition_of(Some(format!("{tenant}/{project}/{pipeline}").as_bytes()), 0, SLOTS)
}

/// The slots that a worker owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owned {
    /// None that it knows of, yet.
    Unknown,
    These(BTreeSet<i32>),
    All,
}

impl Owned {
    pub(super) fn has(&self, slot: i32) -> bool {
        match self {
            Self::Unknown => false,
            Self::These(slots) => slots.contains(&slot),
            Self::All => true,
        }
    }
}

/// The membership in the group of slots, as long as it is not dropped.
pub(super) struct Slots {
    wanted: Arc<Wanted>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Default)]
struct Wanted {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    /// Whose slots they are: [`bulkhead_core::assignment::Assignment::fleet`].
    fleet: Option<String>,
    stop: bool,
}

impl Slots {
    /// # Panics
    /// Where the system gives no thread.
    pub(super) fn start(shared: Arc<Shared>, worker: WorkerScope) -> Self {
        let wanted = Arc::new(Wanted::default());
        let holder = Holder { shared, worker, wanted: wanted.clone(), slots: BTreeSet::new(), unknown_since: None };
        let thread = std::thread::Builder::new().name("slots".to_owned()).spawn(move || holder.run());
        Self { wanted, thread: Some(thread.expect("the system gives a thread")) }
    }

    /// Shares the slots of this fleet from now on.
    pub(super) fn follow(&self, fleet: &str) {
        self.wanted.told.lock().fleet = Some(fleet.to_owned());
        self.wanted.changed.notify_all();
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.wanted.told.lock().stop = true;
        self.wanted.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that holds this worker's slots panicked");
        }
    }
}

impl Wanted {
    /// The fleet, once it is known; `None` where it is time to stop.
    fn fleet(&self) -> Option<String> {
        let mut told = self.told.lock();
        self.changed.wait_while(&mut told, |told| told.fleet.is_none() && !told.stop);
        told.fleet.clone().filter(|_| !told.stop)
    }

    fn is(&self, fleet: &str) -> bool {
        let told = self.told.lock();
        !told.stop && told.fleet.as_deref() == Some(fleet)
    }

    fn wait(&self, fleet: &str, timeout: Duration) {
        let mut told = self.told.lock();
        let same = |told: &mut Told| !told.stop && told.fleet.as_deref() == Some(fleet);
        self.changed.wait_while_for(&mut told, same, timeout);
    }
}

/// The thread.
struct Holder {
    shared: Arc<Shared>,
    worker: WorkerScope,
    wanted: Arc<Wanted>,
    slots: BTreeSet<i32>,
    /// Since when it is no member that knows its slots.
    unknown_since: Option<Instant>,
}

impl Holder {
    fn run(mut self) {
        let config = self.shared.config.clone();
        while let Some(fleet) = self.wanted.fleet() {
            let mut failures = 0;
            self.unknown();
            while self.wanted.is(&fleet) {
                let Err(error) = self.hold(&fleet) else { break };
                if failures == 0 {
                    tracing::warn!(%error, "no slots are shared out; without them this worker will look after all pipelines");
                }
                self.unknown();
                self.look_unknown();
                self.wanted.wait(&fleet, backoff(config.backoff_min, config.slots_wait, failures));
                failures += 1;
            }
        }
    }

    /// One membership, until another fleet is told, or it is time to stop.
    fn hold(&mut self, fleet: &str) -> Result<(), LogError> {
        let mut reader = self.join(fleet)?;
        let mut said = false;
        while self.wanted.is(fleet) {
            match reader.poll(POLL) {
                Ok(event) => self.heard(reader.as_mut(), event)?,
                Err(error) if error.code == Code::LogUnavailable => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%error, "the group that shares out the slots does not answer");
                    }
                    self.wanted.wait(fleet, POLL);
                }
                Err(error) => return Err(error),
            }
            self.look_unknown();
        }
        // Nothing is held for whom comes next.
        self.unknown();
        reader.close();
        Ok(())
    }

    fn join(&self, fleet: &str) -> Result<Box<dyn Reader>, LogError> {
        let topic = self.worker.slots_topic();
        if self.shared.log.ends(std::slice::from_ref(&topic))?.iter().all(Vec::is_empty) {
            let spec = TopicSpec { partitions: SLOTS, max_record_bytes: None, replicas: None, keep: Keep::Default };
            match self.shared.log.create_topic(&topic, &spec) {
                // Another worker was quicker.
                Err(error) if error.code == Code::Conflict => {}
                made => made?,
            }
        }
        let input = ReaderInput { topic, start: Start::Earliest, initialised: BTreeSet::new() };
        self.shared.log.reader(ReaderSpec {
            group: self.worker.slots_group(fleet),
            inputs: vec![input],
            batch: BatchLimits::default(),
            queue_bytes: QUEUE_BYTES,
        })
    }

    fn heard(&mut self, reader: &mut dyn Reader, event: Event) -> Result<(), LogError> {
        match event {
            Event::Assigned(assigned) => {
                self.slots.extend(assigned.iter().map(|assigned| assigned.source.partition));
                self.unknown_since = None;
                self.shared.own(Owned::These(self.slots.clone()));
            }
            Event::Revoke { sources, lost: false } => {
                let gone: BTreeSet<_> = sources.iter().map(|source| source.partition).collect();
                self.slots.retain(|slot| !gone.contains(slot));
                self.shared.own(Owned::These(self.slots.clone()));
                reader.acknowledge(&sources)?;
            }
            Event::Revoke { lost: true, .. } => self.unknown(),
            Event::Idle | Event::Batch(_) => {}
        }
        Ok(())
    }

    /// It owns nothing that it knows of.
    fn unknown(&mut self) {
        self.slots.clear();
        if self.unknown_since.is_none() {
            self.unknown_since = Some(Instant::now());
            self.shared.own(Owned::Unknown);
        }
    }

    /// Where it has not known its slots for too long, they are all its.
    fn look_unknown(&self) {
        if self.unknown_since.is_some_and(|since| since.elapsed() >= self.shared.config.slots_wait) {
            self.shared.own(Owned::All);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers of two versions that run side by side, as in an upgrade, must agree.
    #[test]
    fn a_slot_stays_the_same_over_versions() {
        let key = |pipeline: &str| PipelineKey {
            tenant: "acme".parse().unwrap(),
            project: "default".parse().unwrap(),
            pipeline: pipeline.parse().unwrap(),
        };
        assert_eq!(["orders", "flights", "p"].map(|name| slot_of(&key(name))), [83, 24, 6]);
        let slots: BTreeSet<_> = (0..2_000).map(|i| slot_of(&key(&format!("p-{i}")))).collect();
        assert_eq!(slots.len() as i32, SLOTS, "all are used");
    }
}
