//! Passes every record on, without a copy of its own.

use crate::shared::{INHERIT_ALL, nothing};
use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let n = batch.len();
    for i in 0..n {
        host::mark(i as u32);
    }
    let mut outcome = nothing();
    outcome.outputs.source = (0..n as u32).collect();
    outcome.outputs.to = vec![0; n];
    outcome.outputs.inherit = vec![INHERIT_ALL; n];
    outcome.outputs.values = batch.values;
    outcome
}
