//! One owned partition: its own queue of librdkafka's, and the batch that is being cut from it.
//!
//! A queue for each partition lets a paused one keep what it prefetched, and copies run after run into the same columns.
//! librdkafka may fetch again what it gave already (a rebalance pauses all partitions and goes on from a position that it keeps
//! itself), so records below the next expected offset are dropped here.
//! Must never: give a record twice or out of order, or a position that leaves out a record.

use super::client::Client;
use super::messages::{Message, Scratch};
use super::native::{ErrorCode, NativeError, Partitions, Queue, c_name};
use crate::wake::Waker;
use crate::{Fetched, Source};
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use rdkafka::bindings as rd;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a queue's callback points to.
struct Signal {
    /// The queue may hold something.
    filled: AtomicBool,
    waker: Arc<Waker>,
}

/// A queue whose callback wakes the reader.
struct Signalled {
    queue: Queue,
    signal: Box<Signal>,
}

impl Signalled {
    fn new(client: &Client, topic: &str, partition: i32, waker: &Arc<Waker>) -> Option<Self> {
        let topic = c_name(topic);
        let signal = Box::new(Signal { filled: AtomicBool::new(true), waker: Arc::clone(waker) });
        // SAFETY: the reference given is ours. Forwarding to nowhere makes librdkafka leave the partition's messages in this queue.
        // The callback's opaque lives until the callback is taken off, in drop.
        unsafe {
            let queue = Queue::own(rd::rd_kafka_queue_get_partition(client.rk(), topic.as_ptr(), partition))?;
            rd::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            let opaque = (&raw const *signal).cast_mut().cast();
            rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_filled), opaque);
            Some(Self { queue, signal })
        }
    }
}

impl Drop for Signalled {
    fn drop(&mut self) {
        // SAFETY: the queue is live. librdkafka calls back under the queue's lock, which this call takes: no callback runs afterwards.
        unsafe { rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut()) };
    }
}

unsafe extern "C" fn on_filled(_: *mut rd::rd_kafka_t, signal: *mut c_void) {
    // SAFETY: see Signalled.
    let signal = unsafe { &*signal.cast::<Signal>() };
    signal.filled.store(true, Ordering::Release);
    signal.waker.wake();
}

/// An owned partition.
pub(super) struct Owned {
    pub(super) source: Source,
    pub(super) topic: String,
    epoch: u64,
    queue: Signalled,
    pub(super) paused: bool,
    batch: RecordBatch,
    batch_bytes: usize,
    since: Option<Instant>,
    full: bool,
    /// Taken from the queue and not yet in `batch`.
    spill: VecDeque<Message>,
    /// The lowest offset that may still come.
    expected: i64,
    /// After the last record ever taken from the queue.
    seen: i64,
    /// The position last given, or begun at.
    given: i64,
    /// Bytes of a record, on average, to make room beforehand.
    record_bytes: usize,
}

impl Owned {
    /// Before the partition is assigned to `client`, so that all its messages come to the partition's own queue.
    pub(super) fn new(client: &Client, source: Source, topic: &str, at: i64, waker: &Arc<Waker>) -> Option<Self> {
        Some(Self {
            source,
            topic: topic.to_owned(),
            epoch: 0,
            queue: Signalled::new(client, topic, source.partition, waker)?,
            paused: false,
            batch: RecordBatch::default(),
            batch_bytes: 0,
            since: None,
            full: false,
            spill: VecDeque::new(),
            expected: at,
            seen: at,
            given: at,
            record_bytes: 256,
        })
    }

    pub(super) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Where librdkafka is to go on.
    pub(super) fn resume_at(&self) -> i64 {
        let last = self.spill.iter().rev().find(|message| message.error() == 0);
        last.map_or(self.expected, |message| self.expected.max(message.offset() + 1))
    }

    /// Bytes held here and not yet given.
    pub(super) fn bytes(&self) -> usize {
        self.batch_bytes
    }

    /// When the oldest record of the batch came; `None` where there is nothing to give.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Forgets all that was not given; the next record is that at `offset`.
    pub(super) fn restart(&mut self, offset: i64) {
        self.spill.clear();
        self.batch = RecordBatch::default();
        self.batch_bytes = 0;
        self.since = None;
        self.full = false;
        self.expected = offset;
        self.given = offset;
        self.queue.signal.filled.store(true, Ordering::Release);
    }

    /// Copies what has come into the batch, until it is full.
    ///
    /// # Errors
    /// The error that the partition reports in place of a record.
    pub(super) fn fill(&mut self, limits: &BatchLimits, scratch: &mut Scratch) -> Result<(), NativeError> {
        while !self.full {
            if self.spill.is_empty() && !self.take(limits, scratch) {
                return Ok(());
            }
            while let Some(message) = self.spill.pop_front() {
                if message.error() != 0 {
                    return Err(NativeError { text: message.error_text(), ..NativeError::of(message.error()) });
                }
                if message.offset() < self.expected {
                    continue;
                }
                if self.batch.is_empty() {
                    self.begin(limits);
                } else if (self.batch_bytes + message.bytes()) as u64 > limits.bytes {
                    self.full = true;
                    self.spill.push_front(message);
                    break;
                }
                message.copy_to(&mut self.batch);
                self.batch_bytes += message.bytes();
                self.expected = message.offset() + 1;
                if self.batch.len() >= limits.records as usize || self.batch_bytes as u64 >= limits.bytes {
                    self.full = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes about as many messages as the batch has room for; whether there were any.
    fn take(&mut self, limits: &BatchLimits, scratch: &mut Scratch) -> bool {
        if !self.queue.signal.filled.swap(false, Ordering::AcqRel) {
            return false;
        }
        let room = (limits.bytes as usize).saturating_sub(self.batch_bytes) / self.record_bytes.max(1);
        let limit = (limits.records as usize - self.batch.len()).min(room + 1).max(1);
        let taken = scratch.take(&self.queue.queue, limit);
        let whole = taken.len() == limit.min(super::messages::SCRATCH);
        self.spill.extend(taken);
        if whole {
            self.queue.signal.filled.store(true, Ordering::Release);
        }
        if let Some(last) = self.spill.iter().rev().find(|message| message.error() == 0) {
            self.seen = self.seen.max(last.offset() + 1);
        }
        // Only markers may have come: they move the position.
        self.since = self.since.or_else(|| Some(Instant::now()));
        !self.spill.is_empty()
    }

    fn begin(&mut self, limits: &BatchLimits) {
        let rows = (limits.bytes as usize / self.record_bytes.max(1) + 1).min(limits.records as usize);
        self.batch.offsets.reserve_exact(rows);
        self.batch.timestamps.reserve_exact(rows);
        self.batch.keys.ends.reserve_exact(rows);
        self.batch.values.ends.reserve_exact(rows);
        self.batch.values.data.reserve((rows * self.record_bytes).min(limits.bytes as usize));
    }

    /// The batch, with the position after it. `None` where there are neither records nor a new position.
    pub(super) fn give(&mut self, client: &Client) -> Option<Fetched> {
        let next = self.position(client);
        let (since, records) = (self.since.take(), self.batch.len());
        self.full = false;
        if since.is_none() || (records == 0 && next <= self.given) {
            return None;
        }
        self.record_bytes = self.batch_bytes.checked_div(records).map_or(self.record_bytes, |mean| mean + 1);
        self.batch_bytes = 0;
        self.given = next;
        let mut batch = std::mem::take(&mut self.batch);
        batch.topic = self.source.topic;
        batch.partition = self.source.partition;
        // What is left over is ready at once.
        self.since = (!self.spill.is_empty()).then(Instant::now);
        Some(Fetched { source: self.source, epoch: self.epoch, batch, next })
    }

    /// The position behind all that was taken: librdkafka's, which is past markers, once everything that it gave is in batches.
    fn position(&self, client: &Client) -> i64 {
        if !self.spill.is_empty() || self.expected < self.seen {
            return self.expected;
        }
        let mut list = Partitions::new();
        list.add(&self.topic, self.source.partition, 0);
        // SAFETY: handle and list are live.
        unsafe { rd::rd_kafka_position(client.rk(), list.as_ptr()) };
        let found = list.read();
        let known = found.iter().filter(|found| found.error == ErrorCode::default()).map(|found| found.offset);
        known.max().unwrap_or(self.expected).max(self.expected)
    }
}
