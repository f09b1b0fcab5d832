//! What Bulkhead writes into the headers of a dead letter, and how it is read back.
//!
//! The record's own headers come first, the evidence after them, beginning with [`CODE`]. A record may bring headers of these names
//! itself, for instance because it was a dead letter before; so the last one of each name counts, and what stands before the last
//! [`CODE`] is the record's own.
//!
//! Of a *sealed* letter only that evidence is outside which says nothing of the record's content, and a header that says so; the rest of it, with
//! the record, is the sealed value.
//! Must never: take a record's own header for evidence.

use crate::code::Code;
use crate::fault::GuestFaultKind;
use crate::name::{ModuleDigest, PipelineName, ProjectId, StageName, TopicName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::str::FromStr;

/// Prefix of every header that is added.
pub const HEADER_PREFIX: &str = "bulkhead-";
/// Header of a record that was written again to its source: `PROJECT/PIPELINE/ID` of the dead letter. Only that pipeline runs it.
pub const REPLAY_OF: &str = "bulkhead-replay-of";

/// The code. First of the evidence, and always there.
pub const CODE: &str = "code";
/// The source topic.
pub const TOPIC: &str = "topic";
/// The source partition.
pub const PARTITION: &str = "partition";
/// The offset there.
pub const OFFSET: &str = "offset";
/// The kind of fault, as in metrics.
pub const KIND: &str = "kind";
/// The stage that could not handle it.
pub const STAGE: &str = "stage";
/// The digest of that stage's module.
pub const MODULE: &str = "module";
/// The project.
pub const PROJECT: &str = "project";
/// The pipeline.
pub const PIPELINE: &str = "pipeline";
/// The pipeline's revision.
pub const REVISION: &str = "revision";
/// The fault in words.
pub const REASON: &str = "reason";
/// Fuel of the run that is the evidence.
pub const FUEL: &str = "fuel";
/// The guest's frames, a line each.
pub const BACKTRACE: &str = "backtrace";
/// Bytes of a value that was left out.
pub const VALUE_BYTES: &str = "value-bytes";
/// What did not fit, of `key`, `value` and `headers`, with a space between.
pub const LEFT_OUT: &str = "left-out";

/// That the record's key, value and headers, and the rest of the evidence, are in the sealed value: the format, now `1`.
pub const SEALED: &str = "sealed";
/// What is outside of a sealed letter, in this order.
pub const OUTSIDE: [&str; 11] =
    [CODE, TOPIC, PARTITION, OFFSET, KIND, STAGE, MODULE, PROJECT, PIPELINE, REVISION, FUEL];

/// The evidence of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Why.
    pub code: Code,
    /// The same, finer.
    pub kind: GuestFaultKind,
    /// The same in words.
    pub reason: String,
    /// Fuel of the run alone; `None` where there was none.
    pub fuel: Option<u64>,
    /// Which stage.
    pub stage: StageName,
    /// Its module.
    pub module: ModuleDigest,
    /// The project; `None` in letters of hosts that did not write it.
    pub project: Option<ProjectId>,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Which revision ran.
    pub revision: u64,
    /// Where the record came from.
    pub source: Coordinates,
    /// The guest's frames, innermost first.
    pub backtrace: Vec<String>,
    /// Whether key, value and headers of the record are all there.
    pub complete: bool,
    /// Whether it is sealed and was not opened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

/// A record's place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Letter {
    /// Reads a record's headers: the evidence, and how many headers before it are the record's own. `None` where the record is no
    /// dead letter.
    pub fn read<'a>(headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<(Self, usize)> {
        let all: Vec<_> = headers.collect();
        let ours = |name: &'a [u8]| std::str::from_utf8(name).ok()?.strip_prefix(HEADER_PREFIX);
        let own = all.iter().rposition(|(name, _)| ours(name) == Some(CODE))?;
        let evidence: HashMap<&str, &str> = all[own..]
            .iter()
            .filter_map(|(name, value)| Some((ours(name)?, std::str::from_utf8((*value)?).ok()?)))
            .collect();
        let kind = evidence.get(KIND)?;
        let source = Coordinates {
            topic: parsed(&evidence, TOPIC)?,
            partition: parsed(&evidence, PARTITION)?,
            offset: parsed(&evidence, OFFSET)?,
        };
        let sealed = evidence.contains_key(SEALED);
        let letter = Self {
            code: parsed(&evidence, CODE)?,
            kind: GuestFaultKind::ALL.into_iter().find(|known| known.as_str() == *kind)?,
            reason: evidence.get(REASON).copied().unwrap_or_default().to_owned(),
            fuel: parsed(&evidence, FUEL),
            stage: parsed(&evidence, STAGE)?,
            module: parsed(&evidence, MODULE)?,
            project: parsed(&evidence, PROJECT),
            pipeline: parsed(&evidence, PIPELINE)?,
            revision: parsed(&evidence, REVISION)?,
            source,
            backtrace: evidence
                .get(BACKTRACE)
                .map(|text| text.lines().map(str::to_owned).collect())
                .unwrap_or_default(),
            complete: !sealed && !evidence.contains_key(LEFT_OUT) && !evidence.contains_key(VALUE_BYTES),
            sealed,
        };
        Some((letter, own))
    }
}

fn parsed<T: FromStr>(evidence: &HashMap<&str, &str>, name: &str) -> Option<T> {
    evidence.get(name)?.parse().ok()
}

/// Names a dead letter within its topic: `PARTITION-OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
}

impl std::fmt::Display for LetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// A text that names no dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a dead letter's id is PARTITION-OFFSET, for instance 0-17")]
pub struct NoLetterId;

impl FromStr for LetterId {
    type Err = NoLetterId;
    fn from_str(text: &str) -> Result<Self, NoLetterId> {
        let (partition, offset) = text.split_once('-').ok_or(NoLetterId)?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !number(partition) || !number(offset) {
            return Err(NoLetterId);
        }
        Ok(Self {
            partition: partition.parse().map_err(|_| NoLetterId)?,
            offset: offset.parse().map_err(|_| NoLetterId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(code: &str, offset: &str) -> Vec<(String, String)> {
        let module = ModuleDigest::of(b"m").to_string();
        [
            (CODE, code),
            (TOPIC, "orders"),
            (PARTITION, "3"),
            (OFFSET, offset),
            (KIND, "trap"),
            (STAGE, "s"),
            (MODULE, module.as_str()),
            (PROJECT, "default"),
            (PIPELINE, "p"),
            (REVISION, "2"),
            (FUEL, "12"),
            (BACKTRACE, "f\ng"),
        ]
        .map(|(name, value)| (format!("{HEADER_PREFIX}{name}"), value.to_owned()))
        .to_vec()
    }

    fn read(headers: &[(String, String)]) -> Option<(Letter, usize)> {
        Letter::read(headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes()))))
    }

    #[test]
    fn a_letter_that_was_one_before_is_read_by_its_last_evidence() {
        let mut headers = vec![("mine".to_owned(), "1".to_owned())];
        headers.extend(evidence("BH0302", "1"));
        let own = headers.len();
        headers.extend(evidence("BH0301", "42"));
        let (letter, found) = read(&headers).unwrap();
        assert_eq!((letter.code, letter.source.offset, found), (Code::StageTrapped, 42, own));
        assert_eq!((letter.fuel, letter.backtrace), (Some(12), vec!["f".to_owned(), "g".to_owned()]));
        assert!(letter.complete);
    }

    #[test]
    fn what_is_no_letter_or_a_broken_one_is_none() {
        assert_eq!(read(&[("bulkhead-offset".to_owned(), "1".to_owned())]), None);
        assert_eq!(read(&evidence("BH9999", "1")), None);
        assert_eq!(read(&evidence("BH0301", "x")), None);
    }

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = LetterId { partition: 2, offset: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "-1-2", "1--2", "1-+2", "x-1", "1-99999999999999999999"] {
            assert_eq!(bad.parse::<LetterId>(), Err(NoLetterId), "{bad}");
        }
    }
}
