//! What came out of a stage, as plain values that a test can compare.
//!
//! Must never: hold anything that differs between a native run and the sandbox of the same case.

use crate::log::Level;
use std::collections::BTreeMap;

/// Bytes of a reason that the host keeps.
const REASON_BYTES_MAX: usize = 2048;

/// What a stage made of a case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The outputs, in order.
    pub outputs: Vec<Emitted>,
    /// The records that the stage rejected, in order. The last may be one to try again: what lies behind it was not run.
    pub rejected: Vec<Rejected>,
    /// What the stage logged, in order.
    pub logs: Vec<(Level, String)>,
    /// What its state held at the end.
    pub state: Stores,
    /// The objects that the buckets held at the end which the case lent, by grant and key.
    pub buckets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// Keys and values by input and partition.
pub type Stores = BTreeMap<(u16, i32), BTreeMap<Vec<u8>, Vec<u8>>>;

impl Report {
    /// The outputs that went to `output`, in order.
    pub fn to(&self, output: &str) -> Vec<&Emitted> {
        self.outputs.iter().filter(|emitted| emitted.to == output).collect()
    }

    /// The values that went to `output`, as text.
    ///
    /// # Panics
    /// Where one is a tombstone or not UTF-8.
    pub fn texts(&self, output: &str) -> Vec<&str> {
        self.to(output).into_iter().map(Emitted::text).collect()
    }

    /// Compares this report of a native run with that of a sandbox: outputs and rejections, each reason as the host keeps it. Log lines
    /// may differ, and state is for those who can see both.
    ///
    /// # Panics
    /// Where the two differ.
    #[track_caller]
    pub fn assert_agrees(&self, sandboxed: &Report) {
        for (i, (native, sandboxed)) in self.outputs.iter().zip(&sandboxed.outputs).enumerate() {
            assert_eq!(native, sandboxed, "output {i} natively (left) differs from the sandbox (right)");
        }
        assert_eq!(self.outputs.len(), sandboxed.outputs.len(), "outputs natively (left) and in the sandbox (right)");
        let kept = self.rejected.iter().map(|rejected| Rejected { reason: as_kept(&rejected.reason), ..*rejected });
        let kept: Vec<_> = kept.collect();
        assert_eq!(kept, sandboxed.rejected, "rejections natively (left) differ from the sandbox (right)");
    }
}

/// A reason as the host keeps it.
fn as_kept(reason: &str) -> String {
    let kept = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    kept.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "\u{fffd}")
}

/// An output, with what it took over from its record filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Place in the case of the record that it was made from; of an output of a tick, the number of records before it.
    pub record: usize,
    /// Whether it was made by a tick.
    pub by_tick: bool,
    /// Name of the output it went to.
    pub to: String,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl Emitted {
    /// The value as text.
    ///
    /// # Panics
    /// Where it is a tombstone or not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().expect("a value, not a tombstone")).expect("a value in UTF-8")
    }

    /// The value of the last header with this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rfind(|header| header.0 == name.as_bytes())?.1.as_deref()
    }
}

/// A record that the stage rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the case.
    pub record: usize,
    /// Whether it is to be tried again, rather than a dead letter.
    pub retry: bool,
    /// The stage's words.
    pub reason: String,
}
