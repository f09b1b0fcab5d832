//! A stage with state, steered by its records: `COMMAND KEY`, and a tick that puts out and forgets all that was counted.
//!
//! `count K` counts K and puts out `K=n`; `trap K`, `reject K` and `retry K` count it first and then fail; `fill K N` writes N bytes;
//! `delete K` removes it; `scan` puts out everything; `key N` reads a key of N bytes. A tick puts out `K=n` for each key and removes
//! it, and traps where a key is `!tick`. With the settings `"init"` it asks for its state too early.

wit_bindgen::generate!({ path: "../../../guest-sdk/wit", world: "ticking-stage", generate_all });

use bulkhead::stage::types::{
    Action, Batch, BytesColumn, Config, Exception, Headers, NullColumn, Outcome, Outputs,
};
use bulkhead::stage::{host, state};
use exports::bulkhead::stage::{processor, ticker};

const INHERIT_ALL: u8 = 7;

struct Component;

fn column() -> NullColumn {
    NullColumn { data: vec![], ends: vec![], nulls: vec![] }
}

fn nothing() -> Outputs {
    let headers = Headers { record_ends: vec![], names: BytesColumn { data: vec![], ends: vec![] }, values: column() };
    let (source, to, inherit, timestamps) = (vec![], vec![], vec![], vec![]);
    Outputs { source, to, inherit, keys: column(), values: column(), headers, timestamps }
}

fn put(outputs: &mut Outputs, source: usize, inherit: u8, value: &str) {
    outputs.source.push(source as u32);
    outputs.to.push(0);
    outputs.inherit.push(inherit);
    outputs.values.data.extend_from_slice(value.as_bytes());
    outputs.values.ends.push(outputs.values.data.len() as u32);
}

fn row(column: &NullColumn, i: usize) -> &[u8] {
    let start = if i == 0 { 0 } else { column.ends[i - 1] as usize };
    &column.data[start..column.ends[i] as usize]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count(key: &str) -> u64 {
    let before = state::get(key.as_bytes()).map_or(0, |value| text(&value).parse::<u64>().expect("a number"));
    state::set(key.as_bytes(), (before + 1).to_string().as_bytes());
    before + 1
}

/// Everything, in the steps that a stage with much state has to take.
fn all() -> Vec<state::Entry> {
    let mut found: Vec<state::Entry> = vec![];
    let mut from = vec![];
    loop {
        let some = state::scan(&from, None, 2);
        let Some(last) = some.last() else { return found };
        from = last.key.clone();
        from.push(0);
        found.extend(some);
    }
}

fn list(entries: &[state::Entry]) -> String {
    let one = |entry: &state::Entry| format!("{}={}", text(&entry.key), text(&entry.value));
    entries.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl processor::Guest for Component {
    fn init(config: Config) -> Result<(), String> {
        if config.settings == "\"init\"" {
            state::get(b"early");
        }
        Ok(())
    }

    fn process(batch: Batch) -> Outcome {
        let mut outcome = Outcome { outputs: nothing(), exceptions: vec![] };
        for i in 0..batch.offsets.len() {
            host::mark(i as u32);
            let value = text(row(&batch.values, i));
            let mut words = value.split(' ');
            let (command, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut fail = |action| {
                let reason = format!("{command} {}", count(key));
                outcome.exceptions.push(Exception { index: i as u32, action, reason });
            };
            match command {
                "trap" => panic!("trapped after counting {}", count(key)),
                "reject" => fail(Action::DeadLetter),
                "retry" => fail(Action::Retry),
                "count" => {
                    let n = count(key);
                    put(&mut outcome.outputs, i, INHERIT_ALL, &format!("{key}={n}"));
                }
                "fill" => {
                    let bytes = words.next().and_then(|n| n.parse().ok()).expect("a number of bytes");
                    state::set(key.as_bytes(), &vec![b'v'; bytes]);
                    put(&mut outcome.outputs, i, INHERIT_ALL, &format!("{key}:{bytes}"));
                }
                "delete" => state::delete(key.as_bytes()),
                "scan" => put(&mut outcome.outputs, i, INHERIT_ALL, &list(&all())),
                "key" => {
                    state::get(&vec![b'k'; key.parse().expect("a number of bytes")]);
                    put(&mut outcome.outputs, i, INHERIT_ALL, key);
                }
                _ => panic!("an unknown command"),
            }
        }
        outcome
    }
}

impl ticker::Guest for Component {
    fn tick(at: ticker::Moment) -> Outputs {
        let mut outputs = nothing();
        assert!(at.now > 1_700_000_000_000, "a time in milliseconds");
        for entry in all() {
            assert_ne!(entry.key, b"!tick", "asked to fail");
            state::delete(&entry.key);
            put(&mut outputs, 0, 0, &list(&[entry]));
        }
        outputs
    }
}

export!(Component);

fn main() {}
