//! A stage that uses every function of `bulkhead_sdk::bucket`, as its records say: `COMMAND KEY [VALUE]` on the grant `archive`.
//!
//! Must never: be more than its tests need.

use bulkhead_sdk::bucket::{self, Error, ErrorKind};
use bulkhead_sdk::prelude::*;

/// Does what the record says and puts out what came of it; an error is a dead letter, but for those that `try` is put before.
#[stage]
pub fn archive(record: Record, out: &mut Outputs) -> StageResult {
    let text = record.text()?;
    let (tolerant, text) = text.strip_prefix("try ").map_or((false, text), |rest| (true, rest));
    let mut words = text.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let told = match (run(word(), word(), word()), tolerant) {
        (Err(error), true) if !matches!(error.kind(), ErrorKind::KeyRefused(_)) => format!("! {error}"),
        (told, _) => told?,
    };
    out.to("out").value(told);
    Ok(())
}

fn run(command: &str, key: &str, value: &str) -> Result<String, Error> {
    let archive = bucket::open("archive");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let info = |info: bucket::ObjectInfo| format!("{} {} {}", info.key, info.size, info.etag);
    match command {
        "get" => archive.get(key).map(text),
        "find" => archive.find(key).map(|found| found.map_or("nothing".to_owned(), text)),
        "range" => archive.get_range(key, 1, 2).map(text),
        "info" => archive.info(key).map(info),
        "list" => archive.list(key, Some(value).filter(|after| !after.is_empty()), 2).map(|found| {
            let keys: Vec<String> = found.into_iter().map(|info| info.key).collect();
            keys.join(" ")
        }),
        "put" => archive.put(key, value).map(info),
        "absent" => archive.put_if_absent(key, value).map(info),
        "again" => archive.put_if_match(key, value, archive.info(key)?.etag).map(info),
        "stale" => archive.put_if_match(key, value, "none").map(info),
        "delete" => archive.delete(key).map(|()| "deleted".to_owned()),
        "huge" => archive.put(key, vec![0; bucket::OBJECT_BYTES_MAX + 1]).map(info),
        "upload" => {
            let mut upload = archive.upload(key)?;
            upload.write(vec![b'x'; bucket::OBJECT_BYTES_MAX]);
            upload.write(value);
            upload.finish().map(|bytes| bytes.to_string())
        }
        "give-up" => {
            archive.upload(key)?.write(value);
            Ok("given up".to_owned())
        }
        other => panic!("an unknown command: {other}"),
    }
}
