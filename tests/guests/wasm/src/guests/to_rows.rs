//! Makes a row of each record, for a bucket output: its number, and its remainder by three as a text. A record that begins with `!` becomes a
//! row whose number is a text.

use crate::shared::{INHERIT_ALL, nothing};
use crate::{Batch, Guest, Outcome, host};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let mut outcome = nothing();
    for i in 0..batch.len() {
        host::mark(i as u32);
        let text = String::from_utf8_lossy(batch.values.row(i)).into_owned();
        let row = match text.parse::<u64>() {
            Ok(n) => format!("{{\"n\":{n},\"by\":\"{}\",\"partition\":{}}}", n % 3, batch.partition),
            Err(_) => format!("{{\"n\":\"{}\",\"by\":\"0\",\"partition\":0}}", text.trim_start_matches('!')),
        };
        outcome.outputs.source.push(i as u32);
        outcome.outputs.to.push(0);
        outcome.outputs.inherit.push(INHERIT_ALL);
        outcome.outputs.values.push(row.as_bytes());
    }
    outcome
}
