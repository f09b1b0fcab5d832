//! Whatever a stage does with drafts, the columns keep the contract's rules and say what the stage said.
//!
//! Each record is a script, a byte for each draft. The stage follows it; a model, written without columns, says what should
//! come out; the host's own check judges the columns.

use crate::bindings::contract;
use crate::prelude::*;
use crate::stage::Instance;
use crate::testing::{Case, Emitted, Input, Report};
use crate::{Outputs, Stage};
use bulkhead_core::columns;

const OWN_KEY: u8 = 1;
const NO_KEY: u8 = 2;
const HEADER: u8 = 4;
const NO_HEADERS: u8 = 8;
const TIME: u8 = 16;
const TOMBSTONE: u8 = 32;
const ABANDON: u8 = 64;
const FORWARD: u8 = 128;
/// As a whole script: reject the record after two outputs.
const REJECT: u8 = 255;

enum Script {}

impl Stage for Script {
    type State = ();

    fn init(_: &Config) -> Result<(), InitError> {
        Ok(())
    }

    fn process(_: &mut (), record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
        for step in record.bytes()? {
            if *step == REJECT {
                out.to("a").key("gone").header("gone", "gone").timestamp(1).value("gone");
                out.to("b").no_key().tombstone();
                return Err(Reject::dead_letter("as the script says"));
            }
            follow(*step, out);
        }
        Ok(())
    }
}

fn follow(step: u8, out: &mut Outputs<'_>) {
    let mut draft = out.to(if step & 1 == 1 { "b" } else { "a" });
    if step & OWN_KEY != 0 {
        draft = draft.key("first").key([step]);
    }
    if step & NO_KEY != 0 {
        draft = draft.no_key();
    }
    if step & HEADER != 0 {
        draft = draft.header("own", [step]);
    }
    if step & NO_HEADERS != 0 {
        draft = draft.no_headers().header("last", "1");
    }
    if step & TIME != 0 {
        draft = draft.timestamp(i64::from(step));
    }
    match step {
        _ if step & ABANDON != 0 => {
            use std::io::Write;
            let mut writer = draft.writer();
            writer.write_all(b"never sent").expect("a column takes all");
        }
        _ if step & TOMBSTONE != 0 => draft.tombstone(),
        _ if step & FORWARD != 0 => draft.forward(),
        _ => draft.value([step, step]),
    }
}

fn model(case: &Case) -> Vec<Emitted> {
    let mut expected = Vec::new();
    for (i, record) in case.records.iter().enumerate() {
        let script = record.value.as_deref().unwrap_or_default();
        if script.contains(&REJECT) {
            continue;
        }
        for step in script.iter().copied().filter(|step| step & ABANDON == 0) {
            let own = (b"own".to_vec(), Some(vec![step]));
            let last = (b"last".to_vec(), Some(b"1".to_vec()));
            let mut headers = record.headers.clone();
            headers.extend((step & HEADER != 0).then_some(own));
            if step & NO_HEADERS != 0 {
                headers = vec![last];
            }
            let own_key = (step & OWN_KEY != 0).then(|| vec![step]);
            let value = if step & FORWARD != 0 { script.to_vec() } else { vec![step, step] };
            expected.push(Emitted {
                record: i,
                by_tick: false,
                to: if step & 1 == 1 { "b" } else { "a" }.to_owned(),
                key: if step & NO_KEY != 0 { None } else { own_key.or_else(|| record.key.clone()) },
                value: (step & TOMBSTONE == 0).then_some(value),
                headers,
                timestamp: if step & TIME != 0 { i64::from(step) } else { record.timestamp },
            });
        }
    }
    expected
}

/// A different case for each seed; the same one each time.
fn case(seed: u64) -> Case {
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let mut records = Vec::new();
    for _ in 0..random() % 40 {
        let script: Vec<u8> = (0..random() % 4).map(|_| random()).collect();
        let mut record = Input::new(script).timestamp(i64::from(random()));
        if random() % 2 == 0 {
            record = record.key([random()]);
        }
        for _ in 0..random() % 3 {
            record = record.header("h", [random()]);
        }
        if random() % 8 == 0 {
            record.headers.push((b"null".to_vec(), None));
        }
        records.push(record);
    }
    Case::new().outputs(["a", "b"]).records(records).batch_records(usize::from(random() % 20) + 1)
}

#[test]
fn what_comes_out_is_what_the_stage_said() {
    let mut outputs = 0;
    for seed in 0..2_000 {
        let case = case(seed);
        let Report { outputs: emitted, rejected, .. } = case.run::<Script>();
        assert_eq!(emitted, model(&case), "seed {seed}");
        let scripts = case.records.iter().filter_map(|record| record.value.as_ref());
        assert_eq!(rejected.len(), scripts.filter(|script| script.contains(&REJECT)).count(), "seed {seed}");
        outputs += emitted.len();
    }
    assert!(outputs > 10_000, "only {outputs} outputs were compared");
}

#[test]
fn the_host_accepts_the_columns() {
    for seed in 0..2_000 {
        let case = case(seed);
        let mut instance = Instance::<Script>::start(case.contract()).expect("it starts");
        for rows in case.batches() {
            let records = rows.len();
            let outcome = instance.process(&crate::testing::columns(&case, rows));
            let outputs = host_columns(outcome.outputs);
            assert_eq!(outputs.check(records, 2), Ok(()), "seed {seed}");
        }
    }
}

fn host_columns(outputs: contract::Outputs) -> columns::Outputs {
    let nulls = |column: contract::NullColumn| {
        let contract::NullColumn { data, ends, nulls } = column;
        columns::NullColumn { data, ends, nulls }
    };
    columns::Outputs {
        source: outputs.source,
        to: outputs.to,
        inherit: outputs.inherit,
        keys: nulls(outputs.keys),
        values: nulls(outputs.values),
        headers: columns::Headers {
            record_ends: outputs.headers.record_ends,
            names: columns::BytesColumn { data: outputs.headers.names.data, ends: outputs.headers.names.ends },
            values: nulls(outputs.headers.values),
        },
        timestamps: outputs.timestamps,
    }
}
