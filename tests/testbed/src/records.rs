//! Records as the HTTP API takes and gives them.
//!
//! Must never: show a value that is not text as if it were.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its time, in milliseconds since 1970; control's clock where there is none.
    pub timestamp: Option<i64>,
}

impl Line {
    /// A key and a text.
    pub fn text(key: &str, value: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::value(value.as_bytes()) }
    }

    /// A value without a key.
    pub fn value(value: &[u8]) -> Self {
        Self { value: Some(value.to_vec()), ..Self::default() }
    }

    /// Another header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(&self) -> Value {
        let mut line = Map::new();
        let mut set = |name: &str, value: Value| line.insert(name.to_owned(), value);
        if let Some(key) = &self.key {
            set("key", json!(key));
        }
        match self.value.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => None,
            Some((_, Ok(text))) => set("value", json!(text)),
            Some((bytes, Err(_))) => set("valueBase64", json!(STANDARD.encode(bytes))),
        };
        if !self.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
            set("headers", headers.collect());
        }
        if let Some(timestamp) = self.timestamp {
            set("timestamp", json!(timestamp));
        }
        Value::Object(line)
    }
}

/// A record that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Read {
    pub(crate) fn of(partition: i32, json: &Value) -> Self {
        let headers = json["headers"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            partition,
            offset: json["offset"].as_i64().unwrap_or(-1),
            timestamp: json["timestamp"].as_i64().unwrap_or(-1),
            key: cell(json, "key"),
            value: cell(json, "value"),
            headers: headers
                .iter()
                .map(|header| (header["name"].as_str().unwrap_or_default().to_owned(), cell(header, "value")))
                .collect(),
        }
    }

    /// The value as text, with what is no text replaced; empty where it is null.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The key as text, as [`Read::text`].
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The text of the first header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        value.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

fn cell(json: &Value, name: &str) -> Option<Vec<u8>> {
    let encoded = || STANDARD.decode(json[format!("{name}Base64")].as_str()?).ok();
    json[name].as_str().map(|text| text.as_bytes().to_vec()).or_else(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_go_out_and_come_back() {
        for value in [&b"text"[..], b"\xff\x00", b""] {
            let mut json = Line::value(value).header("h", "1").json();
            json["offset"] = json!(7);
            let read = Read::of(3, &json);
            assert_eq!((read.partition, read.offset, read.value.as_deref()), (3, 7, Some(value)));
            assert_eq!(read.header("h").as_deref(), Some("1"));
        }
    }
}
