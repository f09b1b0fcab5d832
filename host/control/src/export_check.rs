//! Checks that an export of a tenant is whole and unchanged: the other side of `api/export.rs`.
//!
//! Must never: call an export whole whose last line was not compared with all others, or hold more than one line of it.

use bulkhead_core::name::ModuleDigest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// Bytes of a line at most: a record as large as any topic takes, as Base64, and room.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// Reads an export to its end, and gives its last line.
///
/// # Errors
/// A sentence that says what is missing or changed.
pub fn check_export(lines: &mut impl BufRead) -> Result<Value, String> {
    let (mut hash, mut kinds, mut count) = (Sha256::new(), BTreeMap::<String, u64>::new(), 0_u64);
    let mut text = Vec::new();
    loop {
        text.clear();
        lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text).map_err(|error| error.to_string())?;
        if text.is_empty() {
            return Err("it ends without its last line".to_owned());
        }
        let line: Value =
            serde_json::from_slice(&text).map_err(|error| format!("line {} is not JSON: {error}", count + 1))?;
        let kind = line["kind"].as_str().unwrap_or_default();
        if kind == "end" {
            let digest = ModuleDigest::from_bytes(hash.finalize().into()).hex();
            let fits =
                line["sha256"] == json!(digest) && line["lines"] == json!(count) && line["kinds"] == json!(kinds);
            let last = lines.fill_buf().map_err(|error| error.to_string())?.is_empty();
            return if fits && last { Ok(line) } else { Err("its last line does not fit the others".to_owned()) };
        }
        *kinds.entry(kind.to_owned()).or_default() += 1;
        count += 1;
        hash.update(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_was_cut_or_changed_is_not_whole() {
        let body = "{\"kind\":\"export\"}\n{\"kind\":\"topic\"}\n";
        let digest = ModuleDigest::from_bytes(Sha256::digest(body).into()).hex();
        let end = json!({"kind": "end", "lines": 2, "kinds": {"export": 1, "topic": 1}, "sha256": digest});
        let whole = format!("{body}{end}\n");
        assert_eq!(check_export(&mut whole.as_bytes()).unwrap()["lines"], json!(2));
        let changed = whole.replace("topic\"}", "tropic\"}");
        for broken in [body, &changed, &format!("{whole}{whole}"), &whole[20..], ""] {
            assert!(check_export(&mut broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
