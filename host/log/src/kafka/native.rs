//! The thin layer over librdkafka's C interface: errors, events, lists, each with an owner.
//!
//! `rdkafka`'s safe wrappers cost a queue operation, an allocation and a callback for each message, and lack parts of the
//! admin interface, so this module calls C. It is the only one, with `messages` and `produce`, that handles its pointers by hand.
//! Error codes are read as plain numbers, because a newer broker may send one that the bindings' enumeration does not hold.
//! Must never: keep a pointer beyond the call or the owner that it came from.

use rdkafka::bindings as rd;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::time::Duration;

// As in librdkafka's header, with codes as numbers.
unsafe extern "C" {
    fn rd_kafka_error_code(error: *const rd::rd_kafka_error_t) -> c_int;
    fn rd_kafka_event_error(event: *mut rd::rd_kafka_event_t) -> c_int;
    fn rd_kafka_fatal_error(rk: *mut rd::rd_kafka_t, text: *mut c_char, size: usize) -> c_int;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
}

/// An error code of librdkafka (negative) or of the broker (positive); 0 is none.
pub(super) type ErrorCode = c_int;

/// The number of a code that the bindings name.
pub(super) const fn code(of: rd::rd_kafka_resp_err_t) -> ErrorCode {
    of as ErrorCode
}

/// An error of librdkafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NativeError {
    pub(super) code: ErrorCode,
    pub(super) text: String,
    pub(super) fatal: bool,
    pub(super) retriable: bool,
    pub(super) needs_abort: bool,
}

impl NativeError {
    pub(super) fn of(code: ErrorCode) -> Self {
        Self { code, text: describe(code), fatal: false, retriable: false, needs_abort: false }
    }

    /// Turns a returned error object into a result, and frees it.
    pub(super) fn take(error: *mut rd::rd_kafka_error_t) -> Result<(), Self> {
        let Some(found) = Self::look(error) else { return Ok(()) };
        // SAFETY: the object is the caller's to free, and is used no more.
        unsafe { rd::rd_kafka_error_destroy(error) };
        Err(found)
    }

    /// Reads an error object that belongs to somebody else.
    pub(super) fn look(error: *const rd::rd_kafka_error_t) -> Option<Self> {
        if error.is_null() {
            return None;
        }
        // SAFETY: not null, so a live error object.
        unsafe {
            Some(Self {
                code: rd_kafka_error_code(error),
                text: text(rd::rd_kafka_error_string(error)),
                fatal: rd::rd_kafka_error_is_fatal(error) != 0,
                retriable: rd::rd_kafka_error_is_retriable(error) != 0,
                needs_abort: rd::rd_kafka_error_txn_requires_abort(error) != 0,
            })
        }
    }

    pub(super) fn check(code: ErrorCode) -> Result<(), Self> {
        if code == 0 { Ok(()) } else { Err(Self::of(code)) }
    }
}

/// The words for a code.
pub(super) fn describe(code: ErrorCode) -> String {
    // SAFETY: the function knows a text for every number, and texts are static.
    text(unsafe { rd_kafka_err2str(code) })
}

/// A copy of a C string; empty where there is none.
pub(super) fn text(words: *const c_char) -> String {
    if words.is_null() {
        return String::new();
    }
    // SAFETY: librdkafka's strings are terminated, and live through this call.
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
}

/// A copy of bytes that C holds; empty where there are none.
///
/// # Safety
/// `start` is null, or `length` bytes are there.
unsafe fn bytes(start: *const u8, length: usize) -> Vec<u8> {
    // SAFETY: by this function's contract.
    if start.is_null() { Vec::new() } else { unsafe { std::slice::from_raw_parts(start, length) }.to_vec() }
}

/// A name as C wants it. Names of topics, groups and transactional ids hold no zero byte; one that did would be cut there.
pub(super) fn c_name(name: &str) -> CString {
    CString::new(name.split('\0').next().unwrap_or_default()).expect("cut before the first zero")
}

/// Milliseconds for C: at least 1 for a wait that is not nought, and never "for ever".
pub(super) fn millis(wait: Duration) -> c_int {
    let rounded = wait.as_millis() + u128::from(!wait.subsec_nanos().is_multiple_of(1_000_000));
    c_int::try_from(rounded).unwrap_or(c_int::MAX)
}

/// The error that ended a producer for good, if one did.
pub(super) fn fatal_error(rk: *mut rd::rd_kafka_t) -> Option<NativeError> {
    let mut words = [0; 512];
    // SAFETY: the buffer is as long as said, and rk is live by contract of this crate's callers.
    let found = unsafe { rd_kafka_fatal_error(rk, words.as_mut_ptr(), words.len()) };
    if found == 0 {
        return None;
    }
    // SAFETY: the function terminates what it writes.
    let text = unsafe { CStr::from_ptr(words.as_ptr()) }.to_string_lossy().into_owned();
    Some(NativeError { code: found, text, fatal: true, retriable: false, needs_abort: false })
}

/// Topics and partitions, each with an offset.
pub(super) struct Partitions(NonNull<rd::rd_kafka_topic_partition_list_t>);

/// One element of [`Partitions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Of a committed position, what is kept beside it; else empty.
    pub(super) metadata: Vec<u8>,
    pub(super) error: ErrorCode,
}

impl Partitions {
    pub(super) fn new() -> Self {
        // SAFETY: the call only allocates.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(8) };
        Self(NonNull::new(list).expect("librdkafka aborts where memory is out"))
    }

    pub(super) fn add(&mut self, topic: &str, partition: i32, offset: i64) {
        let topic = c_name(topic);
        // SAFETY: the list is ours; the name is copied; the element belongs to the list.
        unsafe {
            let element = rd::rd_kafka_topic_partition_list_add(self.0.as_ptr(), topic.as_ptr(), partition);
            (*element).offset = offset;
        }
    }

    /// The same of a position that is to be committed, with its [`stamp`](super::stamp).
    pub(super) fn add_stamped(&mut self, topic: &str, partition: i32, offset: i64) {
        let (topic, stamp) = (c_name(topic), super::stamp::of(offset));
        // SAFETY: the list is ours; the name is copied; the element belongs to the list, which frees what the allocator of its own library
        // gave, and that is as long as what is copied into it.
        unsafe {
            let element = rd::rd_kafka_topic_partition_list_add(self.0.as_ptr(), topic.as_ptr(), partition);
            let metadata = rd::rd_kafka_mem_malloc(std::ptr::null_mut(), stamp.len());
            std::ptr::copy_nonoverlapping(stamp.as_ptr(), metadata.cast(), stamp.len());
            ((*element).metadata, (*element).metadata_size) = (metadata, stamp.len());
            (*element).offset = offset;
        }
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0.as_ptr()
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: the list is ours.
        usize::try_from(unsafe { self.0.as_ref() }.cnt).unwrap_or(0)
    }

    pub(super) fn read(&self) -> Vec<Partition> {
        // SAFETY: the list is ours.
        unsafe { read_partitions(self.0.as_ptr()) }
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and is used no more.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) };
    }
}

/// Copies a list that belongs to somebody else.
///
/// # Safety
/// `list` is null or a live list.
pub(super) unsafe fn read_partitions(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<Partition> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list has `cnt` elements.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        (0..count).map(|i| read_partition((*list).elems.add(i))).collect()
    }
}

/// Copies one element.
///
/// # Safety
/// `element` is a live element.
pub(super) unsafe fn read_partition(element: *const rd::rd_kafka_topic_partition_t) -> Partition {
    // SAFETY: by this function's contract; the code is read as the number that it is in memory.
    unsafe {
        Partition {
            topic: text((*element).topic),
            partition: (*element).partition,
            offset: (*element).offset,
            metadata: bytes((*element).metadata.cast(), (*element).metadata_size),
            error: (&raw const (*element).err).cast::<ErrorCode>().read(),
        }
    }
}

/// A queue.
pub(super) struct Queue(NonNull<rd::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes over a reference that the caller holds; `None` for null.
    pub(super) fn own(queue: *mut rd::rd_kafka_queue_t) -> Option<Self> {
        NonNull::new(queue).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// The next event, waiting at most `wait`.
    pub(super) fn poll(&self, wait: Duration) -> Option<NativeEvent> {
        // SAFETY: the queue is live.
        NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.0.as_ptr(), millis(wait)) }).map(NativeEvent)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and is used no more.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// An answer on a queue.
pub(super) struct NativeEvent(NonNull<rd::rd_kafka_event_t>);

impl NativeEvent {
    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.0.as_ptr()
    }

    pub(super) fn error(&self) -> Result<(), NativeError> {
        // SAFETY: the event is live.
        let (code, words) =
            unsafe { (rd_kafka_event_error(self.as_ptr()), rd::rd_kafka_event_error_string(self.as_ptr())) };
        if code == 0 { Ok(()) } else { Err(NativeError { text: text(words), ..NativeError::of(code) }) }
    }
}

impl Drop for NativeEvent {
    fn drop(&mut self) {
        // SAFETY: the event is ours, and is used no more.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
