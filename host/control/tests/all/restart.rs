//! What a restart keeps, and what it cleans.

use crate::harness::{Server, component};
use crate::workers::report;
use bulkhead_control::{Control, ControlConfig, Role};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let server = Server::start().await;
    let dev = crate::pipelines::ready(&server, "acme").await;
    let at = "/api/v1/tenants/acme/projects/default/pipelines/p";
    dev.put(at, crate::pipelines::MANIFEST).await.expect(201);
    dev.post(&format!("{at}/pause"), &json!({})).await.expect(200);
    server.worker().post("/internal/v1/report", &report("pool-0", "boot-1", 1, 42)).await.expect(204);
    let before = server.worker().get("/internal/v1/assignment?worker=pool-0").await;
    let admin = server.client("acme", Role::TenantAdmin);
    let token = admin.post("/api/v1/tenants/acme/tokens", &json!({"subject": "a", "role": "viewer"})).await.expect(201);

    let server = server.restart().await;
    let viewer = server.with_token(token["token"].as_str().unwrap());
    let after = viewer.get(at).await.expect(200);
    assert_eq!((&after["revision"], &after["paused"]), (&json!(1), &json!(true)));
    assert_eq!(after["status"]["totals"]["recordsIn"], 42);
    let again = server.worker().get("/internal/v1/assignment?worker=pool-0").await;
    assert_eq!(again.headers["etag"], before.headers["etag"], "workers would think that something changed");
    assert_eq!(again.text, before.text);
    let digest = after["modules"]["first"].as_str().unwrap();
    let bytes = server.worker().get(&format!("/internal/v1/modules/acme/{digest}")).await;
    assert_eq!(bytes.text.as_bytes(), component("1"));
    let audit = server.client("acme", Role::TenantAdmin).get("/api/v1/tenants/acme/audit").await.expect(200);
    assert!(audit["items"].as_array().unwrap().iter().any(|row| row["action"] == "pipelines.apply"));
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let server = Server::start().await;
    let config = ControlConfig::new(server.data_dir());
    let ports = server.ports.clone();
    let error = Control::open(config, ports.modules, ports.topics, crate::ports::parquet, &prometheus::Registry::new())
        .await
        .unwrap_err();
    assert_eq!(error.code.id(), "BH0406");
}

#[tokio::test]
async fn nobody_else_may_read_the_folder() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let mode = |name: &str| {
        let path = server.data_dir().join(name);
        std::fs::metadata(&path).unwrap_or_else(|error| panic!("{name}: {error}")).permissions().mode() & 0o777
    };
    for dir in ["", "keys", "objects"] {
        assert_eq!(mode(dir), 0o700, "{dir}");
    }
    let files: &[_] = if server.metadata.is_file() { &["control.db", "control.db-wal", "control.db-shm"] } else { &[] };
    for file in files.iter().chain(&["control.lock", "keys/issuer.pem"]) {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[tokio::test]
async fn uploads_that_a_crash_left_are_swept() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let staging = server.data_dir().join("objects/staging");
    std::fs::create_dir_all(&staging).unwrap();
    std::fs::write(staging.join("left"), "half a module").unwrap();
    let server = server.restart().await;
    assert_eq!(server.objects(), Vec::<String>::new());
}
