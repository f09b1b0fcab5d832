//! A stage that reaches buckets, steered by its records: `COMMAND|GRANT|KEY|…`. What each came to is put out.
//!
//! `put`, `absent` and `match|…|ETAG` write their last part, `get|…|OFFSET|LENGTH` reads, `info`, `etag`, `delete` and `list|GRANT|PREFIX|AFTER|LIMIT`
//! are what they say; `fill|…|N` puts N bytes, `write|…|N` uploads them in one write, `upload|…|PIECES|N` in several, `drop` begins an upload and drops
//! it; `keep` leaves one under way for `kept`, `begin|…|N` begins N at a time, `lie|GRANT` uses a key that is not UTF-8, and `trap|…` puts and then traps. A tick
//! puts an object `tick`. With the settings `"init"` it opens a bucket too early.

wit_bindgen::generate!({ path: "../../../guest-sdk/wit", world: "ticking-stage", generate_all });

use bulkhead::stage::bucket::{self, Condition, Container, Error, ObjectInfo, Upload};
use bulkhead::stage::host;
use bulkhead::stage::types::{Batch, BytesColumn, Config, Headers, NullColumn, Outcome, Outputs};
use exports::bulkhead::stage::{processor, ticker};
use std::cell::RefCell;

const INHERIT_ALL: u8 = 7;

struct Component;

thread_local! {
    static KEPT: RefCell<Option<Upload>> = const { RefCell::new(None) };
}

fn column() -> NullColumn {
    NullColumn { data: vec![], ends: vec![], nulls: vec![] }
}

fn nothing() -> Outputs {
    let headers = Headers { record_ends: vec![], names: BytesColumn { data: vec![], ends: vec![] }, values: column() };
    let (source, to, inherit, timestamps) = (vec![], vec![], vec![], vec![]);
    Outputs { source, to, inherit, keys: column(), values: column(), headers, timestamps }
}

fn row(column: &NullColumn, i: usize) -> String {
    let start = if i == 0 { 0 } else { column.ends[i - 1] as usize };
    String::from_utf8_lossy(&column.data[start..column.ends[i] as usize]).into_owned()
}

fn size(info: ObjectInfo) -> String {
    info.size.to_string()
}

fn number(text: Option<&&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).expect("a number")
}

fn uploaded(bucket: &Container, key: &str, pieces: u64, bytes: u64) -> Result<String, Error> {
    let upload = bucket.upload(key)?;
    for _ in 0..pieces {
        upload.write(&vec![b'u'; bytes as usize]);
    }
    upload.finish().map(|bytes| bytes.to_string())
}

fn run(command: &str, bucket: &Container, key: &str, more: &[&str]) -> Result<String, Error> {
    let put = |value: &str, condition| bucket.put(key, value.as_bytes(), &condition).map(size);
    match command {
        "put" => put(more[0], Condition::None),
        "absent" => put(more[0], Condition::IfAbsent),
        "match" => put(more[1], Condition::IfMatch(more[0].to_owned())),
        "trap" => {
            put(more[0], Condition::None)?;
            panic!("trapped after a put")
        }
        "get" => {
            let bytes = bucket.get(key, number(more.first()), number(more.get(1)))?;
            Ok(if bytes.len() > 99 { bytes.len().to_string() } else { String::from_utf8_lossy(&bytes).into_owned() })
        }
        "info" => bucket.info(key).map(size),
        "etag" => bucket.info(key).map(|info| info.etag),
        "delete" => bucket.delete(key).map(|()| "deleted".to_owned()),
        "list" => {
            let after = Some(more[0]).filter(|after| !after.is_empty());
            let found = bucket.list(key, after, number(more.get(1)) as u32)?;
            Ok(found.into_iter().map(|info| format!("{}:{}", info.key, info.size)).collect::<Vec<_>>().join(" "))
        }
        "fill" => bucket.put(key, &vec![b'f'; number(more.first()) as usize], &Condition::None).map(size),
        "write" => uploaded(bucket, key, 1, number(more.first())),
        "upload" => uploaded(bucket, key, number(more.first()), number(more.get(1))),
        "drop" => {
            bucket.upload(key)?.write(b"never seen");
            Ok("dropped".to_owned())
        }
        "keep" => {
            let upload = bucket.upload(key)?;
            upload.write(b"kept");
            KEPT.set(Some(upload));
            Ok("kept".to_owned())
        }
        "kept" => KEPT.take().expect("one is kept").finish().map(|bytes| bytes.to_string()),
        "begin" => {
            let all: Result<Vec<_>, _> = (0..number(more.first())).map(|_| bucket.upload(key)).collect();
            Ok(all?.len().to_string())
        }
        // SAFETY: there is none. It is wrong on purpose, as no language that keeps its own rules can be.
        "lie" => bucket.info(&unsafe { String::from_utf8_unchecked(vec![b'a', 0xff]) }).map(size),
        _ => panic!("an unknown command"),
    }
}

fn told(done: Result<String, Error>) -> String {
    done.unwrap_or_else(|error| match error {
        Error::NoSuchObject => "!missing".to_owned(),
        Error::PreconditionFailed => "!condition".to_owned(),
        Error::KeyRefused(why) => format!("!key: {why}"),
    })
}

impl processor::Guest for Component {
    fn init(config: Config) -> Result<(), String> {
        if config.settings == "\"init\"" {
            bucket::open("all");
        }
        Ok(())
    }

    fn process(batch: Batch) -> Outcome {
        let mut outputs = nothing();
        for i in 0..batch.offsets.len() {
            host::mark(i as u32);
            let text = row(&batch.values, i);
            let words: Vec<&str> = text.split('|').collect();
            let bucket = bucket::open(words[1]);
            let done = run(words[0], &bucket, words.get(2).unwrap_or(&""), words.get(3..).unwrap_or_default());
            outputs.source.push(i as u32);
            outputs.to.push(0);
            outputs.inherit.push(INHERIT_ALL);
            outputs.values.data.extend_from_slice(told(done).as_bytes());
            outputs.values.ends.push(outputs.values.data.len() as u32);
        }
        Outcome { outputs, exceptions: vec![] }
    }
}

impl ticker::Guest for Component {
    fn tick(_: ticker::Moment) -> Outputs {
        bucket::open("all").put("tick", b"tock", &Condition::None).expect("a tick may put");
        nothing()
    }
}

export!(Component);

fn main() {}
