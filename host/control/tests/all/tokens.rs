//! Tokens over HTTP. Each wrong claim is tried in the unit tests; here, that the edge turns them into what clients see.

use crate::harness::Server;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_control::{Grant, Role};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/tenants/acme/topics";

struct Attack {
    what: &'static str,
    token: String,
    code: &'static str,
}

fn attacks(server: &Server) -> Vec<Attack> {
    let now = jsonwebtoken::get_current_timestamp();
    let set = serde_json::to_value(server.control.issuer().key_set()).unwrap();
    let (kid, x) = (set["keys"][0]["kid"].as_str().unwrap(), set["keys"][0]["x"].as_str().unwrap());
    let key = EncodingKey::from_ed_pem(&std::fs::read(server.data_dir().join("keys/issuer.pem")).unwrap()).unwrap();
    let claims = |changes: Value| {
        let mut claims = json!({"iss": "bulkhead", "aud": "bulkhead", "sub": "eve", "iat": now, "exp": now + 60,
            "jti": "1", "tenant": "acme", "roles": ["tenant-admin"]});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let sign = |algorithm, key: &EncodingKey, claims: &Value| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, key).unwrap()
    };
    let ours = |changes| sign(Algorithm::EdDSA, &key, &claims(changes));
    let head = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": kid}).to_string());
    let none = format!("{head}.{}.", URL_SAFE_NO_PAD.encode(claims(json!({})).to_string()));
    let hs256 = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(x).unwrap());
    let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    der.extend([7; 32]);
    let stranger = EncodingKey::from_ed_der(&der);
    vec![
        Attack { what: "none", token: none, code: "BH0002" },
        Attack { what: "HS256", token: sign(Algorithm::HS256, &hs256, &claims(json!({}))), code: "BH0002" },
        Attack { what: "stranger", token: sign(Algorithm::EdDSA, &stranger, &claims(json!({}))), code: "BH0002" },
        Attack { what: "expired", token: ours(json!({"iat": now - 120, "exp": now - 60})), code: "BH0003" },
        Attack { what: "audience", token: ours(json!({"aud": "elsewhere"})), code: "BH0002" },
        Attack { what: "issuer", token: ours(json!({"iss": "elsewhere"})), code: "BH0002" },
        Attack { what: "no expiry", token: ours(json!({"exp": null})), code: "BH0002" },
        Attack { what: "garbage", token: "a.b.c".to_owned(), code: "BH0002" },
    ]
}

#[tokio::test]
async fn forged_and_spoilt_tokens_get_a_401_that_names_the_scheme() {
    let server = Server::start().await;
    server.tenant("acme").await.get(PATH).await.expect(200);
    for Attack { what, token, code } in attacks(&server) {
        let answer = server.with_token(&token).get(PATH).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"), "{what}");
        assert!(!answer.text.contains(&token), "{what}: the token was shown");
        answer.refused(401, code);
    }
}

#[tokio::test]
async fn the_header_is_read_strictly() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let grant = Grant::new("ann", Some("acme".parse().unwrap()), Role::Viewer);
    let token = server.control.issuer().mint(&grant).unwrap();
    let bare = server.anybody();
    let ask = async |values: &[String]| {
        let request =
            values.iter().fold(bare.request("GET", PATH), |request, value| request.header("authorization", value));
        crate::client::Answer::of(request.send().await.unwrap()).await
    };
    ask(&[format!("bearer {token}")]).await.expect(200);
    ask(std::slice::from_ref(&token)).await.refused(401, "BH0001");
    ask(&[format!("Basic {token}")]).await.refused(401, "BH0001");
    ask(&["Bearer".to_owned()]).await.refused(401, "BH0001");
    ask(&["Bearer ".to_owned()]).await.refused(401, "BH0001");
    ask(&[format!("Bearer {token}"), format!("Bearer {token}")]).await.refused(401, "BH0002");
}

#[tokio::test]
async fn an_admin_makes_tokens_for_its_tenant_and_no_stronger() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let admin = server.client("acme", Role::TenantAdmin);
    let path = "/api/v1/tenants/acme/tokens";
    let made = admin.post(path, &json!({"subject": "ci", "role": "developer", "lifeSeconds": 60})).await.expect(201);
    assert_eq!(made["expiresInSeconds"], 60);
    let ci = server.with_token(made["token"].as_str().unwrap());
    ci.post("/api/v1/tenants/acme/topics", &json!({"name": "t"})).await.expect(201);
    ci.post(path, &json!({"subject": "x", "role": "viewer"})).await.refused(403, "BH0004");
    for role in ["platform-admin", "worker"] {
        admin.post(path, &json!({"subject": "x", "role": role})).await.refused(403, "BH0004");
    }
    admin.post(path, &json!({"subject": "x", "role": "root"})).await.refused(400, "BH0007");
    admin.post(path, &json!({"subject": "x", "role": "viewer", "tenant": "globex"})).await.refused(400, "BH0007");
    admin.post(path, &json!({"subject": "x", "role": "viewer", "lifeSeconds": 90_000})).await.refused(400, "BH0007");
    admin.post(path, &json!({"subject": "", "role": "viewer"})).await.refused(400, "BH0007");
}

#[tokio::test]
async fn the_public_key_is_published_and_the_private_one_is_not() {
    let server = Server::start().await;
    let set = server.anybody().get("/.well-known/jwks.json").await.expect(200);
    let key = &set["keys"][0];
    assert_eq!((&key["alg"], &key["kty"], &key["use"]), (&json!("EdDSA"), &json!("OKP"), &json!("sig")));
    assert!(key["kid"].is_string() && key["x"].is_string());
    assert!(key.get("d").is_none(), "the private key was published");
}

#[tokio::test]
async fn a_token_of_a_deleted_tenant_does_not_open_the_next_of_that_name() {
    let server = Server::start().await;
    let old = server.tenant("acme").await;
    server.platform().delete("/api/v1/tenants/acme").await.expect(200);
    old.get(PATH).await.refused(404, "BH0005");
    // Tokens are dated to the second, so the next tenant has to be born in a later one than the token.
    let minted = jsonwebtoken::get_current_timestamp();
    server.until("the next second", async || jsonwebtoken::get_current_timestamp() > minted).await;
    server.tenant("acme").await.get(PATH).await.expect(200);
    old.get(PATH).await.refused(401, "BH0002");
}

#[tokio::test]
async fn a_token_is_told_what_it_is() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let who = server.client("acme", Role::Developer).get("/api/v1/whoami").await.expect(200);
    assert_eq!((&who["subject"], &who["tenant"]), (&json!("developer@acme"), &json!("acme")));
    assert_eq!(who["roles"], json!(["developer"]));
    assert!(bulkhead_core::time::parse_rfc3339_ms(who["expiresAt"].as_str().unwrap()).is_some());
    assert_eq!(server.platform().get("/api/v1/whoami").await.expect(200)["tenant"], Value::Null);
    server.anybody().get("/api/v1/whoami").await.refused(401, "BH0001");
    server.with_token("x").get("/api/v1/whoami").await.refused(401, "BH0002");
}
