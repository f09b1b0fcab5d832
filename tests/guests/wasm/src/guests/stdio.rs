//! Writes its records to stdout and the bad ones to stderr, without a newline at the end.

use crate::{Batch, Guest, Outcome};
use std::io::Write;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let outcome = crate::shared::each(&batch, |_, value, _| {
        std::io::stderr().write_all(value).unwrap();
        std::io::stderr().flush().unwrap();
    });
    let mut out = std::io::stdout();
    out.write_all(&outcome.outputs.values.data).unwrap();
    out.flush().unwrap();
    outcome
}
