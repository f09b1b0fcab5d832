//! One librdkafka client: its handle, its callbacks, its end.
//!
//! Must never: outlive what its callbacks point to, or end on a thread that holds up others where that can take long.

use super::errors::{is_refusal, log_error};
use super::logging;
use super::native::{ErrorCode, NativeError, NativeEvent, Partition, Queue, c_name, millis, read_partitions, text};
use crate::{Held, LogError};
use bulkhead_core::code::Code;
use parking_lot::Mutex;
use rdkafka::bindings as rd;
use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a wait for an answer looks whether the log refused the credentials, which librdkafka itself takes for a passing failure.
const REFUSAL_CHECK: Duration = Duration::from_millis(100);

/// What a client is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Admin requests only.
    Admin,
    /// Reads partitions that it names, without a group.
    Fetcher,
    /// A member of a group.
    Member,
    /// Writes, with a report only for records that failed; the message's opaque is its owner.
    Producer,
    /// Writes, with a report for every record to this function.
    Reporting(Report),
}

/// Called for each record that was written or failed.
pub(super) type Report = unsafe extern "C" fn(*mut rd::rd_kafka_t, *const rd::rd_kafka_message_t, *mut c_void);

/// Properties, later ones winning.
pub(super) type Properties = Vec<(String, String)>;

/// A client. May be used from any thread.
pub(super) struct Client {
    rk: NonNull<rd::rd_kafka_t>,
    // Freed after `rk`, whose callbacks point to it.
    told: NonNull<Told>,
}

// SAFETY: librdkafka's handle may be used from any thread, and `Told` is behind locks.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// What callbacks told this client.
#[derive(Default)]
pub(super) struct Told {
    refused: Mutex<Option<String>>,
    /// Changes of a member's assignment, in order.
    pub(super) rebalances: Mutex<VecDeque<Rebalance>>,
    /// Records that failed: owner and error.
    pub(super) failed: Mutex<Vec<(u32, ErrorCode)>>,
    /// Payloads that the client may still point to. They are freed after it.
    pub(super) payloads: Mutex<Vec<Arc<Held>>>,
}

/// A change of a member's assignment, which librdkafka waits to see answered.
#[derive(Debug)]
pub(super) struct Rebalance {
    pub(super) assign: bool,
    pub(super) lost: bool,
    pub(super) partitions: Vec<Partition>,
}

/// Failed records that are kept; more tell nothing new.
const FAILED_MAX: usize = 10_000;

impl Client {
    /// # Errors
    /// [`Code::ConfigInvalid`] where a property is not accepted.
    pub(super) fn new(kind: Kind, properties: &Properties) -> Result<Self, LogError> {
        let told = Box::leak(Box::<Told>::default());
        let told = NonNull::from(told);
        // SAFETY: conf is ours until rd_kafka_new takes it over, or destroyed here; strings are copied.
        unsafe {
            let conf = rd::rd_kafka_conf_new();
            let result = configure(conf, kind, properties, told).and_then(|()| create(kind, conf));
            match result {
                Ok(rk) => Ok(Self { rk, told }),
                Err(words) => {
                    rd::rd_kafka_conf_destroy(conf);
                    drop(Box::from_raw(told.as_ptr()));
                    Err(LogError::new(
                        Code::ConfigInvalid,
                        format!("the Kafka client does not accept its settings: {words}"),
                    ))
                }
            }
        }
    }

    pub(super) fn rk(&self) -> *mut rd::rd_kafka_t {
        self.rk.as_ptr()
    }

    pub(super) fn told(&self) -> &Told {
        // SAFETY: freed only after this value.
        unsafe { self.told.as_ref() }
    }

    /// Serves callbacks, waiting at most `wait` for the first. Not for members, which poll their own queue.
    pub(super) fn serve(&self, wait: Duration) {
        // SAFETY: the handle is live.
        unsafe { rd::rd_kafka_poll(self.rk(), millis(wait)) };
    }

    /// The log's refusal of this client's credentials, if it refused them since the last look.
    pub(super) fn take_refusal(&self) -> Option<LogError> {
        let words = self.told().refused.lock().take()?;
        Some(LogError::new(Code::LogRefused, format!("the log refuses the credentials: {words}")))
    }

    /// An error of this client, or the refusal behind it.
    pub(super) fn error(&self, doing: &str, error: &NativeError) -> LogError {
        self.take_refusal().unwrap_or_else(|| log_error(doing, error))
    }

    /// Makes an admin request and waits for its answer.
    pub(super) fn request(
        &self,
        doing: &str,
        api: rd::rd_kafka_admin_op_t,
        timeout: Duration,
        send: impl FnOnce(*mut rd::rd_kafka_t, *mut rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
    ) -> Result<NativeEvent, LogError> {
        // SAFETY: queue and options are made here and destroyed here; the request copies what it needs of them.
        let queue = unsafe {
            let queue = Queue::own(rd::rd_kafka_queue_new(self.rk())).expect("librdkafka aborts where memory is out");
            let options = rd::rd_kafka_AdminOptions_new(self.rk(), api);
            let wait = millis(timeout);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, wait, std::ptr::null_mut(), 0);
            send(self.rk(), options, queue.as_ptr());
            rd::rd_kafka_AdminOptions_destroy(options);
            queue
        };
        let until = Instant::now() + timeout + REFUSAL_CHECK;
        loop {
            if let Some(event) = queue.poll(REFUSAL_CHECK) {
                return event.error().map(|()| event).map_err(|error| self.error(doing, &error));
            }
            self.serve(Duration::ZERO);
            if let Some(refused) = self.take_refusal() {
                return Err(refused);
            }
            if Instant::now() >= until {
                return Err(LogError::new(Code::LogUnavailable, format!("{doing}: no answer within {timeout:?}")));
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let end = End { rk: self.rk, told: self.told };
        // Ending a client waits for its connections, so that is left to a thread of its own.
        let spawned = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || drop(end));
        if let Err(error) = spawned {
            // The closure, and the client with it, has been dropped here.
            tracing::warn!(target: "kafka", %error, "no thread to end a Kafka client on");
        }
    }
}

/// A client that is to end.
struct End {
    rk: NonNull<rd::rd_kafka_t>,
    told: NonNull<Told>,
}

// SAFETY: as for Client.
unsafe impl Send for End {}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: nothing uses the handle any more. Destroying waits for librdkafka's threads, so afterwards no callback runs and no
        // payload is read.
        unsafe {
            rd::rd_kafka_destroy_flags(self.rk.as_ptr(), rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            drop(Box::from_raw(self.told.as_ptr()));
        }
    }
}

unsafe fn configure(
    conf: *mut rd::rd_kafka_conf_t,
    kind: Kind,
    properties: &Properties,
    told: NonNull<Told>,
) -> Result<(), String> {
    for (name, value) in properties {
        let mut words = [0; 512];
        let (c_key, c_value) = (c_name(name), c_name(value));
        // SAFETY: the buffer is as long as said; strings are copied.
        let result =
            unsafe { rd::rd_kafka_conf_set(conf, c_key.as_ptr(), c_value.as_ptr(), words.as_mut_ptr(), words.len()) };
        if result != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Err(text(words.as_ptr()));
        }
    }
    // SAFETY: conf is live; `told` outlives the client made from it.
    unsafe {
        rd::rd_kafka_conf_set_opaque(conf, told.as_ptr().cast());
        rd::rd_kafka_conf_set_log_cb(conf, Some(logging::log));
        rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
        match kind {
            Kind::Member => rd::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance)),
            Kind::Producer => rd::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery)),
            Kind::Reporting(report) => rd::rd_kafka_conf_set_dr_msg_cb(conf, Some(report)),
            Kind::Admin | Kind::Fetcher => {}
        }
    }
    Ok(())
}

unsafe fn create(kind: Kind, conf: *mut rd::rd_kafka_conf_t) -> Result<NonNull<rd::rd_kafka_t>, String> {
    let role = match kind {
        Kind::Member | Kind::Fetcher => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        Kind::Admin | Kind::Producer | Kind::Reporting(_) => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
    };
    let mut words = [0; 512];
    // SAFETY: conf is live, and taken over only on success; the buffer is as long as said.
    let rk = unsafe { rd::rd_kafka_new(role, conf, words.as_mut_ptr(), words.len()) };
    NonNull::new(rk).ok_or_else(|| text(words.as_ptr()))
}

unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, error: c_int, reason: *const c_char, told: *mut c_void) {
    // SAFETY: the opaque of every client made here.
    let told = unsafe { &*told.cast::<Told>() };
    let reason = text(reason);
    if is_refusal(error, &reason) {
        *told.refused.lock() = Some(reason);
    }
}

unsafe extern "C" fn on_rebalance(
    rk: *mut rd::rd_kafka_t,
    error: rd::rd_kafka_resp_err_t,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
    told: *mut c_void,
) {
    // SAFETY: the opaque of every client made here; the list lives through this call.
    let (told, partitions) = unsafe { (&*told.cast::<Told>(), read_partitions(partitions)) };
    let assign = error == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    // SAFETY: rk is live in its own callback.
    let lost = unsafe { rd::rd_kafka_assignment_lost(rk) } != 0;
    told.rebalances.lock().push_back(Rebalance { assign, lost, partitions });
}

unsafe extern "C" fn on_delivery(_: *mut rd::rd_kafka_t, message: *const rd::rd_kafka_message_t, told: *mut c_void) {
    // SAFETY: the opaque of every client made here; the message lives through this call; its code is read as a number.
    let (told, error, owner) = unsafe {
        let error = (&raw const (*message).err).cast::<ErrorCode>().read();
        (&*told.cast::<Told>(), error, (*message)._private as usize)
    };
    let mut failed = told.failed.lock();
    if error != 0 && failed.len() < FAILED_MAX {
        failed.push((u32::try_from(owner).unwrap_or(u32::MAX), error));
    }
}
