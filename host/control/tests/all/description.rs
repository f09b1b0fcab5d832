//! The API's description is the routes', and is the one checked in.

use crate::harness::Server;
use bulkhead_control::{openapi, routes};
use serde_json::Value;
use std::collections::BTreeSet;

fn checked_in() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json")
}

#[test]
fn the_description_is_the_one_checked_in() {
    // `cargo xtask openapi` runs this test with the variable, which is how the file is made.
    if std::env::var_os("BULKHEAD_WRITE_OPENAPI").is_some() {
        std::fs::write(checked_in(), openapi()).unwrap();
    }
    let kept = std::fs::read_to_string(checked_in()).unwrap_or_default();
    assert!(kept == openapi(), "the API has changed: run `cargo xtask openapi`, and read the difference");
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document: Value = serde_json::from_str(openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_ascii_uppercase(), path.clone()));
            let public = operation.get("security").is_none();
            assert_eq!(public, operation["responses"].get("default").is_none(), "{method} {path}");
        }
    }
    let served: BTreeSet<_> =
        routes().into_iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(described, served);
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} is not there");
                }
                fields.values().for_each(|field| walk(field, document));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    walk(&document, &document);
}

#[tokio::test]
async fn anybody_may_read_it_as_json_and_as_a_page_that_needs_nothing_else() {
    let server = Server::start().await;
    let json = server.anybody().get("/api/v1/openapi.json").await;
    assert_eq!((json.status, json.text.as_str()), (200, openapi()));
    let page = server.anybody().get("/api/v1/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    for from_elsewhere in ["http://", "https://", "//cdn", "import "] {
        assert!(!page.text.contains(from_elsewhere), "the page wants {from_elsewhere}");
    }
}
