//! The life of a tenant.

use crate::harness::{Server, component};
use bulkhead_control::Role;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn tenants_are_made_listed_and_shown() {
    let server = Server::start().await;
    let platform = server.platform();
    for name in ["globex", "acme", "initech"] {
        let made = platform.post("/api/v1/tenants", &json!({"name": name})).await.expect(201);
        assert_eq!(made["projects"], json!(["default"]));
    }
    platform.post("/api/v1/tenants", &json!({"name": "acme"})).await.refused(409, "BH0010");
    platform.post("/api/v1/tenants", &json!({"name": "Acme"})).await.refused(400, "BH0007");
    platform.post("/api/v1/tenants", &json!({"name": "x", "colour": "red"})).await.refused(400, "BH0007");
    let first = platform.get("/api/v1/tenants?limit=2").await.expect(200);
    assert_eq!((&first["items"][0]["tenant"], &first["next"]), (&json!("acme"), &json!("globex")));
    let second = platform.get("/api/v1/tenants?limit=2&after=globex").await.expect(200);
    assert_eq!((&second["items"][0]["tenant"], &second["next"]), (&json!("initech"), &json!(null)));
    platform.get("/api/v1/tenants?limit=0").await.refused(400, "BH0007");
    server.client("acme", Role::Viewer).get("/api/v1/tenants/acme").await.expect(200);
    platform.get("/api/v1/tenants/nobody").await.refused(404, "BH0005");
}

#[tokio::test]
async fn deleting_a_tenant_leaves_nothing_of_it_and_all_of_its_neighbour() {
    let server = Server::start().await;
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    // One's name is the beginning of the other's.
    for tenant in ["acme", "acme-2"] {
        let client = server.tenant(tenant).await;
        let at = format!("/api/v1/tenants/{tenant}");
        for topic in ["in", "out", "dead"] {
            client.post(&format!("{at}/topics"), &json!({"name": topic})).await.expect(201);
        }
        client.put(&format!("{at}/projects/default/modules/m"), component(tenant)).await.expect(201);
        client.put(&format!("{at}/projects/default/pipelines/p"), crate::pipelines::MANIFEST).await.expect(201);
    }
    server.ports.topics.set_many();
    server.ports.topics.set_members("acme/default/p", true);
    server.platform().delete("/api/v1/tenants/acme").await.expect(202);
    server.platform().get("/api/v1/tenants/acme").await.refused(404, "BH0005");
    let assignment = server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    assert_eq!(assignment["pipelines"].as_array().unwrap().len(), 1, "a worker would go on running it");
    let again = json!({"name": "acme"});
    server.platform().post("/api/v1/tenants", &again).await.refused(409, "BH0010");
    assert_eq!(server.ports.topics.names_of("acme").len(), 3, "topics went before their readers had left");

    server.ports.topics.set_members("acme/default/p", false);
    server
        .until("the name is free", async || server.platform().post("/api/v1/tenants", &again).await.status == 201)
        .await;
    assert_eq!(server.ports.topics.names_of("acme"), Vec::<String>::new());
    assert_eq!(server.ports.topics.names_of("acme-2").len(), 3);
    let hidden = server.ports.topics.cleared();
    // More than twice where a later step had to be tried again.
    let times = hidden.iter().filter(|cleared| *cleared == "hidden of acme").count();
    assert!(times >= 2, "until nothing is left: {hidden:?}");
    assert!(hidden.iter().any(|cleared| cleared.starts_with("outputs of acme/default/p ")), "{hidden:?}");
    assert!(!hidden.iter().any(|cleared| cleared.contains("acme-2")), "{hidden:?}");
    let objects = server.objects();
    assert!(objects.len() == 1 && objects[0].contains("/acme-2/"), "{objects:?}");
    let modules =
        server.client("acme", Role::Viewer).get("/api/v1/tenants/acme/projects/default/modules").await.expect(200);
    assert_eq!(modules["items"], json!([]));
    server.control.stop();
    background.await.unwrap();
}

#[tokio::test]
async fn a_slow_upload_to_a_deleted_tenant_does_not_end_up_in_the_next_of_that_name() {
    let server = Server::start().await;
    let control = Arc::clone(&server.control);
    let background = tokio::spawn(async move { control.run().await });
    let old = server.tenant("acme").await;
    server.ports.modules.gate.forget_permits(1_000);
    let slow =
        tokio::spawn(async move { old.put("/api/v1/tenants/acme/projects/default/modules/m", component("old")).await });
    server.until("it is inspected", async || server.ports.modules.asked.load(Ordering::SeqCst) == 1).await;
    server.platform().delete("/api/v1/tenants/acme").await.expect(202);
    let again = json!({"name": "acme"});
    server.platform().post("/api/v1/tenants", &again).await.refused(409, "BH0010");
    server.ports.modules.gate.add_permits(1_000);
    slow.await.unwrap().refused(404, "BH0005");
    server
        .until("the name is free", async || server.platform().post("/api/v1/tenants", &again).await.status == 201)
        .await;
    let modules =
        server.client("acme", Role::Viewer).get("/api/v1/tenants/acme/projects/default/modules").await.expect(200);
    assert_eq!(modules["items"], json!([]));
    assert_eq!(server.objects(), Vec::<String>::new());
    server.control.stop();
    background.await.unwrap();
}
