//! Rows handed to librdkafka, with their payloads left where they are.
//!
//! A payload stays in the [`Held`] that the writer keeps until librdkafka has let go of it, so it is copied only into the request.
//! Must never: hand over a pointer into anything that is not kept.

use super::client::Client;
use super::native::{ErrorCode, NativeError, c_name, code};
use super::topics::TopicCache;
use crate::{Block, LogError, TopicInfo, record_bytes};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;
use bulkhead_core::scope::PhysicalTopic;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use rdkafka::bindings::rd_kafka_vtype_t as V;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a batch of Kafka's takes beside its records, at most.
const BATCH_OVERHEAD: usize = 1_024;
/// How long a full queue is waited for before the lane counts as stalled.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first metadata of a topic may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// A topic that a producer writes to.
pub(super) struct Target {
    rkt: NonNull<rd::rd_kafka_topic_t>,
    pub(super) name: String,
    info: Arc<TopicInfo>,
    partitions: i32,
    /// For each partition, who wrote to it first in this transaction: owner + 1, or 0.
    pub(super) writers: Vec<u64>,
    /// The same for the transaction before, whose markers may still be on their way.
    pub(super) before: Vec<u64>,
    /// For each partition, bytes since the queue was last seen empty, where the topic takes less than a full batch of ours.
    unflushed: Option<Vec<usize>>,
}

/// A producer's topics.
#[derive(Default)]
pub(super) struct Targets {
    by_name: HashMap<PhysicalTopic, usize>,
    pub(super) all: Vec<Target>,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for Targets {}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and is used no more. Messages hold references of their own.
        unsafe { rd::rd_kafka_topic_destroy(self.rkt.as_ptr()) };
    }
}

impl Targets {
    /// The place of a topic in `all`, which is looked up in the log when it is new or may have changed.
    pub(super) fn find(
        &mut self,
        client: &Client,
        admin: &Client,
        cache: &TopicCache,
        name: &PhysicalTopic,
    ) -> Result<usize, LogError> {
        let info = cache.get(admin, name)?;
        if let Some(place) = self.by_name.get(name).copied() {
            let target = &mut self.all[place];
            if !Arc::ptr_eq(&target.info, &info) {
                target.set_info(client, info)?;
            }
            return Ok(place);
        }
        let mut target = Target::new(client, name.as_str(), Arc::clone(&info))?;
        // What was known of a topic that cannot be found is asked for again the next time: it may be gone.
        target.set_info(client, info).inspect_err(|_| cache.forget(name.as_str()))?;
        self.all.push(target);
        self.by_name.insert(name.clone(), self.all.len() - 1);
        Ok(self.all.len() - 1)
    }

    /// Forgets who wrote what, but for the transaction that has just ended.
    pub(super) fn end_transaction(&mut self) {
        for target in &mut self.all {
            std::mem::swap(&mut target.writers, &mut target.before);
            target.writers.fill(0);
            target.flushed();
        }
    }
}

impl Target {
    fn new(client: &Client, name: &str, info: Arc<TopicInfo>) -> Result<Self, LogError> {
        let c_topic = c_name(name);
        // SAFETY: the handle is live; the name is copied; without a configuration the client's own is used.
        let rkt = unsafe { rd::rd_kafka_topic_new(client.rk(), c_topic.as_ptr(), ptr::null_mut()) };
        let rkt = NonNull::new(rkt).ok_or_else(|| {
            LogError::new(Code::LogUnavailable, format!("topic {name}: the client makes no handle for it"))
        })?;
        Ok(Self {
            rkt,
            name: name.to_owned(),
            info,
            partitions: 0,
            writers: Vec::new(),
            before: Vec::new(),
            unflushed: None,
        })
    }

    /// Takes over what the log says of the topic, and makes librdkafka know as many partitions: without, it would refuse or misplace records.
    fn set_info(&mut self, client: &Client, info: Arc<TopicInfo>) -> Result<(), LogError> {
        let until = Instant::now() + METADATA_TIMEOUT;
        let doing = format!("asking for the partitions of topic {}", self.name);
        if self.partitions != info.partitions {
            loop {
                let known = self.known_partitions(client, until).map_err(|error| client.error(&doing, &error))?;
                if known >= info.partitions {
                    break;
                }
                if Instant::now() >= until {
                    return Err(LogError::new(
                        Code::LogUnavailable,
                        format!("{doing}: brokers do not agree on them yet"),
                    ));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let count = info.partitions as usize;
        self.partitions = info.partitions;
        self.writers.resize(count, 0);
        self.before.resize(count, 0);
        let small = info.max_record_bytes < super::config::BATCH_BYTES + BATCH_OVERHEAD;
        self.unflushed = small.then(|| vec![0; count]);
        self.info = info;
        Ok(())
    }

    fn known_partitions(&self, client: &Client, until: Instant) -> Result<i32, NativeError> {
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut metadata = ptr::null();
        // SAFETY: handles are live; on success the metadata is ours, is read while live and destroyed once.
        unsafe {
            let failed =
                rd::rd_kafka_metadata(client.rk(), 0, self.rkt.as_ptr(), &mut metadata, super::native::millis(wait));
            NativeError::check(code(failed))?;
            let found = if (*metadata).topic_cnt > 0 { (*(*metadata).topics).partition_cnt } else { 0 };
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(found)
        }
    }

    /// All that was handed over has been written or has failed.
    pub(super) fn flushed(&mut self) {
        if let Some(unflushed) = &mut self.unflushed {
            unflushed.fill(0);
        }
    }

    /// # Errors
    /// Where the topic does not take the record.
    pub(super) fn check_size(&self, block: &Block, i: usize, batch: &RecordBatch) -> Result<usize, LogError> {
        let outputs = &block.outputs;
        let bytes = record_bytes(outputs.key(i, batch), outputs.values.get(i), outputs.headers(i, batch));
        let limit = self.info.max_record_bytes;
        if bytes <= limit {
            return Ok(bytes);
        }
        let text = format!(
            "a record of {bytes} bytes, framing included, is more than the {limit} that topic {} takes: make it smaller, or \
             raise the topic's max.message.bytes",
            self.name
        );
        Err(LogError::new(Code::OutputRefused, text))
    }

    pub(super) fn partition(&self, block: &Block, i: usize, batch: &RecordBatch) -> i32 {
        block.partition(i, batch, self.partitions)
    }

    /// Whether the queue must be empty before this record, so that what goes into one request stays below the topic's limit.
    pub(super) fn needs_flush(&mut self, partition: i32, bytes: usize) -> bool {
        let Some(unflushed) = &mut self.unflushed else { return false };
        let waiting = &mut unflushed[partition as usize];
        let over = *waiting > 0 && *waiting + bytes > self.info.max_record_bytes;
        if !over {
            *waiting += bytes;
        }
        over
    }

    /// Hands over one row.
    ///
    /// # Safety
    /// `block` must live unchanged until librdkafka has let go of the message, unless `flags` ask for a copy.
    pub(super) unsafe fn send(
        &self,
        client: &Client,
        (block, i): (&Block, usize),
        batch: &RecordBatch,
        partition: i32,
        flags: i32,
        opaque: *mut c_void,
    ) -> Result<(), NativeError> {
        let outputs = &block.outputs;
        let (key, key_len) = raw(outputs.key(i, batch));
        let (value, value_len) = raw(outputs.values.get(i));
        let timestamp = outputs.timestamp(i, batch).max(0);
        let mut headers = Headers::of(outputs.headers(i, batch));
        let until = Instant::now() + QUEUE_TIMEOUT;
        loop {
            // SAFETY: the arguments are of the types that each tag asks for; key and headers are copied or taken over by the call; the
            // payload lives as this function's caller promises.
            let result = code(unsafe {
                rd::rd_kafka_producev(
                    client.rk(),
                    V::RD_KAFKA_VTYPE_RKT as c_int,
                    self.rkt.as_ptr(),
                    V::RD_KAFKA_VTYPE_PARTITION as c_int,
                    partition,
                    V::RD_KAFKA_VTYPE_MSGFLAGS as c_int,
                    flags,
                    V::RD_KAFKA_VTYPE_KEY as c_int,
                    key,
                    key_len,
                    V::RD_KAFKA_VTYPE_VALUE as c_int,
                    value,
                    value_len,
                    V::RD_KAFKA_VTYPE_TIMESTAMP as c_int,
                    timestamp,
                    V::RD_KAFKA_VTYPE_OPAQUE as c_int,
                    opaque,
                    V::RD_KAFKA_VTYPE_HEADERS as c_int,
                    headers.0,
                    V::RD_KAFKA_VTYPE_END as c_int,
                )
            });
            if result == 0 {
                // Taken over by the message.
                headers.0 = ptr::null_mut();
                return Ok(());
            }
            if result != QUEUE_FULL || Instant::now() >= until {
                return Err(NativeError::of(result));
            }
            client.serve(Duration::from_millis(10));
        }
    }
}

pub(super) const QUEUE_FULL: ErrorCode = code(E::RD_KAFKA_RESP_ERR__QUEUE_FULL);

/// A null cell is a null pointer; an empty one is not.
fn raw(cell: Option<&[u8]>) -> (*const c_void, usize) {
    cell.map_or((ptr::null(), 0), |cell| (cell.as_ptr().cast(), cell.len()))
}

/// Headers that belong to us until a message takes them over; null where there are none.
struct Headers(*mut rd::rd_kafka_headers_t);

impl Headers {
    fn of<'a>(headers: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Self {
        if headers.len() == 0 {
            return Self(ptr::null_mut());
        }
        // SAFETY: names and values have the lengths given, and are copied.
        unsafe {
            let made = Self(rd::rd_kafka_headers_new(headers.len()));
            for (name, value) in headers {
                let (data, len) = raw(value);
                rd::rd_kafka_header_add(made.0, name.as_ptr().cast(), name.len() as isize, data, len as isize);
            }
            made
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: still ours.
            unsafe { rd::rd_kafka_headers_destroy(self.0) };
        }
    }
}
