//! Standard streams: stdin is closed, stdout and stderr become lines of the stage's log.
//!
//! Must never: keep more of a line than the log takes, or wait for anyone.

use crate::log::{LOG_LINE_BYTES_MAX, Level, LogGate};
use crate::state::State;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::cli;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Bytes that a guest may write at a time.
const WRITE_BYTES_MAX: usize = 4 << 10;
/// Bytes of the last words that a fault's message quotes.
const LAST_WORDS_BYTES_MAX: usize = 512;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    cli::stdin::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, State::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, State::cli)
}

/// One of a guest's two streams. Clones write to the same one.
#[derive(Clone)]
pub(crate) struct Pipe {
    shared: Arc<Shared>,
}

struct Shared {
    level: Level,
    log: Arc<LogGate>,
    /// Whether there are last words; looked at for each record, so without the lock.
    spoken: AtomicBool,
    text: Mutex<Text>,
}

#[derive(Default)]
struct Text {
    /// The line under way, as much of it as is kept.
    line: Vec<u8>,
    /// The end of what was written since the record under way began.
    last_words: Vec<u8>,
}

impl Pipe {
    pub(crate) fn new(level: Level, log: Arc<LogGate>) -> Self {
        Self { shared: Arc::new(Shared { level, log, spoken: AtomicBool::new(false), text: Mutex::default() }) }
    }

    /// What comes from now on belongs to another record.
    pub(crate) fn begin_record(&self) {
        if self.shared.spoken.load(Ordering::Relaxed) {
            self.shared.spoken.store(false, Ordering::Relaxed);
            self.shared.text.lock().last_words.clear();
        }
    }

    /// What was written since the record began, for the message of its fault.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = self.shared.text.lock();
        let words = String::from_utf8_lossy(&text.last_words);
        // Rust's panics end with advice that does not apply here.
        let words =
            words.lines().filter(|line| !line.starts_with("note: run with `RUST_BACKTRACE")).collect::<Vec<_>>();
        let words = words.join("\n").trim().to_owned();
        (!words.is_empty()).then_some(words)
    }

    /// Ends the line under way.
    pub(crate) fn flush(&self) {
        let mut text = self.shared.text.lock();
        if !text.line.is_empty() {
            self.shared.end_line(&mut text);
        }
    }
}

impl Shared {
    fn write(&self, bytes: &[u8]) {
        let mut text = self.text.lock();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let words = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LOG_LINE_BYTES_MAX - text.line.len();
            text.line.extend_from_slice(&words[..words.len().min(room)]);
            if words.len() < part.len() {
                self.end_line(&mut text);
            }
        }
        text.last_words.extend_from_slice(bytes);
        let excess = text.last_words.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        text.last_words.drain(..excess);
        self.spoken.store(true, Ordering::Relaxed);
    }

    fn end_line(&self, text: &mut Text) {
        self.log.write(self.level, &String::from_utf8_lossy(&text.line));
        text.line.clear();
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Only for WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_BYTES_MAX {
            let error =
                wasmtime::Error::msg(format!("wrote more than the {WRITE_BYTES_MAX} bytes that `check-write` allows"));
            return Err(wasmtime_wasi::p2::StreamError::Trap(error));
        }
        self.shared.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}
