//! The host's side of the compiler child.
//!
//! Must never: wait for a child without a bound, keep more of its answer than is allowed, or leave it behind unreaped.

use super::child::{address_space, output};
use super::confine::UNCONFINED;
use super::protocol::{Answer, LINE_BYTES_MAX, Request};
use crate::config::{CompileLimits, CompilerCommand};
use crate::engine::Refusal;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_core::turns::{Turn, Turns};
use bytes::Bytes;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Bytes of the child's last words that are kept.
const STDERR_BYTES_MAX: u64 = 8 << 10;

/// What Linux counts time in for programs.
const TICK_MS: u64 = 10;

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;
const SIGSYS: i32 = 31;

/// The right to run a child, until dropped.
pub(crate) struct Place(#[expect(dead_code, reason = "it is held, not read")] Turn<Option<TenantId>>);

/// Starts children, a bounded number at a time; tenants take turns.
pub(crate) struct Compiler {
    command: CompilerCommand,
    limits: CompileLimits,
    profiling: bool,
    places: Turns<Option<TenantId>>,
    /// Whether the operator was told what the kernel does not let a child give up.
    told: AtomicBool,
}

impl Compiler {
    pub(crate) fn new(command: CompilerCommand, limits: CompileLimits, profiling: bool) -> Self {
        Self { command, limits, profiling, places: Turns::new(limits.children as usize), told: AtomicBool::new(false) }
    }

    /// Waits for a place. `None` is a program whose engine serves nobody else.
    pub(crate) async fn place(&self, whose: Option<&TenantId>) -> Place {
        Place(self.places.take(&whose.cloned()).await)
    }

    /// The compiled code of a module, made in a child of its own. Dropping the future kills the child. What the child took of a core is
    /// added to `cpu_ms`, however it ends.
    pub(crate) async fn compile(&self, _: &Place, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Vec<u8>, Refusal> {
        let mut child = self.start()?;
        let wall = Duration::from_millis(self.limits.wall_ms);
        match tokio::time::timeout(wall, self.converse(&mut child, wasm, cpu_ms)).await {
            Ok(done) => done,
            Err(_) => {
                count_cpu(&child, cpu_ms);
                self.end(&mut child).await;
                Err(Refusal::new(Code::CompileLimit, format!("time: at most {} ms", self.limits.wall_ms)))
            }
        }
    }

    fn start(&self) -> Result<Child, Refusal> {
        Command::new(&self.command.program)
            .args(&self.command.args)
            .env_clear()
            .env("RAYON_NUM_THREADS", self.limits.threads.max(1).to_string())
            // Each arena of the allocator takes address space ahead of need.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Where the future is dropped; the runtime reaps it then.
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("the compiler cannot be started: {error}")))
    }

    async fn converse(&self, child: &mut Child, wasm: Bytes, cpu_ms: &AtomicU64) -> Result<Vec<u8>, Refusal> {
        let (Some(mut stdin), Some(mut stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("the compiler has no pipes"));
        };
        let mut request = serde_json::to_vec(&Request { limits: self.limits, profiling: self.profiling })
            .map_err(|error| failed(error.to_string()))?;
        request.push(b'\n');
        let tell = async move {
            // A child that refuses early, or dies, does not read to the end: what it answers counts.
            if stdin.write_all(&request).await.is_ok() {
                _ = stdin.write_all(&wasm).await;
            }
        };
        let answer_bytes_max = self.limits.output_bytes + LINE_BYTES_MAX as u64;
        let ((), answer, words) =
            tokio::join!(tell, read(&mut stdout, answer_bytes_max), read(stderr, STDERR_BYTES_MAX));
        count_cpu(child, cpu_ms);
        let answer = answer.map_err(|error| failed(format!("the compiler's answer cannot be read: {error}")))?;
        if answer.len() as u64 > answer_bytes_max {
            self.end(child).await;
            return Err(Refusal::new(Code::CompileLimit, output(&self.limits)));
        }
        let status = child.wait().await.map_err(|error| failed(format!("the compiler cannot be reaped: {error}")))?;
        let words = words.unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        self.tell_unconfined(&words);
        if !status.success() {
            return Err(self.died(status, &words));
        }
        decode(answer)
    }

    async fn end(&self, child: &mut Child) {
        if let Err(error) = child.kill().await {
            tracing::warn!(code = Code::CompilerFailed.id(), %error, "a compiler cannot be ended");
        }
    }

    /// Tells the operator, once, what the kernel did not let a child give up.
    fn tell_unconfined(&self, words: &str) {
        for what in words.lines().filter_map(|line| line.strip_prefix(UNCONFINED)) {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(code = Code::CompilerUnconfined.id(), what, "compilers run with less of a sandbox");
            }
        }
    }

    /// Why a child died: of the limit that it met, as far as one can tell from outside.
    fn died(&self, status: ExitStatus, words: &str) -> Refusal {
        let limit = |detail| Refusal::new(Code::CompileLimit, detail);
        let no_memory =
            ["memory allocation of", "annot allocate memory", "Resource temporarily unavailable", "out of memory"];
        match status.signal() {
            Some(SIGSYS) => {
                let code = Code::CompilerForbidden;
                tracing::error!(code = code.id(), "a module made its compiler try what a compiler never does");
                Refusal::new(code, "the compiler was ended when it tried to reach what is not its own")
            }
            Some(SIGXCPU) => limit(format!("CPU time: at most {} s", self.limits.cpu_seconds)),
            _ if no_memory.iter().any(|sign| words.contains(sign)) => limit(address_space(&self.limits)),
            Some(SIGABRT | SIGSEGV) => limit("the compiler's stack: functions are nested too deeply".to_owned()),
            Some(SIGKILL) => limit("memory: the system ended the compiler".to_owned()),
            _ => failed(format!("the compiler ended with {status}: {}", words.trim())),
        }
    }
}

/// Adds what a child has taken of a core so far. Until it is waited for, the system knows that of one that has ended too.
fn count_cpu(child: &Child, cpu_ms: &AtomicU64) {
    let stat = child.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/stat")).ok());
    cpu_ms.fetch_add(stat.as_deref().and_then(cpu_of).unwrap_or_default(), Ordering::Relaxed);
}

/// Milliseconds of a core, own and the system's, of all threads. The program's name comes before them, in brackets, and may hold anything.
fn cpu_of(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) * TICK_MS)
}

async fn read(pipe: impl AsyncRead + Unpin, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn decode(mut answer: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let line = answer.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
    let end = line.ok_or_else(|| failed("the compiler did not answer"))?;
    match serde_json::from_slice(&answer[..end]).map_err(|error| failed(format!("the compiler's answer: {error}")))? {
        Answer::Refused { code, detail } => Err(Refusal::new(code, detail)),
        Answer::Compiled => {
            answer.drain(..=end);
            Ok(answer)
        }
    }
}

fn failed(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::CompilerFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_found_behind_whatever_its_name_is() {
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 3 0 100 1000 10";
        assert_eq!(cpu_of(stat), Some(1_750));
        assert_eq!(cpu_of("42 (a) R 1"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(cpu_of(&own).is_some());
    }
}
