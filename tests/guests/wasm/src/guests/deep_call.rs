//! Calls itself without end at a bad record, and the host at each level, so that the stack ends in the host or near it.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| {
        black_box(deeper(1));
    })
}

#[inline(never)]
fn deeper(level: u64) -> u64 {
    let now = wasip2::clocks::monotonic_clock::now();
    let bytes = wasip2::random::random::get_random_bytes(1);
    black_box(deeper(black_box(level + 1))) + black_box(now) + u64::from(bytes[0])
}
