//! Tokens that must not open anything, against the real process: forged, spoilt, of others, too weak, for other doors.

use crate::shared::{Guests, host, refused};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_testbed::{Host, Refused, Tenant};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;

/// PKCS #8 before an Ed25519 seed (RFC 8410).
const ED25519_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

fn claims(tenant: &str, changes: &Value) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = json!({"iss": "bulkhead", "aud": "bulkhead", "sub": "eve", "iat": now, "exp": now + 60,
        "jti": "1", "tenant": tenant, "roles": ["tenant-admin"]});
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn sign(algorithm: Algorithm, kid: &str, key: &EncodingKey, claims: &Value) -> Result<String> {
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    Ok(jsonwebtoken::encode(&header, claims, key)?)
}

/// What is tried, the token, and the code that it gets.
fn attacks(host: &Host, tenant: &str) -> Result<Vec<(&'static str, String, &'static str)>> {
    let now = jsonwebtoken::get_current_timestamp();
    let keys: Value = reqwest::blocking::get(format!("{}/.well-known/jwks.json", host.url()))?.json()?;
    let public = &keys["keys"][0];
    let (kid, x) = (public["kid"].as_str().context("a kid")?, public["x"].as_str().context("an x")?);
    let pem = fs::read(host.data_dir().join("keys/issuer.pem"))?;
    let key = EncodingKey::from_ed_pem(&pem)?;
    let stranger = EncodingKey::from_ed_der(&[&ED25519_HEAD[..], &[7; 32]].concat());
    let raw = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(x)?);
    let text = EncodingKey::from_secret(public.to_string().as_bytes());
    let plain = claims(tenant, &json!({}));
    let ours = |changes: Value| sign(Algorithm::EdDSA, kid, &key, &claims(tenant, &changes));
    let none = |name: &str| {
        let encode = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.", encode(&json!({"alg": name, "typ": "JWT", "kid": kid})), encode(&plain))
    };
    let good = ours(json!({}))?;
    let (head, _) = good.rsplit_once('.').context("a signature")?;
    Ok(vec![
        ("garbage", "a.b.c".to_owned(), "BH0002"),
        ("alg none", none("none"), "BH0002"),
        ("alg None", none("None"), "BH0002"),
        ("no signature", format!("{head}."), "BH0002"),
        ("HS256 with the public key's bytes", sign(Algorithm::HS256, kid, &raw, &plain)?, "BH0002"),
        ("HS256 with the public key's text", sign(Algorithm::HS256, kid, &text, &plain)?, "BH0002"),
        ("another key", sign(Algorithm::EdDSA, kid, &stranger, &plain)?, "BH0002"),
        ("another key's id", sign(Algorithm::EdDSA, "other", &key, &plain)?, "BH0002"),
        ("expired", ours(json!({"iat": now - 120, "exp": now - 60}))?, "BH0003"),
        ("another audience", ours(json!({"aud": "elsewhere"}))?, "BH0002"),
        ("another issuer", ours(json!({"iss": "elsewhere"}))?, "BH0002"),
        ("a platform role with a tenant", ours(json!({"roles": ["platform-admin"]}))?, "BH0002"),
        ("no tenant", ours(json!({"tenant": null}))?, "BH0002"),
        ("for ever", ours(json!({"exp": now + 400_000_000}))?, "BH0002"),
    ])
}

fn topics(tenant: &Tenant) -> Result<Value, Refused> {
    tenant.control().send(tenant.request(Method::GET, "/topics"))
}

#[test]
fn forged_and_spoilt_tokens_open_nothing() -> Result<()> {
    let host = host()?;
    let tenant = host.tenant("vault")?;
    tenant.create_topic("secrets", 1)?;
    for (what, token, code) in attacks(&host, "vault")? {
        let with = tenant.control().with_token(&token).tenant("vault");
        let problem = refused(topics(&with), 401, code, "");
        assert!(problem.detail.contains("; "), "{what}: `{}` does not say what to do", problem.detail);
        assert!(!problem.body.to_string().contains(&token), "{what}: the token was shown");
        refused(with.create_topic("more", 1), 401, code, "");
        refused(with.control().create_tenant("eve"), 401, code, "");
    }
    let key = EncodingKey::from_ed_pem(&fs::read(host.data_dir().join("keys/issuer.pem"))?)?;
    let keys: Value = reqwest::blocking::get(format!("{}/.well-known/jwks.json", host.url()))?.json()?;
    let kid = keys["keys"][0]["kid"].as_str().context("a kid")?;
    let good = sign(Algorithm::EdDSA, kid, &key, &claims("vault", &json!({})))?;
    topics(&tenant.control().with_token(&good).tenant("vault"))
        .context("so the attacks differ only in what they say")?;
    let bare = reqwest::blocking::get(format!("{}/api/v1/tenants/vault/topics", host.url()))?;
    assert_eq!(bare.headers()["www-authenticate"], "Bearer realm=\"bulkhead\"");
    let problem: Value = bare.json()?;
    assert_eq!((&problem["status"], &problem["code"]), (&json!(401), &json!("BH0001")), "{problem}");
    Ok(())
}

#[test]
fn a_token_that_has_expired_meanwhile_is_told_so() -> Result<()> {
    let host = host()?;
    let tenant = host.tenant("ageing")?;
    let control = tenant.control().with_token(&host.token_for("viewer", Some("ageing"), 1)?);
    let told = bulkhead_testbed::until("the token to expire", || {
        topics(&control.tenant("ageing")).map_or_else(Ok, |_| Err("it is good".to_owned()))
    })?;
    refused::<()>(Err(told), 401, "BH0003", "expired");
    Ok(())
}

#[test]
fn another_tenants_token_gets_the_same_answer_whether_or_not_the_tenant_is_there() -> Result<()> {
    let host = host()?;
    let mine = host.tenant("mine")?;
    let theirs = host.tenant("theirs")?;
    theirs.upload_guests()?;
    theirs.run_guest("p", "passthrough", "")?;
    theirs.put("p", &["private"])?;
    theirs.out("p", 1)?;
    let calls = [
        (Method::GET, ""),
        (Method::GET, "/topics"),
        (Method::GET, "/topics/p-out/records"),
        (Method::POST, "/topics/p-in/records"),
        (Method::DELETE, "/topics/p-in?force=true"),
        (Method::GET, "/projects/default/modules/guests"),
        (Method::PUT, "/projects/default/modules/guests"),
        (Method::GET, "/projects/default/pipelines/p"),
        (Method::PUT, "/projects/default/pipelines/p"),
        (Method::POST, "/projects/default/pipelines/p/pause"),
        (Method::DELETE, "/projects/default/pipelines/p"),
        (Method::POST, "/tokens"),
        (Method::GET, "/audit"),
    ];
    for (method, path) in calls {
        let ask = |name: &str| {
            let tenant = mine.control().tenant(name);
            let problem = refused(tenant.control().send(tenant.request(method.clone(), path)), 404, "BH0005", "");
            let mut body = problem.body;
            body.as_object_mut().expect("an object").remove("requestId");
            body.to_string().replace(name, "TENANT")
        };
        assert_eq!(ask("theirs"), ask("nobody"), "{method} {path}");
    }
    theirs.put("p", &["still here"])?;
    assert_eq!(theirs.out("p", 2)?, ["private", "still here"]);
    Ok(())
}

#[test]
fn weak_tokens_and_those_for_other_doors_do_not_pass() -> Result<()> {
    let host = host()?;
    let tenant = host.tenant("doors")?;
    tenant.upload_guests()?;
    tenant.run_guest("p", "passthrough", "")?;
    let viewer = host.tenant_as("doors", "viewer")?;
    viewer.status("p")?;
    viewer.read_all("p-out")?;
    refused(viewer.create_topic("t", 1), 403, "BH0004", "developer");
    refused(viewer.upload("m", "v1", "x"), 403, "BH0004", "developer");
    refused(viewer.apply("p", "x"), 403, "BH0004", "developer");
    refused(viewer.pause("p"), 403, "BH0004", "operator");
    refused(viewer.delete_pipeline("p"), 403, "BH0004", "developer");
    refused(viewer.produce("p-in", &[]), 403, "BH0004", "developer");
    refused(viewer.delete_topic("p-in"), 403, "BH0004", "developer");
    let mint = |of: &Tenant| {
        of.control().send(of.request(Method::POST, "/tokens").json(&json!({"subject": "x", "role": "viewer"})))
    };
    refused(mint(&host.tenant_as("doors", "developer")?), 403, "BH0004", "tenant-admin");

    let worker = tenant.control().with_token(&host.worker_token("pool-0", None)?);
    refused(topics(&worker.tenant("doors")), 404, "BH0005", "");
    refused(worker.tenant("doors").status("p"), 404, "BH0005", "");
    refused(worker.create_tenant("x"), 403, "BH0004", "");
    let admin = host.admin()?;
    refused(topics(&admin.tenant("doors")), 403, "BH0004", "");
    for control in [tenant.control(), viewer.control(), &admin] {
        let assignment = control.request(Method::GET, "/internal/v1/assignment?worker=pool-0");
        refused(control.send(assignment), 403, "BH0004", "");
        refused(control.send(control.request(Method::POST, "/internal/v1/report").json(&json!({}))), 403, "BH0004", "");
    }
    Ok(())
}
