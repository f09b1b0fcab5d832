//! What the example pipelines should make of each record, computed without their stages.
//!
//! The thresholds and names are written here a second time on purpose; `expected.py` of each example has them a third time,
//! and the tests compare all three.
//! Must never: read a manifest or call a stage.

mod delays;
mod flights;
mod weather;

pub use delays::{Delays, delays};
pub use flights::flights;
pub use weather::weather;

/// What should become of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The records to be written, in order. None for a record that is dropped or a dead letter.
    pub outputs: Vec<Output>,
    /// Whether the record itself goes to the dead-letter topic.
    pub dead_letter: bool,
}

/// A record that a pipeline should write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The topic.
    pub topic: &'static str,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The headers that the pipeline adds.
    pub headers: Vec<(&'static str, &'static str)>,
}
