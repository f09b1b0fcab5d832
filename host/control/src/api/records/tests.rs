//! What lines become, and which are refused.

use super::line::{Bad, Record, show};
use bulkhead_core::code::Code;
use bulkhead_core::columns::RecordBatch;

fn one(line: &str) -> Record {
    Record::parse(line, 7).unwrap_or_else(|bad| panic!("{line}: {bad:?}"))
}

#[test]
fn a_value_is_kept_as_it_was_written() {
    let cases: [(&str, Option<&[u8]>); 7] = [
        (r#"{"value":"text"}"#, Some(b"text")),
        (r#"{"value":{"b": 1.50,"a":[true]}}"#, Some(br#"{"b": 1.50,"a":[true]}"#)),
        (r#"{"value":"\u00e9\n"}"#, Some("é\n".as_bytes())),
        (r#"{"value":12345678901234567890123}"#, Some(b"12345678901234567890123")),
        (r#"{"valueBase64":"AP8="}"#, Some(&[0, 255])),
        (r#"{"value":null}"#, None),
        ("{}", None),
    ];
    for (line, value) in cases {
        assert_eq!(one(line).value.as_deref(), value, "{line}");
    }
}

#[test]
fn keys_headers_times_and_partitions_are_read() {
    let map = one(r#"{"key":"k","value":"v","headers":{"h":"1"},"timestamp":"1970-01-01T00:00:01Z"}"#);
    assert_eq!((map.key.as_deref(), map.timestamp, map.headers.len()), (Some(&b"k"[..]), 1_000, 1));
    let list = r#"{"keyBase64":"/w==","headers":[{"name":"h","value":"1"},{"name":"h","valueBase64":"/w=="},{"name":"n"}],"timestamp":5}"#;
    let list = one(list);
    assert_eq!((list.key.as_deref(), list.timestamp), (Some(&[255][..]), 5));
    let cell = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(list.headers, [(b"h".to_vec(), cell(b"1")), (b"h".to_vec(), cell(&[255])), (b"n".to_vec(), None)]);
    let plain = one(r#"{"value":"v","partition":3}"#);
    assert_eq!((plain.key, plain.timestamp, plain.headers.len(), plain.partition), (None, 7, 0, Some(3)));
}

#[test]
fn bad_lines_are_refused() {
    for bad in [
        "no json",
        "[1]",
        r#"{"vlaue":"x"}"#,
        r#"{"key":1}"#,
        r#"{"value":"x","valueBase64":"AA=="}"#,
        r#"{"keyBase64":"?"}"#,
        r#"{"timestamp":-1}"#,
        r#"{"timestamp":"tomorrow"}"#,
        r#"{"headers":"x"}"#,
        r#"{"headers":[{"name":"a","x":1}]}"#,
        r#"{"partition":-1}"#,
        r#"{"key":"k","partition":1}"#,
        r#"{"value":"cut"#,
    ] {
        let refused = Record::parse(bad, 0);
        assert!(matches!(refused, Err(Bad { code: Code::RecordInvalid, .. })), "{bad}: {refused:?}");
    }
}

#[test]
fn headers_are_bounded() {
    let with = |count: usize| format!(r#"{{"headers":[{}]}}"#, vec![r#"{"name":"h"}"#; count].join(","));
    assert_eq!(one(&with(1_000)).headers.len(), 1_000);
    let refused = Record::parse(&with(1_001), 0).unwrap_err();
    assert_eq!(refused.code, Code::TooManyHeaders);
}

#[test]
fn what_is_read_back_can_be_sent_again() {
    let mut batch = RecordBatch::default();
    batch.push(3, 9, Some(b"k"), Some(&[255, 0]), [(&b"h"[..], Some(&b"v"[..]))]);
    let mut shown = show(&batch, 0, usize::MAX);
    assert_eq!(shown.remove("offset"), Some(3.into()));
    let mut again = RecordBatch::default();
    one(&serde_json::Value::Object(shown).to_string()).push_to(&mut again);
    assert_eq!(
        (again.keys, again.values, again.headers, again.timestamps),
        (batch.keys, batch.values, batch.headers, vec![9])
    );
}
