//! Logs as many lines at a bad record as its value says, and one very long one.

use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, value, _| {
        let lines: usize = std::str::from_utf8(&value[1..]).unwrap().parse().unwrap();
        host::log(host::Level::Warn, &"€".repeat(10_000));
        for line in 0..lines {
            host::log(host::Level::Info, &format!("line {line}"));
        }
    })
}
