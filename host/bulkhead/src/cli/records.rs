//! Records as people see them: one line each.
//!
//! Must never: let a record's bytes rule the terminal; bytes that are no text are shown as Base64.

use super::output::printable;
use bulkhead_core::time::format_rfc3339_ms;
use serde_json::Value;

/// `PARTITION:OFFSET  TIME  KEY  VALUE`, and each header on a line below where they are wanted.
pub(crate) fn line(record: &Value, headers: bool) -> String {
    let (partition, offset) = (&record["partition"], &record["offset"]);
    let time = record["timestamp"].as_i64().map(format_rfc3339_ms).unwrap_or_default();
    let mut text = format!("{partition}:{offset}  {time}  {}  {}", field(record, "key"), field(record, "value"));
    for header in record["headers"].as_array().into_iter().flatten().filter(|_| headers) {
        let name = header["name"].as_str().unwrap_or_default();
        text += &format!("\n    {}: {}", printable(name), field(header, "value"));
    }
    text
}

/// A key or value: its text, its bytes as Base64, or that there is none.
pub(crate) fn field(of: &Value, name: &str) -> String {
    match (&of[name], &of[format!("{name}Base64")]) {
        (Value::String(text), _) => printable(text).into_owned(),
        (_, Value::String(bytes)) => format!("base64:{}", printable(bytes)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_is_a_line_and_headers_are_lines_below() {
        let record = json!({"partition": 1, "offset": 7, "timestamp": 0, "key": null, "value": "a\u{1b}[2J",
            "headers": [{"name": "h", "valueBase64": "/w=="}]});
        assert_eq!(line(&record, false), "1:7  1970-01-01T00:00:00Z  -  a\u{fffd}[2J");
        assert!(line(&record, true).ends_with("\n    h: base64:/w=="));
    }
}
