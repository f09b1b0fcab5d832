//! An issuer for tests: keys made here, their documents served on loopback over real HTTP.
//!
//! Must never: stand for a provider's own behaviour; the tests against Keycloak show that.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// PKCS #8 before an Ed25519 seed (RFC 8410).
const ED25519_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// PKCS #8 before a P-256 scalar (RFC 5915), without the public key.
const P256_HEAD: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20,
];

/// A key that signs, and its public part as the issuer publishes it.
pub(super) struct Signer {
    pub(super) key: EncodingKey,
    pub(super) algorithm: Algorithm,
    pub(super) public: Value,
}

impl Signer {
    /// An Ed25519 key; each seed another.
    pub(super) fn ed25519(kid: &str, seed: u8) -> Self {
        let der = [&ED25519_HEAD[..], &[seed; 32]].concat();
        Self::of(kid, EncodingKey::from_ed_der(&der), Algorithm::EdDSA)
    }

    pub(super) fn p256(kid: &str, seed: u8) -> Self {
        let der = [&P256_HEAD[..], &[seed; 32]].concat();
        Self::of(kid, EncodingKey::from_ec_der(&der), Algorithm::ES256)
    }

    pub(super) fn rsa(kid: &str) -> Self {
        let pem = include_bytes!("rsa-for-tests.pem");
        Self::of(kid, EncodingKey::from_rsa_pem(pem).unwrap(), Algorithm::RS256)
    }

    fn of(kid: &str, key: EncodingKey, algorithm: Algorithm) -> Self {
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
        public["kid"] = kid.into();
        public["use"] = "sig".into();
        Self { key, algorithm, public }
    }

    pub(super) fn kid(&self) -> &str {
        self.public["kid"].as_str().unwrap()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.kid(), claims)
    }

    /// Signs under a key's id of the test's choice.
    pub(super) fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(kid.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// What an issuer answers.
#[derive(Clone)]
pub(super) enum Answer {
    /// These documents.
    Documents { discovery: Value, keys: Value },
    /// Nothing but this status.
    Status(u16),
    /// A redirect.
    Redirect(String),
    /// So many bytes.
    Bytes(usize),
}

/// An issuer.
pub(super) struct Issuer {
    pub(super) url: String,
    answers: Arc<Answers>,
}

struct Answers {
    now: parking_lot::RwLock<Answer>,
    asked: AtomicUsize,
}

impl Issuer {
    /// One with these keys.
    pub(super) async fn start(signers: &[&Signer]) -> Self {
        let answers =
            Arc::new(Answers { now: parking_lot::RwLock::new(Answer::Status(503)), asked: AtomicUsize::new(0) });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .with_state(Arc::clone(&answers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let issuer = Self { url, answers };
        issuer.publish(signers);
        issuer
    }

    /// Publishes these keys and no others.
    pub(super) fn publish(&self, signers: &[&Signer]) {
        self.publish_set(json!({"keys": signers.iter().map(|signer| signer.public.clone()).collect::<Vec<_>>()}));
    }

    /// Publishes this key set.
    pub(super) fn publish_set(&self, keys: Value) {
        let discovery = json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url), "more": ["of", "it"]});
        self.answer(Answer::Documents { discovery, keys });
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.answers.now.write() = answer;
    }

    /// How often its keys, or what leads to them, were asked for.
    pub(super) fn asked(&self) -> usize {
        self.answers.asked.load(Ordering::SeqCst)
    }
}

async fn discovery(State(answers): State<Arc<Answers>>) -> Response {
    answers.asked.fetch_add(1, Ordering::SeqCst);
    let answer = answers.now.read().clone();
    match answer {
        Answer::Documents { discovery, .. } => Json(discovery).into_response(),
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Answer::Bytes(bytes) => " ".repeat(bytes).into_response(),
    }
}

async fn keys(State(answers): State<Arc<Answers>>) -> Response {
    let answer = answers.now.read().clone();
    match answer {
        Answer::Documents { keys, .. } => Json(keys).into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
