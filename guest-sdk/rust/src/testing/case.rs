//! What goes into a stage: its configuration and its records.
//!
//! Must never: know how the stage is run.

use super::{Access, Bucket, Report};
use crate::bindings::contract;
use crate::{Config, InitError, Stage};
use std::collections::BTreeMap;

/// A stage's configuration and the records it gets, built step by step.
///
/// Defaults: pipeline `test`, stage `stage`, one input `in`, one output `out`, settings `null`, no records, all records in
/// as few batches as the contract allows.
#[derive(Debug, Clone)]
pub struct Case {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stage's name.
    pub stage: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// The stage's settings as JSON.
    pub settings: String,
    /// The records, in order.
    pub records: Vec<Input>,
    /// Records of a batch at most.
    pub batch_records: usize,
    /// What happens between the records, in order: the number of records before it, and what.
    pub between: Vec<(usize, Between)>,
    /// The buckets that are lent, by grant.
    pub buckets: BTreeMap<String, (Access, Bucket)>,
    /// The secrets that are lent, by the stage's name for them.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// What can happen between two records of a [`Case`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// The stage is called for time.
    Tick {
        /// Index of the input.
        input: u16,
        /// The partition whose state is in reach.
        partition: i32,
        /// The host's time, in milliseconds since the epoch.
        now: i64,
    },
    /// The instance is dropped, and another goes on with the same state.
    Restart,
}

/// One step of a [`Case`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// These records are a batch.
    Batch(std::ops::Range<usize>),
    /// Something happens between two records.
    Between(Between),
}

impl Default for Case {
    fn default() -> Self {
        Self {
            pipeline: "test".to_owned(),
            stage: "stage".to_owned(),
            inputs: vec!["in".to_owned()],
            outputs: vec!["out".to_owned()],
            settings: "null".to_owned(),
            records: Vec::new(),
            batch_records: 1000,
            between: Vec::new(),
            buckets: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }
}

impl Case {
    /// A case with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the names of the inputs.
    #[must_use]
    pub fn inputs<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.inputs = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the names of the outputs.
    #[must_use]
    pub fn outputs<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.outputs = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the settings: JSON text, or anything that shows itself as JSON, such as `serde_json::json!({..})`.
    #[must_use]
    pub fn settings(mut self, json: impl ToString) -> Self {
        self.settings = json.to_string();
        self
    }

    /// Adds records. A text or bytes are a value without key and headers; [`Input`] says more.
    #[must_use]
    pub fn records<T: Into<Input>>(mut self, records: impl IntoIterator<Item = T>) -> Self {
        self.records.extend(records.into_iter().map(Into::into));
        self
    }

    /// Sets how many records a batch has at most. What a stage makes of its records must not depend on it.
    #[must_use]
    pub fn batch_records(mut self, most: usize) -> Self {
        self.batch_records = most.max(1);
        self
    }

    /// Calls the stage for time at this point, for partition 0 of the first input; the stage needs a `tick`.
    #[must_use]
    pub fn tick(self, now: i64) -> Self {
        self.tick_of(0, 0, now)
    }

    /// Calls the stage for time at this point, for a partition of an input.
    #[must_use]
    pub fn tick_of(mut self, input: u16, partition: i32, now: i64) -> Self {
        self.between.push((self.records.len(), Between::Tick { input, partition, now }));
        self
    }

    /// Lends a bucket with these objects under the name of a grant, as a manifest's `buckets` do. Keys are relative to the grant's prefix.
    /// What it holds at the end is in [`Report::buckets`].
    ///
    /// # Panics
    /// Where a key is none.
    #[must_use]
    pub fn bucket<K: AsRef<str>, V: AsRef<[u8]>>(
        mut self,
        grant: &str,
        access: Access,
        objects: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut bucket = Bucket::default();
        for (key, bytes) in objects {
            let key = key.as_ref();
            super::bucket_key(key).unwrap_or_else(|why| panic!("the key `{key}`: {why}"));
            bucket.put(key, bytes.as_ref());
        }
        self.buckets.insert(grant.to_owned(), (access, bucket));
        self
    }

    /// Lends a secret under this name, as a manifest's `secrets` do.
    #[must_use]
    pub fn secret(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.secrets.insert(name.to_owned(), value.into());
        self
    }

    /// Drops the instance at this point and goes on with another one, as after a fault or a move. State stays, memory does not.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.between.push((self.records.len(), Between::Restart));
        self
    }

    /// The configuration that the stage is told.
    pub fn config(&self) -> Config {
        Config::new(self.contract())
    }

    pub(crate) fn contract(&self) -> contract::Config {
        contract::Config {
            pipeline: self.pipeline.clone(),
            stage: self.stage.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            settings: self.settings.clone(),
        }
    }

    /// What happens, in order. A batch holds neighbours of one input and partition, `batch_records` at most, and nothing happens
    /// within one.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut between = self.between.iter().peekable();
        for i in 0..=self.records.len() {
            while let Some((_, happens)) = between.next_if(|(before, _)| *before == i) {
                steps.push(Step::Between(*happens));
            }
            let Some(record) = self.records.get(i) else { break };
            match steps.last_mut() {
                Some(Step::Batch(batch))
                    if batch.len() < self.batch_records
                        && self.records[batch.start].input == record.input
                        && self.records[batch.start].partition == record.partition =>
                {
                    batch.end = i + 1;
                }
                _ => steps.push(Step::Batch(i..i + 1)),
            }
        }
        steps
    }

    /// Where each batch begins and ends.
    pub fn batches(&self) -> Vec<std::ops::Range<usize>> {
        let steps = self.steps().into_iter();
        let batch = |step| match step {
            Step::Batch(rows) => Some(rows),
            Step::Between(_) => None,
        };
        steps.filter_map(batch).collect()
    }

    /// The offset of record `i`: its own, or its place in the case.
    pub fn offset(&self, i: usize) -> i64 {
        self.records[i].offset.unwrap_or(i64::try_from(i).expect("a case is small"))
    }

    /// Runs the case natively: one instance, batch after batch, until all records are done or one is to be tried again.
    ///
    /// # Panics
    /// Where the stage's `init` fails or the stage panics.
    pub fn run<S: Stage>(&self) -> Report {
        self.try_run::<S>().unwrap_or_else(|error| panic!("the stage did not start: {}", error.reason()))
    }

    /// Like [`run`](Self::run), for tests of what `init` refuses.
    ///
    /// # Errors
    /// What the stage's `init` says.
    ///
    /// # Panics
    /// Where the stage panics.
    pub fn try_run<S: Stage>(&self) -> Result<Report, InitError> {
        super::run::run::<S>(self)
    }
}

/// A record of a [`Case`].
///
/// ```
/// use bulkhead_sdk::testing::Input;
///
/// let order = Input::new(r#"{"quantity": 3}"#).key("ann").header("trace", "7").timestamp(1_356_998_400_000);
/// assert_eq!(order.key.as_deref(), Some(b"ann".as_slice()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch; -1 where unknown.
    pub timestamp: i64,
    /// The offset; its place in the case where not given.
    pub offset: Option<i64>,
    /// The partition.
    pub partition: i32,
    /// Index of the input it comes from.
    pub input: u16,
}

impl Input {
    /// A record with this value, no key, no headers, time 0, from partition 0 of the first input.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::tombstone() }
    }

    /// A record without a value.
    pub fn tombstone() -> Self {
        Self { key: None, value: None, headers: Vec::new(), timestamp: 0, offset: None, partition: 0, input: 0 }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Sets the time, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp(mut self, milliseconds: i64) -> Self {
        self.timestamp = milliseconds;
        self
    }

    /// Sets the offset.
    #[must_use]
    pub fn offset(mut self, offset: i64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = partition;
        self
    }

    /// Sets the index of the input that it comes from.
    #[must_use]
    pub fn input(mut self, index: u16) -> Self {
        self.input = index;
        self
    }
}

impl From<&str> for Input {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for Input {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&[u8]> for Input {
    fn from(value: &[u8]) -> Self {
        Self::new(value)
    }
}

impl From<Vec<u8>> for Input {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}
