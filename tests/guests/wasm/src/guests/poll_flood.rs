//! Polls a very long list at a bad record.

use crate::{Batch, Guest, Outcome};
use std::hint::black_box;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| {
        let ready = wasip2::clocks::monotonic_clock::subscribe_duration(0);
        let list = vec![&ready; 1_000_000];
        loop {
            black_box(wasip2::io::poll::poll(&list));
        }
    })
}
