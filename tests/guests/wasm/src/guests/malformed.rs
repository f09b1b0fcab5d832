//! Breaks the rule of the contract that a bad record names.

use crate::{Action, Batch, Exception, Guest, Outcome};

pub const GUEST: Guest = Guest::new(process);

fn process(batch: Batch) -> Outcome {
    let records = batch.len() as u32;
    let mut rules = vec![];
    let mut outcome = crate::shared::each(&batch, |i, value, outcome| {
        rules.push(value.to_vec());
        outcome.outputs.push(i, 0, value);
    });
    for rule in rules {
        break_rule(&rule, records, &mut outcome);
    }
    outcome
}

fn break_rule(rule: &[u8], records: u32, outcome: &mut Outcome) {
    let outputs = &mut outcome.outputs;
    let exception = |index| Exception { index, action: Action::Retry, reason: String::new() };
    match rule {
        b"!rows" => outputs.to.push(0),
        b"!source-falls" => outputs.source.reverse(),
        b"!source-beyond" => *outputs.source.last_mut().unwrap() = records,
        b"!to-unknown" => outputs.to[0] = 9,
        b"!inherit" => outputs.inherit[0] = 8,
        b"!values-missing" => _ = outputs.values.ends.pop(),
        b"!ends-fall" => outputs.values.ends.swap(0, 1),
        b"!ends-short" => outputs.values.data.push(b'x'),
        b"!ends-beyond" => *outputs.values.ends.last_mut().unwrap() = u32::MAX,
        b"!nulls" => outputs.values.nulls.extend([0; 9]),
        b"!keys" => outputs.keys.push(b"one"),
        b"!timestamps" => outputs.timestamps.push(0),
        b"!headers" => outputs.headers.names.ends.push(0),
        b"!header-rows" => outputs.headers.record_ends.push(0),
        b"!header-beyond" => outputs.headers.record_ends.extend(vec![1; records as usize]),
        b"!exception-beyond" => outcome.exceptions.push(exception(records)),
        b"!exception-twice" => outcome.exceptions.extend([exception(0), exception(0)]),
        other => panic!("no rule {}", String::from_utf8_lossy(other)),
    }
}
