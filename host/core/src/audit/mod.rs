//! A line of the audit: what it is as bytes, and its hash, so that whoever holds the lines can check them.
//!
//! A line is a flat JSON object. Its *canonical form* is that object without `hash`: keys sorted by their bytes, no spaces, whole numbers,
//! texts escaped as little as JSON allows (`"`, `\` and control characters). That is RFC 8785 for such objects, and what Python's
//! `json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes. `hash` is the SHA-256 of these bytes in hex;
//! `prev` is the `hash` of the line before, so a line stands for all before it. What a verifier does not know is hashed all the same: a
//! later version may say more in a line.
//! Must never: give two forms to one line, or one form to two.

mod check;

pub use check::{Anchor, Checker, FINDINGS_MAX, Finding, Verdict, Wrong};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The `prev` of a chain's first line.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a line says of its place: the fields that join lines to a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which chain: new with every tenant that is made, so that a line fits into no other.
    pub chain: String,
    /// Which line of it, from 1.
    pub seq: u64,
    /// The `hash` of the line before.
    pub prev: String,
    /// This line's own.
    pub hash: String,
}

impl Link {
    /// What a line says of its place; `None` where it lacks any of it.
    pub fn of(line: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let seq = line.get("seq")?.as_u64().filter(|seq| *seq > 0)?;
        Some(Self { chain: text("chain")?, seq, prev: text("prev")?, hash: text("hash")? })
    }
}

/// Puts a line into its place: adds `chain`, `seq`, `prev` and `hash` to what it says.
///
/// # Errors
/// Where it says something that has no canonical form.
pub fn seal(
    mut line: Map<String, Value>,
    chain: &str,
    seq: u64,
    prev: &str,
) -> Result<Map<String, Value>, NotCanonical> {
    line.insert("chain".to_owned(), chain.into());
    line.insert("seq".to_owned(), seq.into());
    line.insert("prev".to_owned(), prev.into());
    let hash = hash(&line)?;
    line.insert("hash".to_owned(), hash.into());
    Ok(line)
}

/// The hash of a line, whatever it says its hash is.
///
/// # Errors
/// Where the line has no canonical form.
pub fn hash(line: &Map<String, Value>) -> Result<String, NotCanonical> {
    let mut text = String::new();
    object(line.iter().filter(|(name, _)| *name != "hash"), &mut text)?;
    Ok(hex::encode(Sha256::digest(text.as_bytes())))
}

/// A line with a number that is not whole: such have more than one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the audit holds only whole numbers")]
pub struct NotCanonical;

fn object<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut String) -> Result<(), NotCanonical> {
    // Sorted here, since the order of serde's own map hangs on a feature that any crate may switch on.
    let sorted: BTreeMap<&str, &Value> = entries.map(|(name, value)| (name.as_str(), value)).collect();
    text.push('{');
    for (i, (name, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(name).to_string());
        text.push(':');
        canonical(value, text)?;
    }
    text.push('}');
    Ok(())
}

fn canonical(value: &Value, text: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Object(entries) => object(entries.iter(), text)?,
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                canonical(item, text)?;
            }
            text.push(']');
        }
        Value::Number(number) if number.is_f64() => return Err(NotCanonical),
        plain => text.push_str(&plain.to_string()),
    }
    Ok(())
}

/// A text that may stand in a line: control characters, and those that turn writing around, as `\u{…}`; at most `max` bytes, cut at a
/// character.
pub fn plain(text: &str, max: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(max));
    for char in text.chars() {
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let before = plain.len();
        if char.is_control() || turns {
            plain.push_str(&format!("\\u{{{:x}}}", u32::from(char)));
        } else {
            plain.push(char);
        }
        if plain.len() > max {
            plain.truncate(before);
            break;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_form_is_the_documented_one() {
        // The hash was made with Python, as the module's documentation says.
        let line = map(json!({"seq": 1, "b": "ä\"\\\n\u{1}", "a": [true, null, -3], "prev": "", "chain": "c"}));
        let mut text = String::new();
        object(line.iter(), &mut text).unwrap();
        assert_eq!(
            text,
            "{\"a\":[true,null,-3],\"b\":\"ä\\\"\\\\\\n\\u0001\",\"chain\":\"c\",\"prev\":\"\",\"seq\":1}"
        );
        assert_eq!(hash(&line).unwrap(), "8e1ca05b057b0a2452b62296b078069b6ec587bb5daf876766f16329e1ea17cb");
    }

    #[test]
    fn a_line_hashes_the_same_in_whatever_order_and_never_over_its_own_hash() {
        let one = seal(map(json!({"x": "1", "y": {"d": 1, "c": 2}})), "c", 7, NOTHING_BEFORE).unwrap();
        let two = map(serde_json::from_str(&format!(
            r#"{{"hash":"other","y":{{"c":2,"d":1}},"prev":"{NOTHING_BEFORE}","seq":7,"x":"1","chain":"c"}}"#
        ))
        .unwrap());
        assert_eq!(hash(&two).unwrap(), one["hash"]);
        let mut more = two.clone();
        more.insert("z".to_owned(), json!("unknown to this version"));
        assert_ne!(hash(&more).unwrap(), one["hash"]);
        assert_eq!(hash(&map(json!({"n": 1.5}))), Err(NotCanonical));
    }

    #[test]
    fn texts_are_cut_and_cannot_rule_a_terminal() {
        assert_eq!(plain("a\u{1b}[2J\n", 100), "a\\u{1b}[2J\\u{a}");
        assert_eq!(plain("x\u{202e}y", 100), "x\\u{202e}y");
        assert_eq!(plain("äää", 5), "ää");
        assert_eq!(plain("a\u{1b}", 3), "a", "half an escape is none");
    }
}
