//! A tenant named by path, by header and by token: one alone is enough where it can be, and all that are there agree.

use crate::client::{Answer, Client};
use crate::harness::Server;
use bulkhead_control::Role;
use serde_json::json;

const HEADER: &str = "bulkhead-tenant";

async fn ask(client: &Client, tenant: &str, headers: &[&str]) -> Answer {
    let request = client.request("GET", &format!("/api/v1/tenants/{tenant}/topics"));
    let request = headers.iter().fold(request, |request, value| request.header(HEADER, *value));
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn the_token_alone_is_enough() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    let globex = server.tenant("globex").await;
    acme.post("/api/v1/tenants/-/topics", &json!({"name": "orders"})).await.expect(201);
    for (tenant, headers) in [("-", &[][..]), ("-", &["acme"]), ("acme", &[]), ("acme", &["acme"])] {
        let topics = ask(&acme, tenant, headers).await.expect(200);
        assert_eq!(topics["items"][0]["name"], "orders", "{tenant} {headers:?}");
    }
    let none = ask(&globex, "-", &[]).await.expect(200);
    assert_eq!(none["items"], json!([]), "another tenant's topics were shown");
    let seen = acme.get("/api/v1/tenants/-").await.expect(200);
    assert_eq!(seen["tenant"], "acme");
}

#[tokio::test]
async fn what_disagrees_is_refused_and_tells_nothing_of_the_other() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    server.tenant("globex").await;
    let cases: [(&str, &[&str]); 8] = [
        ("acme", &["OTHER"]),
        ("-", &["OTHER"]),
        ("OTHER", &["acme"]),
        ("acme", &["acme", "OTHER"]),
        ("acme", &["acme", "acme"]),
        ("acme", &["../OTHER"]),
        ("-", &["acme,OTHER"]),
        ("acme", &[""]),
    ];
    for (path, headers) in cases {
        let mut told = Vec::new();
        for other in ["globex", "nobody"] {
            let headers: Vec<_> = headers.iter().map(|value| value.replace("OTHER", other)).collect();
            let headers: Vec<_> = headers.iter().map(String::as_str).collect();
            let mut problem = ask(&acme, &path.replace("OTHER", other), &headers).await.refused(400, "BH0042");
            problem.as_object_mut().unwrap().remove("requestId");
            told.push(problem.to_string().replace(other, "OTHER"));
        }
        assert_eq!(told[0], told[1], "{path} {headers:?}");
    }
    let who = acme.request("GET", "/api/v1/whoami").header(HEADER, "globex").send().await.unwrap();
    Answer::of(who).await.refused(400, "BH0042");
}

#[tokio::test]
async fn disagreement_is_written_down() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    ask(&acme, "acme", &["globex"]).await.refused(400, "BH0042");
    let admin = server.client("acme", Role::TenantAdmin);
    let audit = admin.get("/api/v1/tenants/acme/audit").await.expect(200);
    let row = audit["items"].as_array().unwrap().iter().find(|row| row["action"] == "topics.read").expect("a row");
    assert!(row.to_string().contains("not the same one"), "{row}");
}

#[tokio::test]
async fn the_platforms_own_say_whom_they_mean() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let admin = server.platform();
    let see = async |path: &str, headers: &[&str]| {
        let request = admin.request("GET", &format!("/api/v1/tenants/{path}"));
        let request = headers.iter().fold(request, |request, value| request.header(HEADER, *value));
        Answer::of(request.send().await.unwrap()).await
    };
    assert_eq!(see("-", &["acme"]).await.expect(200)["tenant"], "acme");
    see("-", &[]).await.refused(400, "BH0043");
    see("acme", &["globex"]).await.refused(400, "BH0042");
    see("-", &["nobody"]).await.refused(404, "BH0005");
}

#[tokio::test]
async fn where_to_log_in_is_told_to_anybody() {
    let bare = Server::start().await;
    let told = bare.anybody().get("/api/v1/login").await.expect(200);
    assert_eq!(told, json!({"issuer": null, "clientId": null, "scopes": [], "embeddedIssuer": true}));
    let server = Server::with(|config| {
        let login = bulkhead_control::Login { client_id: "cli".into(), scopes: vec!["openid".into()] };
        let provider = bulkhead_control::OidcConfig::new("https://id.example.com/x", "bulkhead");
        config.oidc = vec![bulkhead_control::OidcConfig { login: Some(login), ..provider }];
        config.embedded_issuer = false;
    });
    let server = server.await;
    let told = server.anybody().get("/api/v1/login").await.expect(200);
    let wanted = json!({"issuer": "https://id.example.com/x", "clientId": "cli", "scopes": ["openid"],
        "embeddedIssuer": false});
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn an_issuer_that_is_off_makes_no_tokens_and_only_this_process_has_one() {
    let server = Server::with(|config| config.embedded_issuer = false).await;
    server.worker().get("/internal/v1/assignment?worker=pool-0").await.expect(200);
    server.platform().get("/api/v1/tenants").await.refused(401, "BH0002");
    server.client("acme", Role::TenantAdmin).get("/api/v1/whoami").await.refused(401, "BH0002");
}
