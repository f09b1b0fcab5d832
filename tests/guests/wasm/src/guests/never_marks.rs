//! Passes every record on and never marks; spins for ever where the first is bad.

use crate::shared::{INHERIT_ALL, nothing};
use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let n = batch.len();
    if batch.values.row(0).starts_with(b"!") {
        super::spin::spin();
    }
    let mut outcome = nothing();
    outcome.outputs.source = (0..n as u32).collect();
    outcome.outputs.to = vec![0; n];
    outcome.outputs.inherit = vec![INHERIT_ALL; n];
    outcome.outputs.values = batch.values;
    outcome
}
