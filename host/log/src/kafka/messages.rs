//! Messages of librdkafka, copied once into columns.
//!
//! Must never: read a message after it was destroyed, or take an error for a record.

use super::native::ErrorCode;
use bulkhead_core::columns::RecordBatch;
use rdkafka::bindings as rd;
use std::ptr::{self, NonNull};
use std::slice;

/// A message, destroyed on drop.
pub(super) struct Message(NonNull<rd::rd_kafka_message_t>);

// SAFETY: a message may be read and destroyed by any thread, one at a time.
unsafe impl Send for Message {}

impl Message {
    /// Takes over a message; `None` for null.
    pub(super) fn own(message: *mut rd::rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(Self)
    }

    fn raw(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: live until dropped.
        unsafe { self.0.as_ref() }
    }

    /// 0 for a record.
    pub(super) fn error(&self) -> ErrorCode {
        // SAFETY: live until dropped; read as the number that it is in memory.
        unsafe { (&raw const (*self.0.as_ptr()).err).cast::<ErrorCode>().read() }
    }

    /// The words of an error.
    pub(super) fn error_text(&self) -> String {
        // SAFETY: live until dropped; the text belongs to it.
        super::native::text(unsafe { rd::rd_kafka_message_errstr(self.0.as_ptr()) })
    }

    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    /// The topic that it came from, if it came from one.
    pub(super) fn topic(&self) -> Option<String> {
        let topic = self.raw().rkt;
        // SAFETY: the topic lives as long as its message.
        (!topic.is_null()).then(|| super::native::text(unsafe { rd::rd_kafka_topic_name(topic) }))
    }

    /// Bytes of key and value.
    pub(super) fn bytes(&self) -> usize {
        self.raw().len + self.raw().key_len
    }

    /// Adds the record to `batch`.
    pub(super) fn copy_to(&self, batch: &mut RecordBatch) {
        let message = self.raw();
        let row = batch.offsets.len();
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live until dropped; cells lie in it, with the lengths given.
        unsafe {
            let timestamp = rd::rd_kafka_message_timestamp(self.0.as_ptr(), &mut kind);
            batch.offsets.push(message.offset);
            batch.timestamps.push(timestamp);
            batch.keys.push(cell(message.key, message.key_len));
            batch.values.push(cell(message.payload, message.len));
            self.copy_headers(batch);
        }
        batch.headers.end_row(row);
    }

    unsafe fn copy_headers(&self, batch: &mut RecordBatch) {
        let mut headers = ptr::null_mut();
        let none = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: the headers belong to the live message; names are terminated and cells have the lengths given.
        unsafe {
            if rd::rd_kafka_message_headers(self.0.as_ptr(), &mut headers) != none {
                return;
            }
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let mut i = 0;
            while rd::rd_kafka_header_get_all(headers, i, &mut name, &mut value, &mut size) == none {
                batch.headers.push(std::ffi::CStr::from_ptr(name).to_bytes(), cell(value, size));
                i += 1;
            }
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, and used no more.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// A null pointer is a null cell.
unsafe fn cell<'a>(data: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's pointer is null or has this many bytes behind it.
    (!data.is_null()).then(|| unsafe { slice::from_raw_parts(data.cast(), len) })
}

/// Room for what one call gives.
pub(super) struct Scratch(Vec<*mut rd::rd_kafka_message_t>);

// SAFETY: holds pointers only within a call.
unsafe impl Send for Scratch {}

/// Messages taken in one call at most.
pub(super) const SCRATCH: usize = 1_024;

impl Scratch {
    pub(super) fn new() -> Self {
        Self(vec![ptr::null_mut(); SCRATCH])
    }

    /// Takes what is on the queue now, `limit` messages at most.
    pub(super) fn take(
        &mut self,
        queue: &super::native::Queue,
        limit: usize,
    ) -> impl ExactSizeIterator<Item = Message> + '_ {
        let limit = limit.clamp(1, SCRATCH);
        // SAFETY: there is room for `limit` pointers; each message given is ours to destroy.
        let taken = unsafe { rd::rd_kafka_consume_batch_queue(queue.as_ptr(), 0, self.0.as_mut_ptr(), limit) };
        let taken = usize::try_from(taken).unwrap_or(0);
        self.0[..taken].iter().map(|message| Message::own(*message).expect("a taken message is not null"))
    }
}
