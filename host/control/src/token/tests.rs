//! The key's file, what may be minted, and every way in which a token can be wrong.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::code::Code;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn config() -> IssuerConfig {
    IssuerConfig { issuer: "us".into(), audience: "api".into(), token_life: Duration::from_secs(60) }
}

fn open(dir: &Path) -> Issuer {
    Issuer::open(dir, config()).unwrap()
}

fn key(dir: &Path) -> EncodingKey {
    EncodingKey::from_ed_pem(&std::fs::read(dir.join("keys/issuer.pem")).unwrap()).unwrap()
}

fn kid(issuer: &Issuer) -> String {
    issuer.key_set().keys[0].common.key_id.clone().unwrap()
}

fn good_claims() -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    json!({"iss": "us", "aud": "api", "sub": "ann", "iat": now, "exp": now + 60, "jti": "1", "tenant": "acme",
        "roles": ["viewer"]})
}

/// `good_claims` with some replaced, or removed where the value is null.
fn claims(changes: &Value) -> Value {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn sign(issuer: &Issuer, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid(issuer));
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

#[test]
fn the_key_is_made_once_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let path = dir.path().join("keys/issuer.pem");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(dir.path().join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(kid(&first), kid(&open(dir.path())), "a second start made another key");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("keys")).unwrap().collect();
    assert_eq!(left.len(), 1, "a draft of the key was left behind");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("keys/issuer.pem");
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Issuer::open(dir.path(), config()).unwrap_err();
        assert!(error.message.contains("chmod 600"), "{mode:o}: {error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    open(dir.path());
}

#[test]
fn what_was_minted_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = open(dir.path());
    let token = issuer.mint(&Grant::new("ann", Some("acme".parse().unwrap()), Role::Developer)).unwrap();
    let ann = issuer.verifier().unwrap().verify(&token).unwrap();
    assert_eq!((ann.subject(), ann.tenant().unwrap().as_str()), ("ann", "acme"));
    assert_eq!(ann.roles().collect::<Vec<_>>(), [Role::Developer]);
    assert!(!ann.is_worker() && ann.groups().count() == 0);
}

#[test]
fn a_workers_token_names_its_slot_and_whom_it_works_for() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = open(dir.path());
    let verifier = issuer.verifier().unwrap();
    let read = |grant: &Grant| verifier.verify(&issuer.mint(grant).unwrap()).unwrap();
    let pool = read(&Grant::worker("pool-0", None));
    assert_eq!((pool.slots().as_deref(), pool.tenant()), (Some(&["pool-0".to_owned()][..]), None));
    let own = read(&Grant::worker("acme-0", Some("acme".parse().unwrap())));
    assert_eq!((own.slots().as_deref(), own.tenant().unwrap().as_str()), (Some(&["acme-0".to_owned()][..]), "acme"));
    let both =
        Grant { roles: [Role::Worker, Role::Viewer].into(), ..Grant::worker("a", Some("acme".parse().unwrap())) };
    let disguised =
        Grant { slot: Some("pool-0".into()), ..Grant::new("a", Some("acme".parse().unwrap()), Role::Viewer) };
    for grant in [Grant::new("w", None, Role::Worker), Grant::worker("Not A Slot", None), both, disguised] {
        assert_eq!(issuer.mint(&grant).unwrap_err(), issuer::MintError::Roles, "{grant:?}");
    }
}

#[test]
fn what_is_no_role_of_ours_is_passed_over() {
    assert_eq!(Role::from_claim("developer"), Some(Role::Developer));
    for other in ["", "offline_access", "Developer", "developer "] {
        assert_eq!(Role::from_claim(other), None, "{other:?}");
    }
}

#[test]
fn grants_that_make_no_sense_are_not_minted() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = open(dir.path());
    let acme: TenantId = "acme".parse().unwrap();
    let long = Grant { life: Some(Duration::from_secs(90_000)), ..Grant::new("a", Some(acme.clone()), Role::Viewer) };
    assert_eq!(issuer.mint(&long).unwrap_err(), issuer::MintError::Life);
    for grant in [Grant::new("a", None, Role::Viewer), Grant::new("a", Some(acme.clone()), Role::PlatformAdmin)] {
        assert_eq!(issuer.mint(&grant).unwrap_err(), issuer::MintError::Roles);
    }
    for subject in ["", "a\nb", &"a".repeat(201)] {
        let grant = Grant::new(subject, Some(acme.clone()), Role::Viewer);
        assert_eq!(issuer.mint(&grant).unwrap_err(), issuer::MintError::Subject);
    }
}

#[test]
fn every_wrong_claim_is_refused_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = open(dir.path());
    let (key, verifier) = (key(dir.path()), issuer.verifier().unwrap());
    verifier.verify(&sign(&issuer, &key, &good_claims())).expect("the claims are good before they are changed");
    let now = jsonwebtoken::get_current_timestamp();
    let cases = [
        (json!({"exp": now - 60, "iat": now - 120}), Code::TokenExpired),
        (json!({"exp": null}), Code::TokenInvalid),
        (json!({"exp": "tomorrow"}), Code::TokenInvalid),
        (json!({"exp": now + 90_000}), Code::TokenInvalid),
        (json!({"iat": now + 60, "exp": now + 120}), Code::TokenInvalid),
        (json!({"iat": null}), Code::TokenInvalid),
        (json!({"iss": "them"}), Code::TokenInvalid),
        (json!({"iss": null}), Code::TokenInvalid),
        (json!({"aud": "other"}), Code::TokenInvalid),
        (json!({"aud": null}), Code::TokenInvalid),
        (json!({"aud": ["api", "other"]}), Code::TokenInvalid),
        (json!({"sub": null}), Code::TokenInvalid),
        (json!({"jti": null}), Code::TokenInvalid),
        (json!({"roles": null}), Code::TokenInvalid),
        (json!({"roles": [], "tenant": null}), Code::TokenInvalid),
        (json!({"roles": ["worker"], "tenant": null}), Code::TokenInvalid),
        (json!({"slot": "pool-0"}), Code::TokenInvalid),
        (json!({"roles": ["worker", "viewer"], "slot": "pool-0"}), Code::TokenInvalid),
        (json!({"roles": ["root"]}), Code::TokenInvalid),
        (json!({"roles": ["viewer", "platform-admin"]}), Code::TokenInvalid),
        (json!({"tenant": null}), Code::TokenInvalid),
        (json!({"tenant": "../etc"}), Code::TokenInvalid),
    ];
    for (changes, code) in cases {
        let refused = verifier.verify(&sign(&issuer, &key, &claims(&changes))).expect_err(&changes.to_string());
        assert_eq!(refused.code, code, "{changes}: {}", refused.detail);
    }
}

#[test]
fn no_algorithm_and_no_key_but_ours_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let issuer = open(dir.path());
    let verifier = issuer.verifier().unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = part(&good_claims());

    let none = format!("{}.{body}.", part(&json!({"alg": "none", "typ": "JWT", "kid": kid(&issuer)})));
    let public = serde_json::to_value(issuer.key_set()).unwrap()["keys"][0]["x"].as_str().unwrap().to_owned();
    let mut hs = Header::new(Algorithm::HS256);
    hs.kid = Some(kid(&issuer));
    let confused =
        |secret: &[u8]| jsonwebtoken::encode(&hs, &good_claims(), &EncodingKey::from_secret(secret)).unwrap();
    let raw = URL_SAFE_NO_PAD.decode(&public).unwrap();

    open(other_dir.path());
    let stranger = sign(&issuer, &key(other_dir.path()), &good_claims());
    let good = sign(&issuer, &key(dir.path()), &good_claims());
    let (head, signature) = (good.split('.').next().unwrap(), good.rsplit('.').next().unwrap());
    let grown = format!("{head}.{}.{signature}", part(&claims(&json!({"roles": ["tenant-admin"]}))));
    let unsigned = format!("{head}.{body}.");
    let nameless = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &good_claims(), &key(dir.path())).unwrap();

    let cases = [
        ("none", none),
        ("HS256 with the public key's bytes", confused(&raw)),
        ("HS256 with the public key's text", confused(public.as_bytes())),
        ("another key under our kid", stranger),
        ("changed claims", grown),
        ("no signature", unsigned),
        ("no kid", nameless),
        ("not a token", "abc".to_owned()),
        ("empty", String::new()),
        ("huge", "a".repeat(100_000)),
    ];
    for (what, token) in cases {
        let refused = verifier.verify(&token).expect_err(what);
        assert_eq!(refused.code, Code::TokenInvalid, "{what}");
    }
    verifier.verify(&good).expect("the good one still is");
}
