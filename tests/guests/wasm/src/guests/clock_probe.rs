//! Looks, at a bad record, for the smallest step that a clock makes, and returns it in nanoseconds.

use crate::{Batch, Guest, Outcome};
use std::time::{Instant, SystemTime};

pub const GUEST: Guest = Guest::new(process);

/// Steps to see of each clock.
const STEPS: u32 = 5;

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, _, outcome| {
        let (began, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let smallest = smallest(|| began.elapsed().as_nanos())
            .min(smallest(|| wall.elapsed().unwrap().as_nanos()))
            .min(u128::from(wasip2::clocks::monotonic_clock::resolution()));
        outcome.outputs.push(i, 0, smallest.to_string().as_bytes());
    })
}

fn smallest(clock: impl Fn() -> u128) -> u128 {
    let (mut smallest, mut before, mut seen) = (u128::MAX, clock(), 0);
    while seen < STEPS {
        let now = clock();
        if now != before {
            smallest = smallest.min(now - before);
            (before, seen) = (now, seen + 1);
        }
    }
    smallest
}
