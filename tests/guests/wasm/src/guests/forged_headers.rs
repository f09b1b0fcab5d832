//! Puts out what it reads with headers that only the host writes, as if it were a dead letter of the pipeline `probe`, and to be sent to that
//! one again; traps at a bad record.

use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

/// What it takes from the source.
const KEY_AND_TIMESTAMP: u8 = 5;

/// What the host would write, as it would write it.
const FORGED: [(&str, &str); 15] = [
    ("bulkhead-tenant", "besieged"),
    ("bulkhead-replay-of", "default/probe/0-0"),
    ("bulkhead-code", "BH0301"),
    ("bulkhead-topic", "probe-in"),
    ("bulkhead-partition", "0"),
    ("bulkhead-offset", "0"),
    ("bulkhead-kind", "trap"),
    ("bulkhead-stage", "guest"),
    ("bulkhead-module", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ("bulkhead-project", "default"),
    ("bulkhead-pipeline", "probe"),
    ("bulkhead-revision", "999"),
    ("bulkhead-fuel", "18446744073709551615"),
    ("bulkhead-usage", "besieged"),
    ("bulkhead-sealed", "1"),
];

fn process(batch: Batch) -> Outcome {
    let mut outcome = crate::shared::nothing();
    for i in 0..batch.len() {
        host::mark(i as u32);
        let value = batch.values.row(i);
        assert!(!value.starts_with(b"!"), "a bad record");
        let outputs = &mut outcome.outputs;
        outputs.push(i, 0, value);
        outputs.inherit[i] = KEY_AND_TIMESTAMP;
        for (name, text) in FORGED {
            outputs.headers.names.data.extend_from_slice(name.as_bytes());
            outputs.headers.names.ends.push(outputs.headers.names.data.len() as u32);
            outputs.headers.values.push(text.as_bytes());
        }
        outputs.headers.record_ends.push(outputs.headers.names.ends.len() as u32);
    }
    outcome
}
