//! What lines become, and which are refused.

use super::*;

fn one(line: &str) -> RecordBatch {
    parse(line.as_bytes(), 7).unwrap_or_else(|problem| panic!("{line}: {:?}", problem.errors))
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
        assert_eq!(one(line).values.get(0), value, "{line}");
    }
}

#[test]
fn keys_headers_and_times_are_read() {
    let batch = one(r#"{"key":"k","value":"v","headers":{"h":"1"},"timestamp":"1970-01-01T00:00:01Z"}

{"keyBase64":"/w==","headers":[{"name":"h","value":"1"},{"name":"h","valueBase64":"/w=="},{"name":"n"}],"timestamp":5}
{"value":"v"}"#);
    assert_eq!(batch.timestamps, [1_000, 5, 7]);
    assert_eq!((batch.keys.get(0), batch.keys.get(1), batch.keys.get(2)), (Some(&b"k"[..]), Some(&[255][..]), None));
    let headers: Vec<_> = batch.headers.row(1).collect();
    assert_eq!(headers, [(&b"h"[..], Some(&b"1"[..])), (b"h", Some(&[255])), (b"n", None)]);
    assert_eq!((batch.headers.row(0).len(), batch.headers.row(2).len()), (1, 0));
}

#[test]
fn bad_lines_are_all_named_and_bounded() {
    let bad = [
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
    ];
    let text = format!("{{}}\n{}", bad.join("\n"));
    let errors = parse(text.as_bytes(), 0).unwrap_err().errors;
    let lines: Vec<_> = errors.iter().map(|error| error.field.clone()).collect();
    let expected: Vec<_> = (2..2 + bad.len()).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected);
    assert_eq!(parse("x\n".repeat(1_000).as_bytes(), 0).unwrap_err().errors.len(), ERRORS_MAX);
}

#[test]
fn what_is_read_back_can_be_sent_again() {
    let mut batch = RecordBatch::default();
    batch.push(3, 9, Some(b"k"), Some(&[255, 0]), [(&b"h"[..], Some(&b"v"[..]))]);
    let shown = record(&batch, 0);
    assert_eq!(shown["offset"], 3);
    let mut line = shown;
    line.as_object_mut().unwrap().remove("offset");
    let again = one(&line.to_string());
    assert_eq!(
        (again.keys, again.values, again.headers, again.timestamps),
        (batch.keys, batch.values, batch.headers, vec![9])
    );
}
