//! Every route against everybody who must not use it. The routes come from the table that the router is made of, so one
//! cannot be added without passing here.

use crate::client::{Answer, Client};
use crate::harness::Server;
use bulkhead_control::{Access, Role, RouteInfo, routes};

fn path_of(route: &RouteInfo, tenant: &str) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    let fill = [
        ("{tenant}", tenant),
        ("{project}", "default"),
        ("{module}", "m"),
        ("{tag}", "v1"),
        ("{pipeline}", "p"),
        ("{revision}", "1"),
        ("{topic}", "t"),
        ("{letter}", "0-0"),
        ("{name}", "e"),
        ("{code}", "BH0001"),
        ("{digest}", &digest),
    ];
    let path = fill.iter().fold(route.path.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "say what to fill in for {path}");
    path
}

async fn ask(client: &Client, route: &RouteInfo, tenant: &str) -> Answer {
    Answer::of(client.request(route.method, &path_of(route, tenant)).send().await.unwrap()).await
}

/// What is left of a refusal when the tenant that it was asked about is taken out.
fn told(answer: &Answer, tenant: &str) -> String {
    let mut problem = answer.json();
    problem.as_object_mut().unwrap().remove("requestId");
    problem.to_string().replace(tenant, "TENANT")
}

#[tokio::test]
async fn nobody_passes_without_a_token() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for route in routes().iter().filter(|route| route.access != Access::Public) {
        for tenant in ["acme", "nobody"] {
            let answer = ask(&server.anybody(), route, tenant).await;
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"bulkhead\"", "{route:?}");
            answer.refused(401, "BH0001");
        }
    }
}

#[tokio::test]
async fn public_routes_are_known_and_few() {
    let server = Server::start().await;
    let public: Vec<_> = routes().into_iter().filter(|route| route.access == Access::Public).collect();
    let paths: Vec<_> = public.iter().map(|route| route.path).collect();
    assert_eq!(
        paths,
        [
            "/livez",
            "/readyz",
            "/.well-known/jwks.json",
            "/api/v1/errors/{code}",
            "/api/v1/openapi.json",
            "/api/v1/docs",
            "/api/v1/login"
        ]
    );
    for route in &public {
        assert_eq!(ask(&server.anybody(), route, "acme").await.status, 200, "{route:?}");
    }
}

#[tokio::test]
async fn another_tenants_token_gets_the_same_refusal_whether_or_not_the_tenant_exists() {
    let server = Server::start().await;
    server.tenant("acme").await;
    server.tenant("globex").await;
    let all_roles = [Role::Viewer, Role::Developer, Role::TenantAdmin];
    for route in routes().iter().filter(|route| route.path.contains("{tenant}")) {
        for role in all_roles {
            let globex = server.client("globex", role);
            let existing = ask(&globex, route, "acme").await;
            let missing = ask(&globex, route, "nobody").await;
            assert_eq!(told(&existing, "acme"), told(&missing, "nobody"), "{route:?}");
            existing.refused(403, "BH0004");
        }
    }
}

#[tokio::test]
async fn weaker_roles_do_not_pass() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let mut refused = 0;
    for route in routes() {
        let needed = match route.access {
            Access::Tenant(role) | Access::TenantOrPlatform(role) => Some(role),
            Access::Platform | Access::Worker => None,
            Access::Public | Access::AnyToken => continue,
        };
        for role in [Role::Viewer, Role::Developer, Role::TenantAdmin] {
            let answer = ask(&server.client("acme", role), &route, "acme").await;
            if needed.is_some_and(|needed| role.includes(needed)) {
                assert!(!matches!(answer.status, 401 | 403 | 405), "{role} on {route:?}: {}", answer.text);
            } else {
                answer.refused(403, "BH0004");
                refused += 1;
            }
        }
        // A delete in between may have taken what the next row needs.
        if route.method == "DELETE" {
            server.platform().post("/api/v1/tenants", &serde_json::json!({"name": "acme"})).await;
        }
    }
    assert!(refused > 20, "only {refused} refusals: the walk has become a stroll");
}

#[tokio::test]
async fn a_platform_admin_reads_no_tenants_data_and_a_worker_only_what_it_runs() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for route in routes() {
        let (platform, worker) = match route.access {
            Access::Public => continue,
            Access::AnyToken => (true, true),
            // Deleting is left to its own test.
            Access::Platform if route.method == "DELETE" => continue,
            Access::Platform | Access::TenantOrPlatform(_) => (true, false),
            Access::Worker => (false, true),
            Access::Tenant(_) => (false, false),
        };
        for (client, passes) in [(server.platform(), platform), (server.worker(), worker)] {
            let answer = ask(&client, &route, "acme").await;
            if passes {
                assert!(!matches!(answer.status, 401 | 403 | 405), "{route:?}: {}", answer.text);
            } else {
                answer.refused(403, "BH0004");
            }
        }
    }
}

#[tokio::test]
async fn names_of_tenants_that_are_no_names_are_refused_like_others() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    for name in ["ACME", "acme%2F..", "..%2Facme", "acme%00", "%F0%9F%92%A5", "acme%20"] {
        let answer = acme.get(&format!("/api/v1/tenants/{name}/topics")).await;
        answer.refused(403, "BH0004");
    }
}
