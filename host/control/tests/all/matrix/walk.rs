//! Every route by every role in every tenant.

use super::paths::{Outcome, ask, outcome, told};
use super::table::{MEMBERS, Row, Who, rows};
use crate::client::Client;
use crate::harness::Server;
use bulkhead_control::Role;

const TENANTS: [&str; 3] = ["acme", "globex", "nobody"];

/// Who asks: a role, and the tenant of the token.
struct Caller {
    role: &'static str,
    tenant: Option<&'static str>,
}

impl Caller {
    /// A client with a token of now: of a tenant that was made again, an older one is no longer good.
    fn client(&self, server: &Server) -> Client {
        match (self.role, self.tenant) {
            ("platform-admin", _) => server.platform(),
            ("worker", tenant) => server.worker_in("pool-0", tenant),
            ("none", Some(tenant)) => server.nobody(tenant, "nobody-in-particular"),
            (role, Some(tenant)) => server.client(tenant, role.parse::<Role>().unwrap()),
            (role, None) => panic!("{role} has a tenant"),
        }
    }

    /// What must come out.
    fn expected(&self, row: &Row, tenant: &str) -> Outcome {
        if matches!(row.who, Who::Everybody | Who::AnyToken) {
            return Outcome::Passed;
        }
        let may = row.lets(self.role);
        if !row.has("tenant") {
            return if may { Outcome::Passed } else { Outcome::Refused };
        }
        if tenant == "nobody" || self.tenant.is_some_and(|own| own != tenant) {
            return Outcome::Hidden;
        }
        let sees = match self.role {
            "worker" => false,
            "none" => !row.has("project"),
            _ => true,
        };
        match (may, sees) {
            (true, _) => Outcome::Passed,
            (false, true) => Outcome::Refused,
            (false, false) => Outcome::Hidden,
        }
    }
}

fn callers() -> Vec<Caller> {
    let members = MEMBERS.map(|role| Caller { role, tenant: Some("acme") });
    let others = [("worker", Some("acme")), ("worker", None), ("platform-admin", None)];
    members.into_iter().chain(others.map(|(role, tenant)| Caller { role, tenant })).collect()
}

#[tokio::test]
async fn every_route_by_every_role_in_every_tenant() {
    let server = Server::start().await;
    server.tenant("acme").await;
    server.tenant("globex").await;
    let mut rows = rows();
    // What deletes a tenant comes when nothing else needs it.
    rows.sort_by_key(|row| row.method == "DELETE" && row.path.ends_with("{tenant}"));
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for caller in callers() {
        for row in &rows {
            let tenants = if row.has("tenant") { &TENANTS[..] } else { &TENANTS[..1] };
            let mut hidden = Vec::new();
            for tenant in tenants {
                let answer = ask(&caller.client(&server), row, tenant, "default").await;
                let (found, expected) = (outcome(&answer, "default"), caller.expected(row, tenant));
                asked += 1;
                if found != expected {
                    let (role, own) = (caller.role, caller.tenant.unwrap_or("no tenant"));
                    let what = format!("{role} of {own}: {} {} in {tenant}", row.method, row.path);
                    wrong.push(format!("{what}: {found:?}, not {expected:?}: {}", answer.text));
                }
                if found == Outcome::Hidden && *tenant != "acme" {
                    hidden.push(told(&answer, &[tenant]));
                }
            }
            hidden.dedup();
            if hidden.len() > 1 {
                wrong.push(format!("{} {}: tells whether a tenant exists: {hidden:#?}", row.method, row.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 1_000, "only {asked} requests: the walk has become a stroll");
    println!("isolation matrix: {asked} requests, {} routes", rows.len());
}

#[tokio::test]
async fn nobody_passes_without_a_token() {
    let server = Server::start().await;
    server.tenant("acme").await;
    for row in rows() {
        for tenant in ["acme", "nobody"] {
            let answer = ask(&server.anybody(), &row, tenant, "default").await;
            if row.who == Who::Everybody {
                assert!(!matches!(answer.status, 401 | 403), "{row:?}: {}", answer.text);
            } else {
                assert_eq!(outcome(&answer, "default"), Outcome::Unknown, "{row:?}: {}", answer.text);
                assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"bulkhead\"", "{row:?}");
            }
        }
    }
}

#[tokio::test]
async fn names_of_tenants_that_are_no_names_are_hidden_like_others() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    for name in ["ACME", "acme%2F..", "..%2Facme", "acme%00", "%F0%9F%92%A5", "acme%20", "%61cme.", &"a".repeat(300)] {
        acme.get(&format!("/api/v1/tenants/{name}/topics")).await.refused(404, "BH0005");
    }
    // The same name, written in another way, is the same tenant.
    acme.get("/api/v1/tenants/%61cme/topics").await.expect(200);
}

#[test]
fn public_routes_are_known_and_few() {
    let public: Vec<_> = rows().into_iter().filter(|row| row.who == Who::Everybody).map(|row| row.path).collect();
    let known = [
        "/livez",
        "/readyz",
        "/.well-known/jwks.json",
        "/api/v1/errors/{code}",
        "/api/v1/openapi.json",
        "/api/v1/docs",
        "/api/v1/login",
    ];
    assert_eq!(public, known);
}
