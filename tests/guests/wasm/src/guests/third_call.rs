//! Panics in its third call, whatever the records.

use crate::{Batch, Guest, Outcome};
use std::cell::Cell;

pub const GUEST: Guest = Guest::new(process);

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

fn process(batch: Batch) -> Outcome {
    CALLS.set(CALLS.get() + 1);
    assert!(CALLS.get() < 3, "the third call");
    crate::shared::each(&batch, |_, _, _| ())
}
