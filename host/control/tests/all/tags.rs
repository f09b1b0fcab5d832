//! Tags are moved by hand, and change nothing that runs.

use crate::harness::{Server, component};
use crate::pipelines::{MANIFEST, ready};
use serde_json::json;

const PROJECT: &str = "/api/v1/tenants/acme/projects/default";

#[tokio::test]
async fn a_tag_is_listed_moved_and_taken_away_and_the_module_stays() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let at = format!("{PROJECT}/modules/m/tags");
    let first = dev.get(&format!("{at}/latest")).await.expect(200)["digest"].clone();
    let second = dev.put(&format!("{PROJECT}/modules/m?tag=v2"), component("2")).await.expect(201)["digest"].clone();
    let list = dev.get(&format!("{at}?limit=1")).await.expect(200);
    assert_eq!((&list["items"][0]["tag"], &list["next"]), (&json!("latest"), &json!("latest")));
    assert_eq!(dev.get(&format!("{at}?after=latest")).await.expect(200)["items"][0]["digest"], second);
    assert_eq!(dev.put(&format!("{at}/stable"), json!({"digest": first}).to_string()).await.expect(201)["name"], "m");
    let moved = dev.put(&format!("{at}/stable"), json!({"digest": second}).to_string()).await.expect(200);
    assert_eq!(moved["digest"], second);
    dev.delete(&format!("{at}/v2")).await.expect(204);
    dev.delete(&format!("{at}/v2")).await.refused(404, "BH0005");
    dev.delete(&format!("{at}/stable")).await.expect(204);
    dev.get(&format!("{PROJECT}/modules/{}", second.as_str().unwrap())).await.expect(200);
}

#[tokio::test]
async fn a_tag_points_only_at_what_the_project_has() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let stranger = json!({"digest": format!("sha256:{}", "0".repeat(64))}).to_string();
    dev.put(&format!("{PROJECT}/modules/m/tags/v1"), stranger).await.refused(404, "BH0005");
    dev.put(&format!("{PROJECT}/modules/m/tags/v1"), json!({"digest": "x"}).to_string()).await.refused(400, "BH0007");
    dev.put(&format!("{PROJECT}/modules/m/tags/V1"), "{}").await.refused(400, "BH0007");
}

#[tokio::test]
async fn moving_a_tag_changes_nothing_that_runs_until_it_is_applied() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let pipeline = format!("{PROJECT}/pipelines/p");
    let made = dev.put(&pipeline, MANIFEST).await.expect(201);
    let other = dev.put(&format!("{PROJECT}/modules/other"), component("2")).await.expect(201)["digest"].clone();
    dev.put(&format!("{PROJECT}/modules/m/tags/latest"), json!({"digest": other}).to_string()).await.expect(200);
    assert_eq!(dev.get(&pipeline).await.expect(200)["modules"], made["modules"]);
    assert_eq!(dev.put(&pipeline, MANIFEST).await.expect(200)["modules"]["last"], other);
}

#[tokio::test]
async fn a_module_that_runs_stays_and_the_refusal_names_the_pipeline() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    let made = dev.put(&format!("{PROJECT}/pipelines/p"), MANIFEST).await.expect(201);
    let module = format!("{PROJECT}/modules/{}", made["modules"]["first"].as_str().unwrap());
    dev.delete(&format!("{PROJECT}/modules/m/tags/latest")).await.expect(204);
    let problem = dev.delete(&module).await.refused(409, "BH0110");
    assert!(problem["detail"].as_str().unwrap().contains("`p`"), "{problem}");
    dev.delete(&format!("{PROJECT}/pipelines/p")).await.expect(204);
    dev.delete(&module).await.expect(204);
    assert_eq!(server.objects(), [""; 0], "nobody else has these bytes");
}
