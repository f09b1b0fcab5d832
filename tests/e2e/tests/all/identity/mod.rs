//! A real identity provider: Keycloak with the realm of `deploy/keycloak`, a real browser, and the command line between them.
//!
//! One Keycloak serves all tests of a run. Those that stop it or take its keys away have it for themselves.
//! Must never: use a realm that users are not given, or a token that Keycloak did not make.

mod keys;
mod logins;
mod machines;
mod page;
mod realm;

use anyhow::{Result, anyhow};
use bulkhead_test_services::Keycloak;
use bulkhead_testbed::{Host, Serve, root};
use realm::Realm;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The realm's name.
const REALM: &str = "bulkhead";
/// The tenant of the realm's CI client.
const TENANT: &str = "acme";

static KEYCLOAK: OnceLock<Result<RwLock<Keycloak>, String>> = OnceLock::new();

fn shared() -> Result<&'static RwLock<Keycloak>> {
    let file = root().join("deploy/keycloak/bulkhead-realm.json");
    let started =
        KEYCLOAK.get_or_init(|| Keycloak::start(&file).map(RwLock::new).map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// Keycloak, for a test that leaves it as others need it.
fn keycloak() -> Result<RwLockReadGuard<'static, Keycloak>> {
    Ok(shared()?.read().unwrap_or_else(PoisonError::into_inner))
}

/// Keycloak, for one test alone.
fn keycloak_alone() -> Result<RwLockWriteGuard<'static, Keycloak>> {
    Ok(shared()?.write().unwrap_or_else(PoisonError::into_inner))
}

/// How to start a host that takes Keycloak's tokens.
fn serve(keycloak: &Keycloak) -> Serve {
    // Keys are looked at as often as the pause between two fetches allows.
    let arguments = ["--oidc-issuer", &keycloak.issuer(REALM), "--oidc-refresh-s", "1"];
    arguments.into_iter().fold(Serve::all(), |serve, argument| serve.argument(argument))
}

/// A host that takes Keycloak's tokens, with the tenant of the CI client.
fn host(keycloak: &Keycloak) -> Result<Host> {
    let host = Host::start(serve(keycloak))?;
    host.admin()?.create_tenant(TENANT)?;
    Ok(host)
}

/// The realm's administration.
fn realm(keycloak: &Keycloak) -> Result<Realm> {
    Realm::new(keycloak, REALM)
}
