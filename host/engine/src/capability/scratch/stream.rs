//! Reading and writing a file by streams, as standard libraries do.
//!
//! What is written waits in the stream until it is flushed, polled or dropped; only then does it go to the disk, in its turn. A write that finds
//! no room fails and leaves the stream as it was, so a guest that frees something goes on. What streams do is paid by the call that
//! asked for it: [`Home::owe`].
//! Must never: hold more than one buffer, or touch the disk outside of [`Home::run`].

use super::calls::CALL_FUEL;
use super::descriptor::{OpenFile, READ_BYTES_MAX};
use super::failure::Failed;
use super::folder::unavailable;
use super::home::{Hold, Home};
use bytes::Bytes;
use std::sync::Arc;
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that a stream takes at a time.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Bytes that are read where a guest waits for some and has not said how many.
const READ_BYTES: usize = 4 << 10;

type Work<T> = JoinHandle<Result<T, Failed>>;

async fn finished<T>(work: &mut Work<T>) -> Result<T, Failed> {
    work.await.unwrap_or_else(|error| Err(Failed::Host(unavailable(&error))))
}

/// WASI's `output-stream` on a file.
pub(super) struct Output {
    open: Arc<OpenFile>,
    _hold: Hold,
    /// Where the next byte goes; `None` is the end, wherever that is.
    at: Option<u64>,
    state: Sending,
}

enum Sending {
    Idle,
    Held(Bytes),
    Busy(Work<()>, u64),
    Failed(Failed),
}

impl Output {
    pub(super) fn new(open: &Arc<OpenFile>, at: Option<u64>) -> Result<Self, Failed> {
        open.writable()?;
        Ok(Self { open: Arc::clone(open), _hold: open.hold.again()?, at, state: Sending::Idle })
    }

    fn home(&self) -> &Arc<Home> {
        &self.open.hold.home
    }

    /// What `bytes` become: a future, for the disk's turn.
    fn send(&self, bytes: Bytes) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
        let (home, open, at) = (Arc::clone(self.home()), Arc::clone(&self.open), self.at);
        async move { home.run(move |_| open.write(&bytes, at)).await }
    }

    fn sent(&mut self, done: Result<(), Failed>, bytes: u64) {
        self.state = match done {
            Ok(()) => {
                self.at = self.at.map(|at| at.saturating_add(bytes));
                Sending::Idle
            }
            Err(failed) => Sending::Failed(failed),
        };
    }

    /// Tells a failure, once.
    fn told(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, Sending::Idle) {
            Sending::Failed(failed) => Err(failed.of_stream()),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }

    fn pay(&self, bytes: &Bytes) {
        self.home().owe(CALL_FUEL + bytes.len() as u64);
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    /// May be dropped at any point, and called again: a list of pollables is waited for together.
    async fn ready(&mut self) {
        if let Sending::Held(bytes) = &self.state {
            let (bytes, count) = (bytes.clone(), bytes.len() as u64);
            self.state = Sending::Busy(tokio::spawn(self.send(bytes)), count);
        }
        if let Sending::Busy(work, bytes) = &mut self.state {
            let (done, bytes) = (finished(work).await, *bytes);
            self.sent(done, bytes);
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.told()?;
        if !matches!(self.state, Sending::Idle) || bytes.len() > WRITE_BYTES_MAX {
            return Err(StreamError::trap("wrote more than `check-write` allows"));
        }
        if !bytes.is_empty() {
            self.pay(&bytes);
            self.state = Sending::Held(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.told()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.told()?;
        Ok(if matches!(self.state, Sending::Idle) { WRITE_BYTES_MAX } else { 0 })
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.told()?;
        self.pay(&bytes);
        let (done, count) = (self.send(bytes.clone()).await, bytes.len() as u64);
        self.sent(done, count);
        self.told()
    }

    async fn cancel(&mut self) {
        self.ready().await;
    }
}

/// WASI's `input-stream` on a file.
pub(super) struct Input {
    open: Arc<OpenFile>,
    _hold: Hold,
    at: u64,
    /// Bytes that were asked for last.
    wanted: usize,
    state: Receiving,
}

enum Receiving {
    Idle,
    Busy(Work<Bytes>),
    /// What was read and not taken; nothing is the end.
    Read(Bytes),
    Failed(Failed),
}

impl Input {
    pub(super) fn new(open: &Arc<OpenFile>, at: u64) -> Result<Self, Failed> {
        open.readable()?;
        let hold = open.hold.again()?;
        Ok(Self { open: Arc::clone(open), _hold: hold, at, wanted: READ_BYTES, state: Receiving::Idle })
    }

    fn fetch(&self) -> impl Future<Output = Result<Bytes, Failed>> + Send + use<> {
        let (open, at, wanted) = (Arc::clone(&self.open), self.at, self.wanted);
        open.hold.home.owe(CALL_FUEL);
        async move {
            let home = Arc::clone(&open.hold.home);
            home.run(move |_| open.read(wanted, at).map(Bytes::from)).await
        }
    }

    fn fetched(&mut self, done: Result<Bytes, Failed>) {
        self.state = done.map_or_else(Receiving::Failed, Receiving::Read);
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    /// As [`Output`]'s.
    async fn ready(&mut self) {
        if matches!(self.state, Receiving::Idle) {
            self.state = Receiving::Busy(tokio::spawn(self.fetch()));
        }
        if let Receiving::Busy(work) = &mut self.state {
            let done = finished(work).await;
            self.fetched(done);
        }
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        match std::mem::replace(&mut self.state, Receiving::Idle) {
            Receiving::Idle => {
                self.wanted = size.min(READ_BYTES_MAX);
                Ok(Bytes::new())
            }
            Receiving::Busy(work) => {
                self.state = Receiving::Busy(work);
                Ok(Bytes::new())
            }
            Receiving::Failed(failed) => Err(failed.of_stream()),
            Receiving::Read(mut bytes) => {
                let taken = bytes.split_to(size.min(bytes.len()));
                self.open.hold.home.owe(taken.len() as u64);
                self.at += taken.len() as u64;
                if !bytes.is_empty() {
                    self.state = Receiving::Read(bytes);
                }
                if taken.is_empty() { Err(StreamError::Closed) } else { Ok(taken) }
            }
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size > 0 && matches!(self.state, Receiving::Idle) {
            self.wanted = size.min(READ_BYTES_MAX);
        }
        self.ready().await;
        self.read(size)
    }

    async fn cancel(&mut self) {
        if let Receiving::Busy(work) = &mut self.state {
            // What was read is of no more use, but the handle is given back only now.
            _ = finished(work).await;
        }
    }
}
