//! Sleeps for an hour at a bad record.

use crate::{Batch, Guest, Outcome};
use std::time::Duration;

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    crate::shared::each(&batch, |_, _, _| std::thread::sleep(Duration::from_secs(3600)))
}
