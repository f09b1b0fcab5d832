//! A member of a consumer group of Kafka's.
//!
//! librdkafka calls back about changes of the assignment and then waits for an answer: `(un)assign` is called only once first positions
//! are committed, or once the reader's user has acknowledged. The reader's thread does everything here; librdkafka's threads only wake it.
//! Must never: answer a revoke before its acknowledgement, unless the partitions are lost already.

use super::Shared;
use super::admin::shapes;
use super::client::{Client, Kind};
use super::errors::GONE;
use super::inputs::Inputs;
use super::member::Member;
use super::messages::{Message, Scratch};
use super::native::{NativeError, Partition, Partitions, Queue, code, fatal_error};
use super::offsets::STABLE_TIMEOUT;
use super::partition::Owned;
use super::start::{self, NotYet};
use super::{config, topics};
use crate::wake::Waker;
use crate::{Assigned, Event, LogError, Membership, Reader, ReaderSpec, Source};
use bulkhead_core::code::Code;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a reader sees whether its topics are still there, without a reason to doubt it.
const TOPIC_CHECK: Duration = Duration::from_secs(30);
/// When it looks, after a reason to doubt it: brokers learn of a deletion one after the other.
const DOUBT: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// How long leaving the group may take before it is left to the session's end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A subscription names topics, not partitions.
const ANY_PARTITION: i32 = -1;
/// The pause between attempts to learn the positions of new partitions.
const FAILED_RETRY: Duration = Duration::from_millis(500);

/// A group's reader.
pub(super) struct KafkaReader {
    // Queues and messages before the client that they belong to.
    owned: Vec<Owned>,
    main: Queue,
    client: Arc<Client>,
    // After the queue whose callback points to it.
    waker: Arc<Waker>,
    shared: Arc<Shared>,
    member: Arc<Member>,
    inputs: Inputs,
    scratch: Scratch,
    turn: usize,
    pending: Option<Pending>,
    checks: VecDeque<Instant>,
}

/// A change of the assignment that librdkafka waits to see answered.
enum Pending {
    Assign { partitions: Vec<Partition>, since: Instant, retry: Instant },
    Revoke { partitions: Vec<Partition>, waiting: BTreeSet<Source> },
}

impl KafkaReader {
    pub(super) fn join(shared: Arc<Shared>, spec: ReaderSpec) -> Result<Self, LogError> {
        let inputs = Inputs::new(spec);
        let mut partitions = 0;
        for (name, shape) in inputs.names().iter().zip(shapes(&shared.admin, &inputs.names())?) {
            partitions += shape.ok_or_else(|| topics::gone(name))?.partitions as usize;
        }
        let client = Arc::new(Client::new(Kind::Member, &config::member(&shared.config, &inputs.spec, partitions))?);
        shared.groups.joined(inputs.group(), &client);
        let waker = Arc::new(Waker::default());
        let names = inputs.spec.inputs.iter().map(|input| input.topic.clone()).collect();
        let member = Arc::new(Member::new(inputs.spec.group.clone(), names, Arc::clone(&client)));
        // SAFETY: the handle is live; the reference given is ours; the callback's opaque lives until the callback is taken off, in drop.
        let main = unsafe {
            rd::rd_kafka_poll_set_consumer(client.rk());
            let main = Queue::own(rd::rd_kafka_queue_get_consumer(client.rk())).expect("a consumer has a queue");
            rd::rd_kafka_queue_cb_event_enable(main.as_ptr(), Some(on_event), Arc::as_ptr(&waker).cast_mut().cast());
            main
        };
        let checks = VecDeque::from([Instant::now() + TOPIC_CHECK]);
        let reader = Self {
            owned: Vec::new(),
            main,
            client,
            waker,
            shared,
            member,
            inputs,
            scratch: Scratch::new(),
            turn: 0,
            pending: None,
            checks,
        };
        reader.subscribe()?;
        Ok(reader)
    }

    fn subscribe(&self) -> Result<(), LogError> {
        let mut list = Partitions::new();
        self.inputs.names().iter().for_each(|topic| list.add(topic, ANY_PARTITION, 0));
        // SAFETY: handle and list are live; the list is copied.
        let failed = unsafe { rd::rd_kafka_subscribe(self.client.rk(), list.as_ptr()) };
        NativeError::check(code(failed)).map_err(|error| self.client.error("subscribing", &error))
    }

    /// Serves librdkafka's callbacks, and takes what it says of the group as a whole.
    fn serve(&mut self) -> Result<(), LogError> {
        loop {
            // SAFETY: the handle is live; a message given is ours.
            let Some(message) = Message::own(unsafe { rd::rd_kafka_consumer_poll(self.client.rk(), 0) }) else { break };
            if message.error() != 0 {
                let error = NativeError { text: message.error_text(), ..NativeError::of(message.error()) };
                self.fails(message.topic().as_deref().unwrap_or("its topics"), &error)?;
            }
        }
        match self.client.take_refusal() {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }

    /// Decides what an error in place of a record means.
    fn fails(&mut self, topic: &str, error: &NativeError) -> Result<(), LogError> {
        let doing = || format!("group {} reading {topic}", self.inputs.group());
        if GONE.contains(&error.code) {
            self.doubt();
            return Ok(());
        }
        if error.code == code(E::RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) {
            // A revoke follows, of partitions that are lost.
            tracing::warn!(target: "kafka", group = self.inputs.group(), "the reader was not polled in time");
            return Ok(());
        }
        if error.code == code(E::RD_KAFKA_RESP_ERR__BAD_MSG)
            || error.code == code(E::RD_KAFKA_RESP_ERR__BAD_COMPRESSION)
        {
            return Err(LogError::new(Code::LogCorrupt, format!("{}: {}", doing(), error.text)));
        }
        let fatal = fatal_error(self.client.rk());
        Err(self.client.error(&doing(), fatal.as_ref().unwrap_or(error)))
    }

    fn doubt(&mut self) {
        let now = Instant::now();
        self.checks = DOUBT.iter().map(|after| now + *after).collect();
    }

    /// Looks whether the topics are still there, where it is time to.
    fn check_topics(&mut self) -> Result<(), LogError> {
        if self.checks.front().is_none_or(|at| Instant::now() < *at) {
            return Ok(());
        }
        self.checks.pop_front();
        if self.checks.is_empty() {
            self.checks.push_back(Instant::now() + TOPIC_CHECK);
        }
        // A log that does not answer says nothing about its topics.
        let Ok(found) = shapes(&self.shared.admin, &self.inputs.names()) else { return Ok(()) };
        match self.inputs.names().iter().zip(found).find(|(_, shape)| shape.is_none()) {
            Some((name, _)) => Err(topics::gone(name)),
            None => Ok(()),
        }
    }

    /// What changed in the assignment, answered where it can be.
    fn rebalanced(&mut self) -> Result<Option<Event>, LogError> {
        if self.pending.is_none() {
            let Some(change) = self.client.told().rebalances.lock().pop_front() else { return Ok(None) };
            if change.assign {
                let now = Instant::now();
                self.pending = Some(Pending::Assign { partitions: change.partitions, since: now, retry: now });
            } else {
                return self.revoked(change.partitions, change.lost);
            }
        }
        let Some(Pending::Assign { partitions, since, retry }) = &self.pending else { return Ok(None) };
        let waited = since.elapsed();
        if Instant::now() < *retry {
            return Ok(None);
        }
        let sources: Vec<Source> =
            partitions.iter().filter_map(|found| self.inputs.source(&found.topic, found.partition)).collect();
        match start::positions(&self.shared, &self.client, &self.inputs, &sources) {
            Ok(positions) => {
                self.pending = None;
                let at =
                    sources.into_iter().map(|source| (source, positions.get(&source).copied().unwrap_or(0))).collect();
                self.assign(at)
            }
            Err(NotYet::Expelled) => {
                // What was granted is lost; librdkafka says so once it has an answer to the grant.
                self.pending = None;
                self.answer(true, &Partitions::new())?;
                Ok(None)
            }
            // The transaction of a worker that vanished may still hold them, which is nobody's trouble yet.
            Err(NotYet::Failed(error)) if error.code == Code::LogUnavailable && waited < STABLE_TIMEOUT => {
                self.later(FAILED_RETRY, Ok(None))
            }
            Err(NotYet::Failed(error)) => self.later(FAILED_RETRY, Err(error)),
        }
    }

    fn later<T>(&mut self, wait: Duration, result: T) -> T {
        if let Some(Pending::Assign { retry, .. }) = &mut self.pending {
            *retry = Instant::now() + wait;
        }
        result
    }

    fn assign(&mut self, at: Vec<(Source, i64)>) -> Result<Option<Event>, LogError> {
        let mut list = Partitions::new();
        let mut new = Vec::with_capacity(at.len());
        for (source, position) in &at {
            let topic = self.inputs.topic(*source);
            list.add(topic, source.partition, *position);
            new.extend(Owned::new(&self.client, *source, topic, *position, &self.waker));
        }
        self.answer(true, &list)?;
        let epochs = self.member.own(at.iter().map(|(source, _)| *source));
        let assigned: Vec<Assigned> = epochs
            .iter()
            .zip(&at)
            .map(|((source, epoch), (_, position))| Assigned { source: *source, epoch: *epoch, position: *position })
            .collect();
        for owned in &mut new {
            if let Some(assigned) = assigned.iter().find(|assigned| assigned.source == owned.source) {
                owned.set_epoch(assigned.epoch);
            }
        }
        self.owned.append(&mut new);
        Ok((!assigned.is_empty()).then_some(Event::Assigned(assigned)))
    }

    fn revoked(&mut self, partitions: Vec<Partition>, lost: bool) -> Result<Option<Event>, LogError> {
        let named: BTreeSet<Source> =
            partitions.iter().filter_map(|found| self.inputs.source(&found.topic, found.partition)).collect();
        let waiting: BTreeSet<Source> =
            self.owned.iter().map(|owned| owned.source).filter(|source| named.contains(source)).collect();
        self.owned.retain(|owned| !waiting.contains(&owned.source));
        self.doubt();
        let sources: Vec<Source> = waiting.iter().copied().collect();
        if lost {
            self.member.disown(&sources);
        }
        self.pending = Some(Pending::Revoke { partitions, waiting: if lost { BTreeSet::new() } else { waiting } });
        self.release()?;
        Ok((!sources.is_empty()).then_some(Event::Revoke { sources, lost }))
    }

    /// Answers a revoke once nothing is waited for any more.
    fn release(&mut self) -> Result<(), LogError> {
        if !matches!(&self.pending, Some(Pending::Revoke { waiting, .. }) if waiting.is_empty()) {
            return Ok(());
        }
        let Some(Pending::Revoke { partitions, .. }) = self.pending.take() else { return Ok(()) };
        let mut list = Partitions::new();
        partitions.iter().for_each(|found| list.add(&found.topic, found.partition, 0));
        self.answer(false, &list)
    }

    /// Answers a change. librdkafka paused all partitions meanwhile and goes on from positions of its own, so each is sent to where it is.
    fn answer(&mut self, assign: bool, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: handle and list are live; the list is copied.
        let answered = unsafe {
            NativeError::take(if assign {
                rd::rd_kafka_incremental_assign(self.client.rk(), list.as_ptr())
            } else {
                rd::rd_kafka_incremental_unassign(self.client.rk(), list.as_ptr())
            })
        };
        answered.map_err(|error| self.client.error("answering a change of the assignment", &error))?;
        let at: Vec<_> = self.owned.iter().map(|owned| (owned.source, owned.resume_at())).collect();
        self.send_to(&at)
    }

    fn send_to(&self, at: &[(Source, i64)]) -> Result<(), LogError> {
        if at.is_empty() {
            return Ok(());
        }
        let mut list = Partitions::new();
        at.iter().for_each(|(source, offset)| list.add(self.inputs.topic(*source), source.partition, *offset));
        // SAFETY: handle and list are live. Without a timeout the call only queues; what was fetched before is void at once.
        let sought = unsafe { NativeError::take(rd::rd_kafka_seek_partitions(self.client.rk(), list.as_ptr(), 0)) };
        sought.map_err(|error| self.client.error("seeking", &error))
    }

    /// A batch that is ready, or else when the first may be.
    fn ready(&mut self) -> Result<(Option<Event>, Option<Instant>), LogError> {
        let limits = self.inputs.spec.batch;
        let linger = Duration::from_millis(limits.linger_ms);
        // What a paused partition holds is one batch at most, and must not keep the others from going on.
        let mut held: usize = self.owned.iter().filter(|owned| !owned.paused).map(Owned::bytes).sum();
        let mut soonest = None;
        for step in 0..self.owned.len() {
            let i = (self.turn + step) % self.owned.len();
            let owned = &mut self.owned[i];
            if owned.paused {
                continue;
            }
            // Half of the budget is librdkafka's queues.
            let crowded = held as u64 >= self.inputs.spec.queue_bytes / 2;
            if !crowded {
                let before = owned.bytes();
                if let Err(error) = owned.fill(&limits, &mut self.scratch) {
                    let topic = owned.topic.clone();
                    self.fails(&topic, &error)?;
                    continue;
                }
                held += owned.bytes().saturating_sub(before);
            }
            let Some(since) = owned.since() else { continue };
            if owned.is_full() || crowded || since.elapsed() >= linger {
                if let Some(fetched) = owned.give(&self.client) {
                    self.turn = i + 1;
                    return Ok((Some(Event::Batch(fetched)), None));
                }
                continue;
            }
            soonest = Some(soonest.map_or(since + linger, |at: Instant| at.min(since + linger)));
        }
        Ok((None, soonest))
    }

    /// When this reader has something to do of itself.
    fn due(&self) -> Option<Instant> {
        let retry = match &self.pending {
            Some(Pending::Assign { retry, .. }) => Some(*retry),
            _ => None,
        };
        self.checks.front().copied().into_iter().chain(retry).min()
    }

    /// Leaves the group, with the answer that librdkafka waits for given first.
    fn leave(&mut self) {
        self.owned.clear();
        self.member.close();
        let until = Instant::now() + CLOSE_TIMEOUT;
        // SAFETY: handle and queue are live. Events of the closing come to this queue; a change of the assignment among them wants to
        // see everything unassigned.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.main.as_ptr(), None, ptr::null_mut());
            if self.pending.is_some() {
                rd::rd_kafka_assign(self.client.rk(), ptr::null());
            }
            let Some(queue) = Queue::own(rd::rd_kafka_queue_new(self.client.rk())) else { return };
            if NativeError::take(rd::rd_kafka_consumer_close_queue(self.client.rk(), queue.as_ptr())).is_err() {
                return;
            }
            while rd::rd_kafka_consumer_closed(self.client.rk()) == 0 && Instant::now() < until {
                if let Some(event) = queue.poll(Duration::from_millis(20))
                    && rd::rd_kafka_event_type(event.as_ptr()) == rd::RD_KAFKA_EVENT_REBALANCE
                {
                    rd::rd_kafka_assign(self.client.rk(), ptr::null());
                }
            }
        }
    }
}

unsafe extern "C" fn on_event(_: *mut rd::rd_kafka_t, waker: *mut c_void) {
    // SAFETY: the reader's waker, which lives until this callback is taken off.
    unsafe { &*waker.cast::<Waker>() }.wake();
}

impl Reader for KafkaReader {
    fn poll(&mut self, timeout: Duration) -> Result<Event, LogError> {
        let deadline = Instant::now() + timeout;
        loop {
            self.serve()?;
            if let Some(event) = self.rebalanced()? {
                return Ok(event);
            }
            self.check_topics()?;
            let (event, soonest) = self.ready()?;
            if let Some(event) = event {
                return Ok(event);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Event::Idle);
            }
            let wake = soonest.into_iter().chain(self.due()).min().unwrap_or(deadline);
            self.waker.wait_until(wake.min(deadline));
        }
    }

    fn acknowledge(&mut self, revoked: &[Source]) -> Result<(), LogError> {
        if let Some(Pending::Revoke { waiting, .. }) = &mut self.pending {
            waiting.retain(|source| !revoked.contains(source));
            self.member.disown(revoked);
        }
        self.release()
    }

    fn pause(&mut self, sources: &[Source]) -> Result<(), LogError> {
        self.owned.iter_mut().filter(|owned| sources.contains(&owned.source)).for_each(|owned| owned.paused = true);
        Ok(())
    }

    fn resume(&mut self, sources: &[Source]) -> Result<(), LogError> {
        self.owned.iter_mut().filter(|owned| sources.contains(&owned.source)).for_each(|owned| owned.paused = false);
        Ok(())
    }

    fn seek(&mut self, source: Source, offset: i64) -> Result<(), LogError> {
        let Some(owned) = self.owned.iter_mut().find(|owned| owned.source == source) else { return Ok(()) };
        owned.restart(offset);
        self.send_to(&[(source, offset)])
    }

    fn membership(&self) -> Arc<dyn Membership> {
        Arc::clone(&self.member) as Arc<dyn Membership>
    }

    fn close(self: Box<Self>) {}
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.leave();
    }
}
