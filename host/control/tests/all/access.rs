//! Roles that are bound, roles of one's own, and why something is allowed.

use crate::client::Client;
use crate::harness::Server;
use bulkhead_control::Role;
use serde_json::{Value, json};

const ACCESS: &str = "/api/v1/tenants/acme/access";
const SHOP: &str = "/api/v1/tenants/acme/projects/shop";

async fn with_projects(server: &Server) -> Client {
    let dev = server.tenant("acme").await;
    for project in ["shop", "shop.eu"] {
        dev.post("/api/v1/tenants/acme/projects", &json!({"name": project})).await.expect(201);
    }
    server.client("acme", Role::TenantAdmin)
}

fn put(actions: &[&str]) -> String {
    json!({"actions": actions}).to_string()
}

#[tokio::test]
async fn a_role_counts_from_when_it_is_given_to_when_it_is_taken_back() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    let ann = server.nobody("acme", "ann");
    ann.get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
    let made = admin.put(&format!("{ACCESS}/bindings/user:ann/viewer"), "").await.expect(201);
    assert_eq!(made, json!({"subject": "user:ann", "role": "viewer", "project": null}));
    admin.put(&format!("{ACCESS}/bindings/user:ann/viewer"), "").await.expect(200);
    ann.get("/api/v1/tenants/acme/topics").await.expect(200);
    ann.get(SHOP).await.expect(200);
    server.nobody("acme", "ann2").get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
    // The same subject of another tenant is somebody else.
    server.tenant("globex").await;
    server.nobody("globex", "ann").get("/api/v1/tenants/globex/topics").await.refused(403, "BH0004");
    admin.delete(&format!("{ACCESS}/bindings/user:ann/viewer")).await.expect(204);
    admin.delete(&format!("{ACCESS}/bindings/user:ann/viewer")).await.refused(404, "BH0005");
    ann.get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
}

#[tokio::test]
async fn bindings_are_listed_page_by_page_and_by_project() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    for at in [ACCESS, &format!("{SHOP}/access"), "/api/v1/tenants/acme/projects/shop.eu/access"] {
        admin.put(&format!("{at}/bindings/group:ops/operator"), "").await.expect(201);
    }
    admin.put(&format!("{ACCESS}/bindings/user:a%2Fb%20c/viewer"), "").await.expect(201);
    let list = async |path: &str| {
        let page = admin.get(path).await.expect(200);
        let item = |item: &Value| format!("{} {} {}", item["subject"], item["role"], item["project"]).replace('"', "");
        let items: Vec<_> = page["items"].as_array().unwrap().iter().map(item).collect();
        (items, page["next"].as_str().map(str::to_owned))
    };
    let all = list(&format!("{ACCESS}/bindings")).await.0;
    let ops = ["group:ops operator null", "group:ops operator shop", "group:ops operator shop.eu"];
    assert_eq!(all, [&ops[..], &["user:a/b c viewer null"]].concat());
    let (first, next) = list(&format!("{ACCESS}/bindings?limit=2")).await;
    assert_eq!(first, ops[..2]);
    let next = next.unwrap().replace(' ', "%20");
    assert_eq!(list(&format!("{ACCESS}/bindings?limit=2&after={next}")).await.0, all[2..]);
    assert_eq!(list(&format!("{SHOP}/access/bindings")).await.0, ["group:ops operator shop"]);
    let one = admin.get(&format!("{SHOP}/access/bindings")).await.expect(200);
    assert_eq!(one["items"][0]["grantedBy"], "tenant-admin@acme");
}

#[tokio::test]
async fn what_is_no_subject_no_role_and_no_project_is_refused() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    for subject in ["ann", "robot:ann", "user:", "user:a%0Ab", &format!("user:{}", "a".repeat(201))] {
        admin.put(&format!("{ACCESS}/bindings/{subject}/viewer"), "").await.refused(400, "BH0007");
    }
    for role in ["platform-admin", "worker", "night-shift", "any-role", "member"] {
        admin.put(&format!("{ACCESS}/bindings/user:ann/{role}"), "").await.refused(422, "BH0051");
    }
    let ghost = "/api/v1/tenants/acme/projects/ghost/access/bindings/user:ann/viewer";
    admin.put(ghost, "").await.refused(404, "BH0005");
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    // Ann may do everything in `shop`, and Bob may give what he may do: pause.
    admin.put(&format!("{SHOP}/access/bindings/user:ann/tenant-admin"), "").await.expect(201);
    admin.put(&format!("{ACCESS}/roles/giver"), put(&["access.grant", "pipelines.pause"])).await.expect(201);
    admin.put(&format!("{ACCESS}/roles/pauser"), put(&["pipelines.pause"])).await.expect(201);
    admin.put(&format!("{SHOP}/access/bindings/user:bob/giver"), "").await.expect(201);
    let (ann, bob) = (server.nobody("acme", "ann"), server.nobody("acme", "bob"));
    ann.put(&format!("{SHOP}/access/bindings/user:carl/developer"), "").await.expect(201);
    ann.put("/api/v1/tenants/acme/projects/shop.eu/access/bindings/user:carl/developer", "").await.expect(201);
    ann.put(&format!("{ACCESS}/bindings/user:ann/viewer"), "").await.refused(403, "BH0004");
    ann.put("/api/v1/tenants/acme/projects/default/access/bindings/user:ann/viewer", "").await.refused(404, "BH0005");
    bob.put(&format!("{SHOP}/access/bindings/user:carl/pauser"), "").await.expect(201);
    for role in ["viewer", "tenant-admin"] {
        let problem = bob.put(&format!("{SHOP}/access/bindings/user:bob/{role}"), "").await.refused(403, "BH0050");
        assert!(problem["detail"].as_str().unwrap().contains("`pipelines.read`"), "{problem}");
    }
    // Nor by way of a role that one may define, or of a token.
    admin.put(&format!("{ACCESS}/roles/definer"), put(&["access.define", "topics.read"])).await.expect(201);
    admin.put(&format!("{ACCESS}/bindings/user:dora/definer"), "").await.expect(201);
    let dora = server.nobody("acme", "dora");
    dora.put(&format!("{ACCESS}/roles/definer"), put(&["access.define", "records.read"])).await.refused(403, "BH0050");
    dora.put(&format!("{ACCESS}/roles/definer"), put(&["access.define", "topics.read"])).await.expect(200);
    let token = json!({"subject": "x", "role": "viewer"});
    ann.post("/api/v1/tenants/acme/tokens", &token).await.refused(403, "BH0004");
}

#[tokio::test]
async fn a_role_of_ones_own_may_what_its_actions_say_until_it_is_changed() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    let role = format!("{ACCESS}/roles/night-shift");
    let made = admin.put(&role, put(&["topics.read"])).await.expect(201);
    assert_eq!((&made["shipped"], &made["actions"]), (&json!(false), &json!(["topics.read"])));
    admin.put(&format!("{ACCESS}/bindings/user:ann/night-shift"), "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    ann.get("/api/v1/tenants/acme/topics").await.expect(200);
    ann.get(&format!("{SHOP}/pipelines")).await.refused(403, "BH0004");
    admin.put(&role, put(&["pipelines.read"])).await.expect(200);
    ann.get("/api/v1/tenants/acme/topics").await.refused(403, "BH0004");
    ann.get(&format!("{SHOP}/pipelines")).await.expect(200);
    admin.delete(&role).await.refused(409, "BH0052");
    admin.delete(&format!("{ACCESS}/bindings/user:ann/night-shift")).await.expect(204);
    admin.delete(&role).await.expect(204);
    admin.delete(&role).await.refused(404, "BH0005");
    for (name, actions) in [
        ("viewer", &["topics.read"][..]),
        ("member", &["topics.read"]),
        ("x", &[]),
        ("x", &["tokens.mint"]),
        ("x", &["tenants.delete"]),
        ("x", &["workers.module"]),
        ("x", &["no.such"]),
    ] {
        admin.put(&format!("{ACCESS}/roles/{name}"), put(actions)).await.refused(422, "BH0053");
    }
    let roles = admin.get(&format!("{ACCESS}/roles")).await.expect(200);
    let names: Vec<_> = roles["items"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["auditor", "viewer", "operator", "developer", "tenant-admin"]);
}

#[tokio::test]
async fn a_binding_goes_with_its_project_and_its_tenant() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    let eu = "/api/v1/tenants/acme/projects/shop.eu";
    admin.put(&format!("{eu}/access/bindings/user:ann/viewer"), "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    ann.get(eu).await.expect(200);
    admin.delete(eu).await.expect(204);
    admin.post("/api/v1/tenants/acme/projects", &json!({"name": "shop.eu"})).await.expect(201);
    ann.get(eu).await.refused(404, "BH0005");
    assert_eq!(admin.get(&format!("{ACCESS}/bindings")).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn an_explanation_names_the_role_the_policy_and_what_would_do() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    admin.put(&format!("{SHOP}/access/bindings/user:ann/operator"), "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    let told = ann.get(&format!("{ACCESS}/explain?action=pipelines.pause&project=shop.eu")).await.expect(200);
    let held = json!({"role": "operator", "on": "project shop", "by": "binding of user:ann"});
    assert_eq!(told["because"], json!([{"policy": "operator", "holding": held}]));
    assert_eq!(
        (&told["allowed"], &told["refusedWith"], &told["on"]),
        (&json!(true), &json!(null), &json!("project shop.eu"))
    );
    let told = ann.get(&format!("{ACCESS}/explain?action=pipelines.apply&project=shop")).await.expect(200);
    assert_eq!((&told["allowed"], &told["refusedWith"]), (&json!(false), &json!(403)));
    assert_eq!((&told["rolesThatAllow"], &told["roles"]), (&json!(["developer", "tenant-admin"]), &json!([held])));
    let told = ann.get(&format!("{ACCESS}/explain?action=pipelines.read&project=default")).await.expect(200);
    assert_eq!(told["refusedWith"], 404, "what they would be answered");
    ann.get(&format!("{ACCESS}/explain?action=topics.read&subject=user:bob")).await.refused(403, "BH0004");
    ann.get(&format!("{ACCESS}/explain?action=no.such")).await.refused(422, "BH0053");
    // The auditor asks for others, and by the token's own role.
    let auditor = server.client("acme", Role::Auditor);
    let told = auditor.get(&format!("{ACCESS}/explain?action=pipelines.pause&project=shop&subject=user:ann")).await;
    assert_eq!(told.expect(200)["allowed"], true);
    let told = auditor.get(&format!("{ACCESS}/explain?action=audit.read")).await.expect(200);
    assert_eq!(told["because"][0]["holding"]["by"], "token");
}

#[tokio::test]
async fn a_role_that_is_taken_back_ends_the_streams_that_it_opened() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    admin.post("/api/v1/tenants/acme/topics", &json!({"name": "t"})).await.expect(201);
    admin.put(&format!("{ACCESS}/bindings/user:ann/viewer"), "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    let request = ann.request("GET", "/api/v1/tenants/acme/topics/t/records").header("accept", "text/event-stream");
    let stream = request.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    admin.delete(&format!("{ACCESS}/bindings/user:ann/viewer")).await.expect(204);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), stream.bytes()).await;
    ended.expect("the stream goes on without the role").unwrap();
}

#[tokio::test]
async fn a_token_for_a_subject_alone_is_worth_its_bindings() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    let made = admin.post("/api/v1/tenants/acme/tokens", &json!({"subject": "ci"})).await.expect(201);
    let ci = server.with_token(made["token"].as_str().unwrap());
    assert_eq!(ci.get("/api/v1/whoami").await.expect(200)["roles"], json!([]));
    ci.get(SHOP).await.refused(404, "BH0005");
    admin.put(&format!("{SHOP}/access/bindings/user:ci/developer"), "").await.expect(201);
    ci.get(SHOP).await.expect(200);
}

#[tokio::test]
async fn the_audit_says_by_which_role_and_policy() {
    let server = Server::start().await;
    let admin = with_projects(&server).await;
    admin.put(&format!("{SHOP}/access/bindings/user:ann/viewer"), "").await.expect(201);
    let ann = server.nobody("acme", "ann");
    ann.get(SHOP).await.expect(200);
    let audit = server.client("acme", Role::Auditor).get("/api/v1/tenants/acme/audit").await.expect(200);
    let of = |action: &str| {
        let items = audit["items"].as_array().unwrap();
        items
            .iter()
            .find(|row| row["kind"] == "decision" && row["action"] == action)
            .unwrap_or_else(|| panic!("{action}: {audit}"))
            .clone()
    };
    assert_eq!(of("projects.read")["policies"], json!(["viewer on project shop by binding of user:ann"]));
    assert_eq!(of("access.grant")["policies"], json!(["tenant-admin on tenant acme by token"]));
}
