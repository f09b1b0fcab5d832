//! Says `retry` or `dead-letter` for bad records, with the value as the reason.

use crate::{Action, Batch, Exception, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |i, value, outcome| {
        let action = if value.starts_with(b"!retry") { Action::Retry } else { Action::DeadLetter };
        let reason = String::from_utf8_lossy(value).into_owned();
        outcome.exceptions.push(Exception { index: i as u32, action, reason });
    })
}
