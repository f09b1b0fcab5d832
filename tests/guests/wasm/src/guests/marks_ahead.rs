//! Marks the last record of a batch before it looks at the first, so that whatever goes wrong is the last one's doing.

use crate::shared::nothing;
use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    host::mark(batch.len() as u32 - 1);
    let mut outcome = nothing();
    for i in 0..batch.len() {
        let value = batch.values.row(i);
        assert!(!value.starts_with(b"!"), "somebody else's fault");
        outcome.outputs.push(i, 0, value);
    }
    outcome
}
