//! A tenant with something in every place that holds a text or a name.
//!
//! Must never: leave out a place where a tenant can put words of its own.

use crate::harness::{Server, component};
use crate::pipelines::MANIFEST;
use bulkhead_control::Role;
use serde_json::json;

/// What of a filled tenant's is not a name that somebody chose.
pub(super) struct Filled {
    pub(super) digest: String,
    pub(super) etag: String,
    pub(super) line: String,
    /// Where the newest line of its audit is.
    pub(super) place: String,
}

/// Makes a tenant in which everything that is named is `name`, and everything that is written holds `text`.
pub(super) async fn fill(server: &Server, tenant: &str, name: &str, text: &str) -> Filled {
    server.tenant(tenant).await;
    let admin = server.client(tenant, Role::TenantAdmin);
    let own = format!("/api/v1/tenants/{tenant}");
    let project = format!("{own}/projects/{name}");
    admin.post(&format!("{own}/projects"), &json!({"name": name, "description": text})).await.expect(201);
    for topic in ["in", "out", "dead"] {
        admin.post(&format!("{own}/topics"), &json!({"name": format!("{name}.{topic}")})).await.expect(201);
    }
    admin.put(&format!("{project}/modules/{name}"), component(text)).await.expect(201);
    let manifest = MANIFEST
        .replace("name: p\n", &format!("name: {name}\n"))
        .replace("topic: ", &format!("topic: {name}."))
        .replace("module: m", &format!("module: {name}"))
        .replace("  - name: last\n", &format!("  - name: last\n    config: {{note: {text}}}\n"));
    let at = format!("{project}/pipelines/{name}");
    let made = admin.put(&at, manifest).await;
    let (etag, made) = (made.etag(), made.expect(201));
    let digest = made["modules"]["last"].as_str().unwrap().to_owned();
    let record = json!({"key": text, "value": text, "headers": [{"name": text, "value": text}]});
    admin.post(&format!("{own}/topics/{name}.in/records"), &record).await.expect(200);
    let source = format!("{name}.in");
    let letter = [
        ("code", "BH0301"),
        ("topic", &source),
        ("partition", "0"),
        ("offset", "0"),
        ("kind", "trap"),
        ("stage", "last"),
        ("module", &digest),
        ("project", name),
        ("pipeline", name),
        ("revision", "1"),
        ("fuel", "1"),
    ];
    let mut headers: Vec<_> =
        letter.iter().map(|(name, value)| json!({"name": format!("bulkhead-{name}"), "value": value})).collect();
    headers.push(json!({"name": "bulkhead-reason", "value": text}));
    let letter = json!({"key": "k", "value": text, "headers": headers});
    admin.post(&format!("{own}/topics/{name}.dead/records"), &letter).await.expect(200);
    let line = json!({"tenant": tenant, "project": name, "pipeline": name, "stage": "last", "at_ms": 1, "level": "info",
        "code": null, "message": text});
    server.worker().post("/internal/v1/logs", &json!({"worker": "pool-0", "lines": [line]})).await.expect(204);
    let role = json!({"actions": ["topics.read"], "description": text}).to_string();
    admin.put(&format!("{own}/access/roles/{name}"), role).await.expect(201);
    for place in [&own, &project] {
        admin.put(&format!("{place}/access/bindings/user:{name}/{name}"), "").await.expect(201);
    }
    admin.put(&format!("{project}/config/{name}"), json!(text).to_string()).await.expect(201);
    admin.put(&format!("{project}/secrets/{name}"), text.to_owned()).await.expect(201);
    let lines = admin.get(&format!("{project}/logs")).await.expect(200);
    let audit = admin.get(&format!("{own}/audit?limit=1")).await.expect(200);
    for (path, place) in
        [(&at, "manifest"), (&format!("{at}/dead-letters"), "letter"), (&format!("{project}/logs"), "log")]
    {
        assert!(admin.get(path).await.text.contains(text), "{tenant} itself does not find the marker in its {place}");
    }
    let line = lines["items"][0]["id"].as_str().unwrap().to_owned();
    Filled { digest, etag, line, place: audit["items"][0]["seq"].to_string() }
}
