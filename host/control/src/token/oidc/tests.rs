//! Every way in which a provider's token can be wrong, and every way in which a provider can be.

use super::fixture::{Answer, Issuer, Signer};
use super::*;
use crate::token::verify::Refused;
use crate::token::{IssuerConfig, Principal, Verifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_core::code::Code;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prometheus::{IntCounterVec, Opts};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Nothing is asked twice within a test that says so.
const NEVER: Duration = Duration::from_secs(3_600);

/// A verifier with this provider beside the embedded issuer.
fn verifier(config: OidcConfig) -> Verifier {
    let fetches = IntCounterVec::new(Opts::new("fetches", "fetches"), &["outcome"]).unwrap();
    let own = IssuerConfig { issuer: "us".into(), audience: "api".into(), token_life: Duration::from_secs(60) };
    let embedded = crate::token::Issuer::in_memory(own).unwrap().verifier().unwrap();
    Verifier::new(embedded, vec![Provider::new(config, fetches).unwrap()])
}

/// A provider that may be asked again and again.
fn eager(issuer: &Issuer) -> OidcConfig {
    OidcConfig { refetch_pause: Duration::ZERO, ..OidcConfig::new(&issuer.url, "bulkhead") }
}

/// A provider that is asked once.
fn once(issuer: &Issuer) -> OidcConfig {
    OidcConfig { refetch_pause: NEVER, ..OidcConfig::new(&issuer.url, "bulkhead") }
}

/// Good claims with some replaced, or removed where the value is null.
fn claims(issuer: &Issuer, changes: &Value) -> Value {
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = json!({"iss": issuer.url, "aud": "bulkhead", "sub": "ann", "iat": now, "exp": now + 60, "jti": "1",
        "tenant": "acme", "roles": ["viewer"]});
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn good(issuer: &Issuer) -> Value {
    claims(issuer, &json!({}))
}

fn code(result: Result<Principal, Refused>) -> Code {
    result.expect_err("it was taken").code
}

#[tokio::test]
async fn keys_of_all_kinds_prove_who_somebody_is() {
    let signers = [Signer::ed25519("ed", 1), Signer::p256("ec", 2), Signer::rsa("rsa")];
    let issuer = Issuer::start(&signers.each_ref()).await;
    let verifier = verifier(once(&issuer));
    for signer in &signers {
        let ann = verifier.verify(&signer.sign(&good(&issuer))).await.unwrap();
        assert_eq!((ann.subject(), ann.issuer(), ann.tenant().unwrap().as_str()), ("ann", issuer.url.as_str(), "acme"));
        assert_eq!(ann.roles().collect::<Vec<_>>(), [Role::Viewer]);
    }
    assert_eq!(issuer.asked(), 1, "the keys were not kept");
}

#[tokio::test]
async fn what_providers_do_differently_is_taken() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[&signer]).await;
    let nested = OidcConfig { roles_claim: "realm_access.roles".into(), ..once(&issuer) };
    let (plain, nested) = (verifier(once(&issuer)), verifier(nested));
    let ask = async |verifier: &Verifier, changes| verifier.verify(&signer.sign(&claims(&issuer, &changes))).await;

    ask(&plain, json!({"aud": ["account", "bulkhead"]})).await.unwrap();
    let others = ask(&plain, json!({"roles": ["offline_access", "default-roles-x", "developer"]})).await.unwrap();
    assert_eq!(others.roles().collect::<Vec<_>>(), [Role::Developer]);
    let nameless = ask(&plain, json!({"jti": null})).await.unwrap();
    assert!(nameless.token().starts_with("sha256:"), "{}", nameless.token());
    let worker = ask(&plain, json!({"tenant": null, "roles": ["worker"]})).await.unwrap();
    assert!(worker.tenant().is_none() && worker.is_worker());
    ask(&nested, json!({"roles": null, "realm_access": {"roles": ["viewer"]}})).await.unwrap();
    ask(&nested, json!({"realm_access.roles": ["viewer"]})).await.unwrap();
    assert_eq!(code(ask(&nested, json!({})).await), Code::TokenInvalid, "the usual claim was read all the same");
}

#[tokio::test]
async fn every_wrong_claim_is_refused_with_its_code() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = verifier(once(&issuer));
    verifier.verify(&signer.sign(&good(&issuer))).await.expect("the claims are good before they are changed");
    let now = jsonwebtoken::get_current_timestamp();
    let long = "a".repeat(201);
    let cases = [
        (json!({"exp": now - 60, "iat": now - 120}), Code::TokenExpired),
        (json!({"exp": null}), Code::TokenInvalid),
        (json!({"exp": "tomorrow"}), Code::TokenInvalid),
        (json!({"exp": now + 90_000}), Code::TokenInvalid),
        (json!({"iat": now + 120, "exp": now + 180}), Code::TokenInvalid),
        (json!({"iat": null}), Code::TokenInvalid),
        (json!({"nbf": now + 120}), Code::TokenInvalid),
        (json!({"iss": "https://elsewhere.example.com"}), Code::TokenInvalid),
        (json!({"iss": format!("{}/", issuer.url)}), Code::TokenInvalid),
        (json!({"iss": [issuer.url]}), Code::TokenInvalid),
        (json!({"iss": null}), Code::TokenInvalid),
        (json!({"aud": "other"}), Code::TokenInvalid),
        (json!({"aud": ["other", "bulkhead2"]}), Code::TokenInvalid),
        (json!({"aud": []}), Code::TokenInvalid),
        (json!({"aud": null}), Code::TokenInvalid),
        (json!({"sub": null}), Code::TokenInvalid),
        (json!({"sub": ""}), Code::TokenInvalid),
        (json!({"sub": "a\nb"}), Code::TokenInvalid),
        (json!({"sub": long}), Code::TokenInvalid),
        (json!({"roles": null}), Code::TokenInvalid),
        (json!({"roles": "viewer"}), Code::TokenInvalid),
        (json!({"roles": {"viewer": true}}), Code::TokenInvalid),
        (json!({"roles": ["viewer", 7]}), Code::TokenInvalid),
        (json!({"roles": ["viewer", "platform-admin"]}), Code::TokenInvalid),
        (json!({"tenant": null}), Code::TokenInvalid),
        (json!({"tenant": ["acme"]}), Code::TokenInvalid),
        (json!({"tenant": ""}), Code::TokenInvalid),
        (json!({"tenant": "../etc"}), Code::TokenInvalid),
        (json!({"tenant": "-"}), Code::TokenInvalid),
    ];
    // The claim also holds the provider's own roles; who has none of ours has what bindings give.
    for roles in [json!([]), json!(["root", "offline_access"])] {
        let nobody = verifier.verify(&signer.sign(&claims(&issuer, &json!({"roles": roles})))).await.unwrap();
        assert_eq!(nobody.roles().count(), 0);
    }
    for (changes, wanted) in cases {
        let refused = verifier.verify(&signer.sign(&claims(&issuer, &changes))).await.expect_err(&changes.to_string());
        assert_eq!(refused.code, wanted, "{changes}: {}", refused.detail);
    }
}

#[tokio::test]
async fn no_algorithm_and_no_key_but_the_providers_is_accepted() {
    let (ed, ec, rsa) = (Signer::ed25519("ed", 1), Signer::p256("ec", 2), Signer::rsa("rsa"));
    let issuer = Issuer::start(&[&ed, &ec, &rsa]).await;
    let verifier = verifier(once(&issuer));
    let body = URL_SAFE_NO_PAD.encode(good(&issuer).to_string());
    let head = |header: Value| URL_SAFE_NO_PAD.encode(header.to_string());
    let under = |algorithm: Algorithm, kid: &str, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, &good(&issuer), key).unwrap()
    };
    let secret = |text: &str| EncodingKey::from_secret(text.as_bytes());
    let raw = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(ed.public["x"].as_str().unwrap()).unwrap());
    let signed = ed.sign(&good(&issuer));
    let (start, signature) = signed.rsplit_once('.').unwrap();
    let grown = head(claims(&issuer, &json!({"roles": ["tenant-admin"]})));

    let cases = [
        ("none", format!("{}.{body}.", head(json!({"alg": "none", "kid": "ed"})))),
        ("None", format!("{}.{body}.", head(json!({"alg": "None", "kid": "ed"})))),
        ("no signature", format!("{start}.")),
        ("HS256 with the public key's bytes", under(Algorithm::HS256, "ed", &raw)),
        (
            "HS256 with the public key's text",
            under(Algorithm::HS256, "rsa", &secret(rsa.public["n"].as_str().unwrap())),
        ),
        ("HS256 with the whole key", under(Algorithm::HS256, "rsa", &secret(&rsa.public.to_string()))),
        ("RS256 where the key is EC", under(Algorithm::RS256, "ec", &rsa.key)),
        ("ES256 where the key is RSA", under(Algorithm::ES256, "rsa", &ec.key)),
        ("PS256 where the key is for RS256", under(Algorithm::PS256, "rsa", &rsa.key)),
        ("another key's id", ed.sign_as("ec", &good(&issuer))),
        ("a stranger's key", Signer::ed25519("ed", 9).sign(&good(&issuer))),
        ("changed claims", format!("{}.{grown}.{signature}", start.split('.').next().unwrap())),
        ("no kid", jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &good(&issuer), &ed.key).unwrap()),
        ("crit", format!("{}.{body}.{signature}", head(json!({"alg": "EdDSA", "kid": "ed", "crit": ["x"], "x": 1})))),
        (
            "its own key in the header",
            format!("{}.{body}.{signature}", head(json!({"alg": "EdDSA", "jwk": ed.public}))),
        ),
        ("huge", format!("{}.{body}.{}", head(json!({"alg": "EdDSA", "kid": "ed"})), "A".repeat(1 << 20))),
        ("four parts", format!("{signed}.x")),
        ("not a token", "abc".to_owned()),
    ];
    for (what, token) in cases {
        let refused = verifier.verify(&token).await.expect_err(what);
        assert_eq!(refused.code, Code::TokenInvalid, "{what}: {}", refused.detail);
    }
    verifier.verify(&signed).await.expect("the good one still is");
}

#[tokio::test]
async fn a_kid_is_never_more_than_a_name() {
    let odd = Signer::ed25519("../../etc/passwd", 1);
    let issuer = Issuer::start(&[&odd]).await;
    let verifier = verifier(once(&issuer));
    verifier.verify(&odd.sign(&good(&issuer))).await.expect("a path is as good a name as any");
    let stranger = Signer::ed25519("x", 9);
    let kids = ["../../../etc/passwd", "/dev/null", "http://127.0.0.1:1/keys", "' OR 1=1", "", &"k".repeat(10_240)];
    for kid in kids {
        assert_eq!(code(verifier.verify(&stranger.sign_as(kid, &good(&issuer))).await), Code::TokenInvalid, "{kid}");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_flood_of_made_up_kids_is_no_flood_to_the_provider() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = Arc::new(verifier(once(&issuer)));
    let flood = (0..1_000).map(|i| {
        let (verifier, token) = (Arc::clone(&verifier), signer.sign_as(&format!("made-up-{i}"), &good(&issuer)));
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for refused in futures::future::join_all(flood).await {
        assert_eq!(code(refused.unwrap()), Code::TokenInvalid);
    }
    for i in 0..1_000 {
        let token = signer.sign_as(&format!("one-by-one-{i}"), &good(&issuer));
        assert_eq!(code(verifier.verify(&token).await), Code::TokenInvalid);
    }
    assert_eq!(issuer.asked(), 1, "2,000 unknown keys caused more than the one fetch that any key needs");
    verifier.verify(&signer.sign(&good(&issuer))).await.expect("known keys go on being good");
}

#[tokio::test]
async fn a_new_key_is_good_at_once_and_an_old_one_no_longer() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = verifier(eager(&issuer));
    let (with_old, with_new) = (old.sign(&good(&issuer)), new.sign(&good(&issuer)));
    verifier.verify(&with_old).await.unwrap();
    assert_eq!(code(verifier.verify(&with_new).await), Code::TokenInvalid);
    issuer.publish(&[&new, &old]);
    verifier.verify(&with_new).await.expect("an unknown key is asked for");
    verifier.verify(&with_old).await.expect("both are good while both are published");
    issuer.publish(&[&new]);
    assert_eq!(code(verifier.verify(&Signer::ed25519("x", 3).sign(&good(&issuer))).await), Code::TokenInvalid);
    assert_eq!(code(verifier.verify(&with_old).await), Code::TokenInvalid, "a key that was withdrawn is still good");
}

#[tokio::test]
async fn a_withdrawn_key_ends_without_anybody_asking_for_another() {
    let (old, new) = (Signer::ed25519("old", 1), Signer::ed25519("new", 2));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = Arc::new(verifier(OidcConfig { refresh_every: Duration::from_millis(5), ..eager(&issuer) }));
    let token = old.sign(&good(&issuer));
    verifier.verify(&token).await.unwrap();
    issuer.publish(&[&new]);
    let stop = CancellationToken::new();
    let (keeper, stopped) = (Arc::clone(&verifier), stop.clone());
    let keeping = tokio::spawn(async move { keeper.keep_fresh(&stopped).await });
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while verifier.verify(&token).await.is_ok() {
        assert!(tokio::time::Instant::now() < until, "the withdrawn key stayed good");
        tokio::task::yield_now().await;
    }
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_provider_that_is_away_is_not_the_tokens_fault() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[]).await;
    issuer.answer(Answer::Status(503));
    let verifier = verifier(eager(&issuer));
    let token = signer.sign(&good(&issuer));
    assert_eq!(code(verifier.verify(&token).await), Code::ProviderAway);
    issuer.publish(&[&signer]);
    verifier.verify(&token).await.expect("it needs no restart");
    issuer.answer(Answer::Status(503));
    verifier.verify(&token).await.expect("keys are kept while the provider is away");
    let unknown = Signer::ed25519("new", 2).sign(&good(&issuer));
    assert_eq!(code(verifier.verify(&unknown).await), Code::TokenInvalid);
    verifier.verify(&token).await.expect("a fetch that failed took the keys away");
}

#[tokio::test]
async fn kept_keys_are_not_kept_for_ever() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = verifier(OidcConfig { keys_kept: Duration::from_millis(300), ..eager(&issuer) });
    let token = signer.sign(&good(&issuer));
    verifier.verify(&token).await.unwrap();
    issuer.answer(Answer::Status(503));
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while verifier.verify(&token).await.is_ok() {
        assert!(tokio::time::Instant::now() < until, "old keys stayed good");
        tokio::task::yield_now().await;
    }
    assert_eq!(code(verifier.verify(&token).await), Code::ProviderAway);
    issuer.publish(&[&signer]);
    verifier.verify(&token).await.expect("and are fetched anew");
}

#[tokio::test]
async fn documents_that_are_not_the_providers_are_not_believed() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[&signer]).await;
    let other = Issuer::start(&[&signer]).await;
    let keys = json!({"keys": [signer.public]});
    let documents = |discovery: Value| Answer::Documents { discovery, keys: keys.clone() };
    let jwks = format!("{}/keys", issuer.url);
    let wrong = [
        documents(json!({"issuer": other.url, "jwks_uri": jwks})),
        documents(json!({"issuer": format!("{}/", issuer.url), "jwks_uri": jwks})),
        documents(json!({"issuer": issuer.url, "jwks_uri": "http://192.0.2.1/keys"})),
        documents(json!({"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"})),
        documents(json!({"issuer": issuer.url})),
        Answer::Redirect(format!("{}/.well-known/openid-configuration", other.url)),
        Answer::Bytes(1 << 20),
        Answer::Status(404),
    ];
    let verifier = verifier(eager(&issuer));
    for answer in wrong {
        issuer.answer(answer);
        assert_eq!(code(verifier.verify(&signer.sign(&good(&issuer))).await), Code::ProviderAway);
    }
    assert_eq!(other.asked(), 0, "a redirect was followed");
    issuer.publish(&[&signer]);
    verifier.verify(&signer.sign(&good(&issuer))).await.expect("so only the answers were wrong");
}

#[tokio::test]
async fn keys_that_are_not_for_signing_open_nothing() {
    let signer = Signer::ed25519("ed", 1);
    let issuer = Issuer::start(&[]).await;
    let verifier = verifier(eager(&issuer));
    let with = |changes: Value| {
        let mut key = signer.public.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let oct = json!({"kty": "oct", "kid": "ed", "k": URL_SAFE_NO_PAD.encode("secret"), "alg": "HS256"});
    let weak =
        json!({"kty": "RSA", "kid": "ed", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "alg": "RS256"});
    for key in [with(json!({"use": "enc"})), with(json!({"alg": "HS256"})), with(json!({"alg": "ES256"})), oct, weak] {
        issuer.publish_set(json!({"keys": [key]}));
        assert_eq!(code(verifier.verify(&signer.sign(&good(&issuer))).await), Code::ProviderAway, "{key}");
    }
    issuer.publish_set(json!({"keys": ["what?", {"kty": "new"}, signer.public, with(json!({"x": "AAAA"}))]}));
    verifier.verify(&signer.sign(&good(&issuer))).await.expect("the first of an id counts, whatever lies around it");
}

#[tokio::test]
async fn where_subjects_are_named_claims_give_nothing() {
    let signer = Signer::rsa("k8s");
    let issuer = Issuer::start(&[&signer]).await;
    let slots = Some(["pool-*", "spare"].map(str::to_owned).into());
    let worker = Standing { tenant: None, roles: BTreeSet::from([Role::Worker]), slots };
    let developer = BTreeSet::from([Role::Developer]);
    let deployer = Standing { tenant: Some("acme".parse().unwrap()), roles: developer, slots: None };
    let subjects = [("system:serviceaccount:bulkhead:worker", worker), ("system:serviceaccount:acme-ci:it", deployer)];
    let subjects = subjects.map(|(name, standing)| (name.to_owned(), standing)).into();
    let verifier = verifier(OidcConfig { subjects, ..once(&issuer) });
    let ask = async |subject: &str| {
        let boast = json!({"sub": subject, "tenant": "globex", "roles": ["tenant-admin"]});
        verifier.verify(&signer.sign(&claims(&issuer, &boast))).await
    };
    let worker = ask("system:serviceaccount:bulkhead:worker").await.unwrap();
    assert!(worker.is_worker() && worker.tenant().is_none() && worker.roles().count() == 1);
    let speaks_for = |slot| crate::token::speaks_for(worker.slots().as_deref(), slot);
    assert!(speaks_for("pool-7") && speaks_for("spare"));
    assert!(!speaks_for("spare-1") && !speaks_for("other-pool-7"));
    let deployer = ask("system:serviceaccount:acme-ci:it").await.unwrap();
    assert_eq!(deployer.tenant().unwrap().as_str(), "acme");
    assert_eq!(deployer.roles().collect::<Vec<_>>(), [Role::Developer]);
    assert_eq!(code(ask("system:serviceaccount:other:worker").await), Code::TokenInvalid);
}

#[test]
fn issuers_that_cannot_be_believed_are_refused_at_the_start() {
    let fetches = || IntCounterVec::new(Opts::new("fetches", "fetches"), &["outcome"]).unwrap();
    for issuer in
        ["http://id.example.com", "id.example.com", "", "https://id.example.com/?x=1", "https://a:b@id.example.com"]
    {
        let refused = Provider::new(OidcConfig::new(issuer, "bulkhead"), fetches()).map(drop).unwrap_err();
        assert_eq!(refused.code, Code::ConfigInvalid, "{issuer}");
    }
    assert!(Provider::new(OidcConfig::new("https://id.example.com", ""), fetches()).is_err(), "no audience");
    let bad = OidcConfig { authorities: Some(b"nothing".to_vec()), ..OidcConfig::new("https://id.example.com", "b") };
    assert!(Provider::new(bad, fetches()).is_err(), "no authorities");
}
