//! Every route of a project by every role, where the role is bound to one project: there and in what lies in it, and nowhere else.

use super::paths::{Outcome, ask, outcome, told};
use super::table::{MEMBERS, rows};
use crate::harness::Server;
use bulkhead_control::Role;
use serde_json::json;

/// `shop` has the binding, and `shop.eu` lies in it. `ghost` is not there.
const PROJECTS: [&str; 5] = ["shop", "shop.eu", "default", "shopping", "ghost"];

#[tokio::test]
async fn a_role_on_a_project_counts_there_and_below_and_nowhere_else() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for project in ["shop", "shop.eu", "shopping"] {
        dev.post("/api/v1/tenants/acme/projects", &json!({"name": project})).await.expect(201);
    }
    let admin = server.client("acme", Role::TenantAdmin);
    let roles = MEMBERS.iter().filter(|role| **role != "none");
    for role in roles.clone() {
        let path = format!("/api/v1/tenants/acme/projects/shop/access/bindings/user:{role}/{role}");
        admin.put(&path, "").await.expect(201);
    }
    let (mut wrong, mut asked) = (Vec::new(), 0);
    let rows: Vec<_> = rows().into_iter().filter(|row| row.has("project")).collect();
    for role in roles {
        let client = server.nobody("acme", role);
        for row in &rows {
            let mut hidden = Vec::new();
            for project in PROJECTS {
                let answer = ask(&client, row, "acme", project).await;
                let found = outcome(&answer, project);
                let expected = match (project.starts_with("shop") && project != "shopping", row.lets(role)) {
                    (true, true) => Outcome::Passed,
                    (true, false) => Outcome::Refused,
                    (false, _) => Outcome::Hidden,
                };
                asked += 1;
                if found != expected {
                    let what = format!("{role} on shop: {} {} in {project}", row.method, row.path);
                    wrong.push(format!("{what}: {found:?}, not {expected:?}: {}", answer.text));
                }
                if found == Outcome::Hidden {
                    hidden.push(told(&answer, &[project]));
                }
            }
            if row.method == "DELETE" && row.path.ends_with("{project}") {
                // While `shop.eu` is there, `shop` is not empty and stays, with its bindings.
                dev.post("/api/v1/tenants/acme/projects", &json!({"name": "shop.eu"})).await;
            }
            hidden.dedup();
            if hidden.len() > 1 {
                wrong.push(format!("{} {}: tells whether a project exists: {hidden:#?}", row.method, row.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 500, "only {asked} requests: the walk has become a stroll");
}

#[tokio::test]
async fn lists_show_the_projects_on_which_one_may_read() {
    let server = Server::start().await;
    let dev = server.tenant("acme").await;
    for project in ["shop", "shop.eu", "vault"] {
        dev.post("/api/v1/tenants/acme/projects", &json!({"name": project})).await.expect(201);
    }
    let admin = server.client("acme", Role::TenantAdmin);
    admin.put("/api/v1/tenants/acme/projects/shop/access/bindings/user:ann/viewer", "").await.expect(201);
    admin.put("/api/v1/tenants/acme/projects/vault/access/bindings/user:ann/auditor", "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    let names = async |path: &str| {
        let page = ann.get(path).await.expect(200);
        let items = page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
        (items.collect::<Vec<_>>(), page["next"].clone())
    };
    let at = "/api/v1/tenants/acme/projects";
    assert_eq!(names(at).await, (vec!["shop".to_owned(), "shop.eu".to_owned()], json!(null)));
    assert_eq!(names(&format!("{at}?limit=1")).await, (vec!["shop".to_owned()], json!("shop")));
    assert_eq!(ann.get("/api/v1/tenants/acme").await.expect(200)["projects"], json!(["shop", "shop.eu"]));
    let nobody = server.nobody("acme", "bob").get("/api/v1/tenants/acme").await.expect(200);
    assert_eq!(nobody["projects"], json!([]));
}
