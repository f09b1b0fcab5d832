//! Projects nest, and go only when they are empty.

use crate::harness::{Server, component};
use crate::pipelines::{MANIFEST, ready};
use serde_json::{Value, json};

const PROJECTS: &str = "/api/v1/tenants/acme/projects";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_project_lies_in_one_that_is_there() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    let problem = dev.post(PROJECTS, &json!({"name": "shop.eu"})).await.refused(422, "BH0016");
    assert!(problem["detail"].as_str().unwrap().contains("`shop`"), "{problem}");
    let shop = dev.post(PROJECTS, &json!({"name": "shop", "description": "what is sold"})).await.expect(201);
    assert_eq!((&shop["name"], &shop["description"]), (&json!("shop"), &json!("what is sold")));
    dev.post(PROJECTS, &json!({"name": "shop.eu"})).await.expect(201);
    dev.post(PROJECTS, &json!({"name": "shop.eu"})).await.refused(409, "BH0010");
    assert_eq!(names(&dev.get(PROJECTS).await.expect(200)), ["default", "shop", "shop.eu"]);
    assert_eq!(dev.get(&format!("{PROJECTS}/shop.eu")).await.expect(200)["name"], "shop.eu");
    dev.get(&format!("{PROJECTS}/shop.us")).await.refused(404, "BH0005");
    for bad in ["shop..eu", "Shop", ".shop", "shop.", "a/b", &"a".repeat(64)] {
        dev.post(PROJECTS, &json!({"name": bad})).await.refused(400, "BH0007");
    }
    dev.post(PROJECTS, &json!({"name": "long", "description": "x".repeat(501)})).await.refused(400, "BH0007");
}

#[tokio::test]
async fn pages_of_projects_follow_each_other() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for name in ["b", "b.a", "c"] {
        dev.post(PROJECTS, &json!({"name": name})).await.expect(201);
    }
    let first = dev.get(&format!("{PROJECTS}?limit=2")).await.expect(200);
    assert_eq!((names(&first), &first["next"]), (vec!["b", "b.a"], &json!("b.a")));
    let second = dev.get(&format!("{PROJECTS}?limit=2&after=b.a")).await.expect(200);
    assert_eq!(names(&second), ["c", "default"]);
}

#[tokio::test]
async fn a_project_goes_when_it_is_empty_and_default_never() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    for name in ["shop", "shop.eu", "shop-us", "shopping"] {
        dev.post(PROJECTS, &json!({"name": name})).await.expect(201);
    }
    dev.delete(&format!("{PROJECTS}/default")).await.refused(409, "BH0018");
    let problem = dev.delete(&format!("{PROJECTS}/shop")).await.refused(409, "BH0017");
    assert!(problem["detail"].as_str().unwrap().contains("1 projects"), "only what lies in it counts: {problem}");

    let eu = format!("{PROJECTS}/shop.eu");
    dev.put(&format!("{eu}/modules/m"), component("1")).await.expect(201);
    dev.put(&format!("{eu}/pipelines/p"), MANIFEST).await.expect(201);
    dev.delete(&eu).await.refused(409, "BH0017");
    dev.delete(&format!("{eu}/pipelines/p")).await.expect(204);
    dev.delete(&eu).await.refused(409, "BH0017");
    dev.delete(&format!("{eu}/modules/m")).await.expect(204);
    dev.delete(&eu).await.expect(204);
    dev.delete(&eu).await.refused(404, "BH0005");
    dev.delete(&format!("{PROJECTS}/shop")).await.expect(204);
}

#[tokio::test]
async fn a_tenants_projects_are_bounded() {
    let server = Server::with(|config| config.quotas.projects = 2).await;
    let dev = server.tenant("acme").await;
    dev.post(PROJECTS, &json!({"name": "a"})).await.expect(201);
    dev.post(PROJECTS, &json!({"name": "b"})).await.refused(422, "BH0085");
}

#[tokio::test]
async fn pipelines_of_a_name_in_two_projects_are_two() {
    let server = Server::start().await;
    let dev = ready(&server, "acme").await;
    dev.post(PROJECTS, &json!({"name": "shop"})).await.expect(201);
    dev.put(&format!("{PROJECTS}/shop/modules/m"), component("1")).await.expect(201);
    dev.put(&format!("{PROJECTS}/default/pipelines/p"), MANIFEST).await.expect(201);
    dev.put(&format!("{PROJECTS}/shop/pipelines/p"), MANIFEST).await.expect(201);
    dev.delete(&format!("{PROJECTS}/shop/pipelines/p")).await.expect(204);
    assert_eq!(server.ports.topics.forgotten(), ["acme/shop/p"]);
    dev.get(&format!("{PROJECTS}/default/pipelines/p")).await.expect(200);
}
