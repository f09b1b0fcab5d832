//! A stage that reads secrets. A record's value is the name of one; what is put out is `NAME LENGTH HASH`, so that a test can tell values
//! apart which it must not find anywhere, or `NAME none` where the name is not granted. `trap|NAME` reads it and traps, `reject|NAME` reads
//! it and refuses the record.
//!
//! With the settings `"init"` the secret `token` is read at the start, and put out of that.

wit_bindgen::generate!({ path: "../../../guest-sdk/wit", world: "stage", generate_all });

use bulkhead::stage::host;
use bulkhead::stage::secrets;
use bulkhead::stage::types::{
    Action, Batch, BytesColumn, Config, Exception, Headers, NullColumn, Outcome, Outputs,
};
use exports::bulkhead::stage::processor;
use std::cell::RefCell;

const INHERIT_ALL: u8 = 7;

struct Component;

thread_local! {
    static KEPT: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn column() -> NullColumn {
    NullColumn { data: vec![], ends: vec![], nulls: vec![] }
}

fn row(column: &NullColumn, i: usize) -> String {
    let start = if i == 0 { 0 } else { column.ends[i - 1] as usize };
    String::from_utf8_lossy(&column.data[start..column.ends[i] as usize]).into_owned()
}

/// FNV-1a: not for keeping secrets, only for telling them apart.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn described(name: &str) -> String {
    match secrets::get(name) {
        Ok(value) => format!("{name} {} {:016x}", value.len(), hash(&value)),
        Err(secrets::Error::NotGranted) => format!("{name} none"),
    }
}

impl processor::Guest for Component {
    fn init(config: Config) -> Result<(), String> {
        if config.settings == "\"init\"" {
            KEPT.set(Some(described("token")));
        }
        Ok(())
    }

    fn process(batch: Batch) -> Outcome {
        let rows = batch.offsets.len();
        let mut outputs = Outputs {
            source: vec![],
            to: vec![],
            inherit: vec![],
            keys: column(),
            values: column(),
            headers: Headers {
                record_ends: vec![],
                names: BytesColumn { data: vec![], ends: vec![] },
                values: column(),
            },
            timestamps: vec![],
        };
        let mut exceptions = vec![];
        for i in 0..rows {
            host::mark(i as u32);
            let value = row(&batch.values, i);
            let (command, name) = value.split_once('|').unwrap_or(("", &value));
            let said = KEPT.with_borrow(Clone::clone).unwrap_or_else(|| described(name));
            match command {
                "trap" => panic!("after {said}"),
                "reject" => {
                    exceptions.push(Exception { index: i as u32, action: Action::DeadLetter, reason: said });
                    continue;
                }
                _ => {}
            }
            outputs.source.push(i as u32);
            outputs.to.push(0);
            outputs.inherit.push(INHERIT_ALL);
            outputs.values.data.extend_from_slice(said.as_bytes());
            outputs.values.ends.push(outputs.values.data.len() as u32);
        }
        Outcome { outputs, exceptions }
    }
}

export!(Component);
