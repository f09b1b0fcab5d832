//! Machines log in: a CI system deploys without anybody's password, and forged tokens of Keycloak's open nothing.

use super::{REALM, TENANT, host, keycloak, realm, serve};
use crate::shared::{Guests, refused};
use crate::shell::Shell;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_test_services::Keycloak;
use bulkhead_testbed::{Control, Folder, Host, Serve};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

fn with(host: &Host, token: &str) -> Result<Control> {
    Control::new(host.url(), token)
}

#[test]
fn a_ci_system_deploys_without_a_password_and_records_flow() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    let host = host(&keycloak)?;
    let shell = Shell::new()?;
    shell.write("secret", &realm.secret("acme-ci")?)?;
    let login =
        ["login", "--client-credentials", "--client-id", "acme-ci", "--client-secret-file", "secret", host.url()];
    let said = shell.ok(&login)?;
    assert!(said.contains("tenant   acme") && said.contains("developer"), "{said}");
    shell.ok(&["topic", "create", "by-command"])?;

    let ci = with(&host, &realm.token("acme-ci")?)?.tenant(TENANT);
    ci.upload_guests()?;
    ci.run_guest("p", "passthrough", "")?;
    ci.put("p", &["one", "two"])?;
    assert_eq!(ci.out("p", 2)?, ["one", "two"]);
    // The token alone names the tenant.
    let by_token = ci.control().tenant("-");
    assert!(by_token.read_all("by-command")?.is_empty());
    refused(ci.control().tenant("globex").topic("x"), 404, "BH0005", "");
    Ok(())
}

/// With the embedded issuer off, Keycloak alone says who anybody is; the worker in the process needs nobody.
#[test]
fn a_host_without_an_issuer_of_its_own_runs_by_keycloak_alone() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    realm.machine("ops", None, &["platform-admin"])?;
    realm.machine("acme-admin", Some(TENANT), &["tenant-admin"])?;
    let host = Host::start(serve(&keycloak).argument("--embedded-issuer").argument("off"))?;

    with(&host, &realm.token("ops")?)?.create_tenant(TENANT)?;
    let ci = with(&host, &realm.token("acme-ci")?)?.tenant(TENANT);
    ci.upload_guests()?;
    ci.run_guest("p", "passthrough", "")?;
    ci.put("p", &["one"])?;
    assert_eq!(ci.out("p", 1)?, ["one"]);

    let admin = with(&host, &realm.token("acme-admin")?)?.tenant(TENANT);
    let mint = admin.request(Method::POST, "/tokens").json(&json!({"subject": "x", "role": "viewer"}));
    refused(admin.control().send(mint), 409, "BH0041", "bulkhead login");
    let assignment = |token: &str| {
        let control = with(&host, token)?;
        anyhow::Ok(control.send(control.request(Method::GET, "/internal/v1/assignment?worker=pool-9")))
    };
    assignment(&realm.token("bulkhead-worker")?)??;
    refused(assignment(&realm.token("acme-ci")?)?, 403, "BH0004", "");
    let worker = with(&host, &realm.token("bulkhead-worker")?)?.tenant(TENANT);
    refused(worker.topic("p-in"), 404, "BH0005", "");
    Ok(())
}

/// As Kubernetes' service accounts are named: what a subject is stands in a file, and its claims count for nothing.
#[test]
fn accounts_that_a_file_names_are_what_it_says_and_others_are_nobody() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    let (worker, ci) = (realm.token("bulkhead-worker")?, realm.token("acme-ci")?);
    let claims = worker.split('.').nth(1).context("claims")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let subject = claims["sub"].as_str().context("a subject")?;
    let folder = Folder::new("host")?;
    let file = folder.join("providers.yaml");
    let issuer = keycloak.issuer(REALM);
    let provider = format!(
        "issuer: '{issuer}', audience: bulkhead, subjects: {{ {subject}: {{ roles: [worker], slots: [pool-9] }} }}"
    );
    std::fs::write(&file, format!("providers: [{{ {provider} }}]\n"))?;
    let host = Host::start_in(Serve::control().argument("--oidc-file").argument(file), folder)?;
    let assignment = |token: &str, slot: &str| {
        let control = with(&host, token)?;
        let path = format!("/internal/v1/assignment?worker={slot}");
        anyhow::Ok(control.send(control.request(Method::GET, &path)))
    };
    assignment(&worker, "pool-9")??;
    refused(assignment(&worker, "pool-8")?, 403, "BH0004", "slot");
    refused(assignment(&ci, "pool-9")?, 401, "BH0002", "subject");
    Ok(())
}

/// What is tried, and the token.
fn forged(good: &str, keys: &[Value], issuer: &str) -> Result<Vec<(&'static str, String)>> {
    let mut parts = good.split('.');
    let (head, body) = (parts.next().context("a head")?, parts.next().context("a body")?);
    let read = |part: &str| anyhow::Ok(serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part)?)?);
    let write = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let (header, claims) = (read(head)?, read(body)?);
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).context("the key that signed")?;
    let hmac = |secret: &[u8], kid: &str| {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(kid.to_owned());
        Ok::<_, anyhow::Error>(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret))?)
    };
    let kid = key["kid"].as_str().context("a kid")?;
    let modulus = key["n"].as_str().context("a modulus")?;
    let certificate = key["x5c"][0].as_str().context("a certificate")?;
    let signature = good.rsplit('.').next().context("a signature")?;
    let mut grown = claims.clone();
    grown["roles"] = json!(["tenant-admin"]);
    let mut moved = claims.clone();
    moved["tenant"] = "globex".into();
    let under = |header: Value| format!("{}.{body}.{signature}", write(&header));
    Ok(vec![
        ("none", format!("{}.{body}.", write(&json!({"alg": "none", "kid": kid})))),
        ("no signature", format!("{head}.{body}.")),
        ("HS256 with the modulus", hmac(&URL_SAFE_NO_PAD.decode(modulus)?, kid)?),
        ("HS256 with the modulus as text", hmac(modulus.as_bytes(), kid)?),
        ("HS256 with the certificate", hmac(certificate.as_bytes(), kid)?),
        ("another algorithm of the same key", under(json!({"alg": "PS256", "kid": kid}))),
        ("a path for a kid", under(json!({"alg": "RS256", "kid": "../../../etc/passwd"}))),
        ("a URL for a kid", under(json!({"alg": "RS256", "kid": format!("{issuer}/protocol/openid-connect/certs")}))),
        ("10 KB of kid", under(json!({"alg": "RS256", "kid": "k".repeat(10_240)}))),
        ("more roles", format!("{head}.{}.{signature}", write(&grown))),
        ("another tenant", format!("{head}.{}.{signature}", write(&moved))),
    ])
}

fn open(keycloak: &Keycloak, host: &Host, token: &str) -> Result<Result<Value, bulkhead_testbed::Refused>> {
    let _alive = keycloak;
    let tenant = with(host, token)?.tenant(TENANT);
    Ok(tenant.control().send(tenant.request(Method::GET, "/topics")))
}

#[test]
fn tokens_that_keycloak_did_not_make_for_this_open_nothing() -> Result<()> {
    let keycloak = keycloak()?;
    let realm = realm(&keycloak)?;
    let host = host(&keycloak)?;
    let good = realm.token("acme-ci")?;
    for (what, token) in forged(&good, &realm.published()?, &keycloak.issuer(REALM))? {
        let problem = refused(open(&keycloak, &host, &token)?, 401, "BH0002", "");
        assert!(!problem.body.to_string().contains(&token), "{what}: the token was shown");
    }
    // Good tokens of Keycloak's that are for others, or for nobody here.
    refused(open(&keycloak, &host, &realm.admin_token()?)?, 401, "BH0002", "");
    realm.machine("nobody", None, &[])?;
    refused(open(&keycloak, &host, &realm.token("nobody")?)?, 401, "BH0002", "");
    realm.machine("tenantless", None, &["developer"])?;
    refused(open(&keycloak, &host, &realm.token("tenantless")?)?, 401, "BH0002", "");

    let http = reqwest::blocking::Client::new();
    let twice = http.get(format!("{}/api/v1/whoami", host.url())).bearer_auth(&good).bearer_auth(&good).send()?;
    assert_eq!(twice.status().as_u16(), 401);
    let huge = http.get(format!("{}/api/v1/whoami", host.url())).bearer_auth(format!("{good}{}", "A".repeat(1 << 20)));
    // So much is refused by whoever reads the head, before it is anybody's token; or the connection ends while it is still sent.
    assert!(huge.send().map_or(true, |answer| [401, 431].contains(&answer.status().as_u16())));
    open(&keycloak, &host, &good)?.context("so the attacks differ only in what they say")?;
    Ok(())
}
