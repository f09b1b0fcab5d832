//! Records written outside transactions, durably before the call returns.
//!
//! Must never: return success before every record was acknowledged by all in-sync brokers.

use super::Shared;
use super::client::{Client, Kind};
use super::config;
use super::native::{ErrorCode, NativeError, fatal_error};
use super::produce::Targets;
use crate::{Block, LogError};
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::scope::PhysicalTopic;
use parking_lot::{Condvar, Mutex};
use rdkafka::bindings as rd;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the serving thread looks whether it is still needed.
const SERVE: Duration = Duration::from_millis(100);

/// The producer of one log, made at its first use.
#[derive(Default)]
pub(super) struct Appender(Mutex<Option<Running>>);

struct Running {
    client: Arc<Client>,
    stop: Arc<AtomicBool>,
    targets: Targets,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// One call's records.
#[derive(Default)]
struct Call {
    state: Mutex<CallState>,
    done: Condvar,
}

#[derive(Default)]
struct CallState {
    waiting: usize,
    failed: Option<ErrorCode>,
}

impl Call {
    /// Waits until every record was written or failed. That ends: the client gives up each record after its timeout.
    fn wait(&self) -> Result<(), NativeError> {
        let mut state = self.state.lock();
        while state.waiting > 0 {
            self.done.wait(&mut state);
        }
        state.failed.take().map_or(Ok(()), |error| Err(NativeError::of(error)))
    }
}

unsafe extern "C" fn on_report(_: *mut rd::rd_kafka_t, message: *const rd::rd_kafka_message_t, _: *mut c_void) {
    // SAFETY: the opaque is a call that waits for this very report; the error is read as a number.
    let (call, error) = unsafe {
        let error = (&raw const (*message).err).cast::<ErrorCode>().read();
        (&*(*message)._private.cast::<Call>(), error)
    };
    let mut state = call.state.lock();
    state.waiting -= 1;
    if error != 0 {
        state.failed.get_or_insert(error);
    }
    if state.waiting == 0 {
        // Under the lock, so that the call cannot end before this is done with it.
        call.done.notify_all();
    }
}

impl Appender {
    pub(super) fn append(
        &self,
        shared: &Shared,
        topic: &PhysicalTopic,
        batch: &RecordBatch,
        outputs: &Outputs,
    ) -> Result<(), LogError> {
        let call = Call::default();
        // What librdkafka does not copy is kept by this frame, which waits for all records.
        let block = Block { outputs: outputs.clone(), targets: Arc::from([Some(topic.clone())]), partition: None };
        let (client, sent) = self.send(shared, topic, &block, batch, &call)?;
        let written = call.wait();
        let doing = format!("writing to topic {topic}");
        sent.and(written).map_err(|error| {
            shared.topics.forget(topic.as_str());
            if fatal_error(client.rk()).is_some() {
                // The next call makes another.
                *self.0.lock() = None;
            }
            client.error(&doing, &error)
        })
    }

    fn send(
        &self,
        shared: &Shared,
        topic: &PhysicalTopic,
        block: &Block,
        batch: &RecordBatch,
        call: &Call,
    ) -> Result<(Arc<Client>, Result<(), NativeError>), LogError> {
        let mut running = self.0.lock();
        if running.is_none() {
            *running = Some(start(shared)?);
        }
        let running = running.as_mut().expect("just made");
        let client = Arc::clone(&running.client);
        let place = running.targets.find(&client, &shared.admin, &shared.topics, topic)?;
        let target = &mut running.targets.all[place];
        for i in 0..block.outputs.len() {
            target.check_size(block, i, batch)?;
        }
        // All calls share the queue, so only records that are known to be written are no longer counted.
        target.flushed();
        for i in 0..block.outputs.len() {
            let bytes = target.check_size(block, i, batch)?;
            let partition = target.partition(block, i, batch);
            if target.needs_flush(partition, bytes) {
                if let Err(error) = call.wait() {
                    return Ok((client, Err(error)));
                }
                target.flushed();
                let _ = target.needs_flush(partition, bytes);
            }
            call.state.lock().waiting += 1;
            let opaque = (&raw const *call).cast_mut().cast();
            // SAFETY: block and call live until the caller has waited for all records.
            if let Err(error) = unsafe { target.send(&client, (block, i), batch, partition, 0, opaque) } {
                call.state.lock().waiting -= 1;
                return Ok((client, Err(error)));
            }
        }
        Ok((client, Ok(())))
    }
}

fn start(shared: &Shared) -> Result<Running, LogError> {
    let client = Arc::new(Client::new(Kind::Reporting(on_report), &config::appender(&shared.config))?);
    let stop = Arc::new(AtomicBool::new(false));
    let serving = (Arc::clone(&client), Arc::clone(&stop));
    let spawned = std::thread::Builder::new().name("kafka-append".to_owned()).spawn(move || {
        let (client, stop) = serving;
        while !stop.load(Ordering::Acquire) {
            client.serve(SERVE);
        }
    });
    spawned.map_err(|error| LogError::new(bulkhead_core::code::Code::LogUnavailable, format!("no thread: {error}")))?;
    Ok(Running { client, stop, targets: Targets::default() })
}
