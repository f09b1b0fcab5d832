//! What a reader reads, looked up both ways.
//!
//! Must never: mix up two inputs.

use crate::{ReaderSpec, Source};
use bulkhead_core::manifest::Start;
use std::collections::HashMap;

/// A reader's inputs.
pub(super) struct Inputs {
    pub(super) spec: ReaderSpec,
    by_name: HashMap<String, u16>,
}

impl Inputs {
    pub(super) fn new(spec: ReaderSpec) -> Self {
        let names = spec.inputs.iter().enumerate();
        let by_name =
            names.map(|(i, input)| (input.topic.as_str().to_owned(), u16::try_from(i).expect("few inputs"))).collect();
        Self { spec, by_name }
    }

    pub(super) fn group(&self) -> &str {
        self.spec.group.as_str()
    }

    pub(super) fn topic(&self, source: Source) -> &str {
        self.spec.inputs[usize::from(source.topic)].topic.as_str()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.spec.inputs.iter().map(|input| input.topic.as_str()).collect()
    }

    /// `None` for a topic that is no input.
    pub(super) fn source(&self, topic: &str, partition: i32) -> Option<Source> {
        self.by_name.get(topic).map(|topic| Source { topic: *topic, partition })
    }

    pub(super) fn start(&self, source: Source) -> Start {
        self.spec.inputs[usize::from(source.topic)].start
    }

    pub(super) fn was_initialised(&self, source: Source) -> bool {
        self.spec.inputs[usize::from(source.topic)].initialised.contains(&source.partition)
    }
}
