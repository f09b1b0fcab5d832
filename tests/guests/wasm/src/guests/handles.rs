//! Takes resource handles without end at a bad record.

use crate::{Batch, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| {
        loop {
            std::mem::forget(wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX));
        }
    })
}
