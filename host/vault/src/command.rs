//! A master key behind a program: the way to a key service (KMS, HSM, Vault's transit engine) that Bulkhead does not know.
//!
//! The program is called with one more argument and answers with one line on standard output, within ten seconds and with exit code 0:
//!
//! | argument | standard input | answer |
//! |---|---|---|
//! | `id` | empty | a name of the key, 1 to 200 visible characters; another for another key |
//! | `wrap` | two lines of hex: the place, and the key | hex of the wrapped key, at most 8 KiB |
//! | `unwrap` | two lines of hex: the place, and what `wrap` answered | hex of the key |
//!
//! The place is what a key service calls *encryption context* or *associated data*: `unwrap` must fail with another one. A program that
//! cannot have it covered should put its hash into what it wraps, and compare.
//! Must never: pass a key as an argument, where other users of the machine can read it, or repeat what the program writes.

use crate::error::VaultError;
use crate::key::DataKey;
use crate::master::{MasterKey, MasterKeyId};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long one call may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Bytes of an answer at most, in hex.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
/// Characters of a key's name at most.
const NAME_CHARS_MAX: usize = 200;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct CommandMaster {
    program: PathBuf,
    arguments: Vec<OsString>,
    id: MasterKeyId,
}

impl CommandMaster {
    /// The key behind this program, which is called with these arguments before its own.
    ///
    /// # Errors
    /// [`Code::MasterKeyUnusable`](bulkhead_core::code::Code::MasterKeyUnusable) where it does not say which key it has.
    pub fn open(program: &Path, arguments: Vec<OsString>) -> Result<Self, VaultError> {
        let mut master =
            Self { program: program.to_owned(), arguments, id: MasterKeyId::of("bulkhead.master-key.none", b"") };
        let name = master.call("id", "")?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(|c| c.is_ascii_graphic()) {
            return Err(master.failed("id", "did not answer with a name of 1 to 200 visible characters"));
        }
        master.id = MasterKeyId::of("bulkhead.master-key.command", name.as_bytes());
        Ok(master)
    }

    fn failed(&self, verb: &str, what: &str) -> VaultError {
        VaultError::master(format!("the master key's program `{}`, asked to `{verb}`, {what}", self.program.display()))
    }

    /// Runs the program with what it reads on standard input, and gives what it wrote.
    fn call(&self, verb: &str, input: &str) -> Result<Zeroizing<String>, VaultError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| self.failed(verb, &format!("cannot be run: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read all of it still has its answer to give.
            let _closed = stdin.write_all(input.as_bytes());
        }
        // It reads in a thread of its own, so that a program which writes without end is seen to.
        let stdout = child.stdout.take();
        let reading = std::thread::spawn(move || {
            let mut answer = Zeroizing::new(String::new());
            let read = stdout.map(|stdout| stdout.take(ANSWER_BYTES_MAX + 1).read_to_string(&mut answer));
            read.and_then(Result::ok).map(|_| answer)
        });
        let ended = ended(&mut child);
        let answer = reading.join().ok().flatten();
        match (ended, answer) {
            (None, _) => Err(self.failed(verb, &format!("took longer than {} s", CALL_TIME_MAX.as_secs()))),
            (Some(false), _) => Err(self.failed(verb, "failed; its own log says why")),
            (_, Some(answer)) if answer.len() as u64 <= ANSWER_BYTES_MAX => Ok(answer),
            _ => Err(self.failed(verb, "gave no answer that can be read")),
        }
    }

    fn bytes(&self, verb: &str, place: &[u8], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let key = Zeroizing::new(hex::encode(bytes));
        let input = Zeroizing::new(format!("{}\n{}\n", hex::encode(place), &*key));
        let answer = self.call(verb, &input)?;
        let answer = hex::decode(answer.trim()).map(Zeroizing::new);
        answer.ok().filter(|answer| !answer.is_empty()).ok_or_else(|| self.failed(verb, "did not answer in hex"))
    }
}

/// Whether the program ended well; `None` where it had to be ended.
fn ended(child: &mut Child) -> Option<bool> {
    let until = Instant::now() + CALL_TIME_MAX;
    while Instant::now() < until {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Err(_) => return Some(false),
        }
    }
    let _gone = child.kill();
    let _reaped = child.wait();
    None
}

impl MasterKey for CommandMaster {
    fn id(&self) -> MasterKeyId {
        self.id
    }

    fn wrap(&self, place: &[u8], key: &DataKey) -> Result<Vec<u8>, VaultError> {
        self.bytes("wrap", place, key.expose()).map(|wrapped| wrapped.to_vec())
    }

    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<DataKey, VaultError> {
        let mut key = self.bytes("unwrap", place, wrapped)?;
        DataKey::take(&mut key)
    }
}
