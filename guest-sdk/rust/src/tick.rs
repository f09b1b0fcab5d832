//! What a stage is told when it is called for time and not for a record.
//!
//! Must never: be had outside a tick.

use crate::bindings::contract;
use crate::bindings::ticking::exports::bulkhead::stage::ticker::Moment;
use crate::outputs::set_null;

/// A call for time: which partition's state is in reach, and how late it is.
///
/// The host makes one about every `tickMs` of the manifest for each partition, between two batches, so that a stage can act while no
/// record comes. When exactly is not promised: what a stage makes of its records should not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    input: u16,
    partition: i32,
    now: i64,
}

impl Tick {
    pub(crate) fn new(at: Moment) -> Self {
        Self { input: at.topic, partition: at.partition, now: at.now }
    }

    /// Milliseconds since 1970-01-01T00:00Z by the host's clock. It never falls for one owner of a partition.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The partition whose state is in reach.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The index of its input in [`Config::inputs`](crate::Config::inputs).
    pub fn input_index(&self) -> usize {
        usize::from(self.input)
    }

    /// A batch of one empty record, from which nothing is inherited: outputs need a row to stand on.
    pub(crate) fn row(&self) -> contract::Batch {
        let column = || contract::NullColumn { data: Vec::new(), ends: vec![0], nulls: Vec::new() };
        let (mut keys, mut values) = (column(), column());
        set_null(&mut keys, 0);
        set_null(&mut values, 0);
        contract::Batch {
            topic: self.input,
            partition: self.partition,
            offsets: vec![-1],
            timestamps: vec![self.now],
            keys,
            values,
            headers: contract::Headers {
                record_ends: Vec::new(),
                names: contract::BytesColumn { data: Vec::new(), ends: Vec::new() },
                values: contract::NullColumn { data: Vec::new(), ends: Vec::new(), nulls: Vec::new() },
            },
        }
    }
}
