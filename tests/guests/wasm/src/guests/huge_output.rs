//! Returns a value of 24 MiB for a bad record.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, _, outcome| outcome.outputs.push(i, 0, &vec![b'x'; 24 << 20]))
}
