//! Records of one partition, read without a group.
//!
//! Must never: disturb a group that reads the same partition.

use super::Shared;
use super::client::{Client, Kind};
use super::config;
use super::errors::{GONE, log_error};
use super::messages::Message;
use super::native::{NativeError, Partitions, Queue, c_name, code};
use super::offsets::{self, EARLIEST, LATEST};
use super::topics::gone;
use crate::LogError;
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::scope::PhysicalTopic;
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

/// Clients kept for the next read; each has connections of its own.
const IDLE_MAX: usize = 4;
/// How long a record that is there may take to come.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const TAKE: Duration = Duration::from_millis(50);
/// How long the next record is waited for where more is known to be there: a batch cut short costs the broker some questions.
const MORE: Duration = Duration::from_millis(20);

/// Clients that read without a group, each for one read at a time.
#[derive(Default)]
pub(super) struct Fetchers(Mutex<Vec<Client>>);

impl Fetchers {
    pub(super) fn read(
        &self,
        shared: &Shared,
        topic: &PhysicalTopic,
        partition: i32,
        from: Start,
        limits: &BatchLimits,
        wait: Duration,
    ) -> Result<(RecordBatch, i64), LogError> {
        let (from, end) = resolve(&shared.admin, topic.as_str(), partition, from)?;
        let deadline = Instant::now() + if from < end { wait.max(FETCH_TIMEOUT) } else { wait };
        if from >= end && wait.is_zero() {
            return Ok((RecordBatch { partition, ..RecordBatch::default() }, from));
        }
        let idle = self.0.lock().pop();
        let client = match idle {
            Some(client) => client,
            None => Client::new(Kind::Fetcher, &config::fetcher(&shared.config))?,
        };
        let result =
            Fetch::start(&client, topic.as_str(), partition, from).and_then(|fetch| fetch.run(limits, end, deadline));
        // A client that failed is not used again.
        let mut idle = self.0.lock();
        if result.is_ok() && idle.len() < IDLE_MAX {
            idle.push(client);
        }
        result
    }
}

/// Where to begin, and the read-committed end.
fn resolve(admin: &Client, topic: &str, partition: i32, from: Start) -> Result<(i64, i64), LogError> {
    let shape = super::admin::shapes(admin, &[topic])?.remove(0).ok_or_else(|| gone(topic))?;
    if !(0..shape.partitions).contains(&partition) {
        let text = format!("topic {topic} has the partitions 0 to {}, not {partition}", shape.partitions - 1);
        return Err(LogError::new(Code::NotFound, text));
    }
    let ask = |offset| {
        let mut asked = Partitions::new();
        asked.add(topic, partition, offset);
        let found = offsets::list(admin, &asked)?.into_iter().next();
        let found = found.ok_or_else(|| LogError::new(Code::LogUnavailable, "listing offsets: an empty answer"))?;
        if found.error == 0 {
            return Ok(found.offset);
        }
        Err(admin.error(&format!("listing offsets of topic {topic}"), &NativeError::of(found.error)))
    };
    let end = ask(LATEST)?;
    Ok(match from {
        Start::Earliest => (ask(EARLIEST)?, end),
        Start::Latest => (end, end),
        Start::Offset(offset) if offset >= end => (end, end),
        Start::Offset(offset) => (offset.max(ask(EARLIEST)?), end),
        Start::TimeMs(time) => match ask(time.max(0))? {
            none if none < 0 => (end, end),
            offset => (offset, end),
        },
    })
}

/// A partition being fetched.
struct Fetch<'a> {
    client: &'a Client,
    topic: String,
    partition: i32,
    rkt: NonNull<rd::rd_kafka_topic_t>,
    queue: Queue,
    from: i64,
}

impl<'a> Fetch<'a> {
    fn start(client: &'a Client, topic: &str, partition: i32, from: i64) -> Result<Self, LogError> {
        let name = c_name(topic);
        // SAFETY: the handle is live; topic handle and queue are ours, and go in drop.
        unsafe {
            let rkt = NonNull::new(rd::rd_kafka_topic_new(client.rk(), name.as_ptr(), ptr::null_mut()));
            let rkt = rkt.ok_or_else(|| LogError::new(Code::LogUnavailable, format!("no handle for topic {topic}")))?;
            let queue = Queue::own(rd::rd_kafka_queue_new(client.rk())).expect("librdkafka aborts where memory is out");
            let fetch = Self { client, topic: topic.to_owned(), partition, rkt, queue, from };
            if rd::rd_kafka_consume_start_queue(rkt.as_ptr(), partition, from, fetch.queue.as_ptr()) == -1 {
                let error = NativeError::of(code(rd::rd_kafka_last_error()));
                return Err(log_error(&format!("reading topic {topic}"), &error));
            }
            Ok(fetch)
        }
    }

    /// Takes records until the limits are reached, nothing more is there, or the time is over.
    fn run(&self, limits: &BatchLimits, end: i64, deadline: Instant) -> Result<(RecordBatch, i64), LogError> {
        let mut batch = RecordBatch { partition: self.partition, ..RecordBatch::default() };
        let mut next = self.from;
        let mut bytes = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match (batch.is_empty(), next < end) {
                (true, _) => left.min(TAKE),
                (false, true) => MORE,
                (false, false) => Duration::ZERO,
            };
            let Some(message) = self.take(wait) else {
                self.client.serve(Duration::ZERO);
                if let Some(refused) = self.client.take_refusal() {
                    return Err(refused);
                }
                // Only markers may be left before the end.
                let position = if batch.is_empty() { self.position().max(next) } else { next };
                if !batch.is_empty() || left.is_zero() || (position >= end && position > self.from) {
                    return Ok((batch, position));
                }
                continue;
            };
            if message.error() != 0 {
                self.check(&message)?;
                continue;
            }
            bytes += message.bytes();
            if message.offset() < next || (!batch.is_empty() && bytes as u64 > limits.bytes) {
                return Ok((batch, next));
            }
            message.copy_to(&mut batch);
            next = message.offset() + 1;
            if batch.len() >= limits.records as usize || bytes as u64 >= limits.bytes {
                return Ok((batch, next));
            }
        }
    }

    fn take(&self, wait: Duration) -> Option<Message> {
        // SAFETY: the queue is live; a message given is ours.
        Message::own(unsafe { rd::rd_kafka_consume_queue(self.queue.as_ptr(), super::native::millis(wait)) })
    }

    fn check(&self, message: &Message) -> Result<(), LogError> {
        let error = NativeError { text: message.error_text(), ..NativeError::of(message.error()) };
        if error.code == code(E::RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            return Ok(());
        }
        if GONE.contains(&error.code) {
            return Err(gone(&self.topic));
        }
        Err(self.client.error(&format!("reading topic {}", self.topic), &error))
    }

    /// The position behind all that was taken, markers included.
    fn position(&self) -> i64 {
        let mut list = Partitions::new();
        list.add(&self.topic, self.partition, 0);
        // SAFETY: handle and list are live.
        unsafe { rd::rd_kafka_position(self.client.rk(), list.as_ptr()) };
        list.read().first().map_or(self.from, |found| found.offset.max(self.from))
    }
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        // SAFETY: the handles are live, and used no more.
        unsafe {
            rd::rd_kafka_consume_stop(self.rkt.as_ptr(), self.partition);
            rd::rd_kafka_topic_destroy(self.rkt.as_ptr());
        }
    }
}
