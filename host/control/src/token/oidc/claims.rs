//! From the claims of a token whose signature was checked to a [`Principal`].
//!
//! Must never: be given claims that no key has vouched for, or make up for a claim that is missing.

use super::super::verify::{Refused, invalid};
use super::super::{Principal, Role, coherent};
use super::{OidcConfig, Standing};
use bulkhead_core::name::TenantId;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bytes of a subject or a token's id at most: both stand in every audit row.
const NAME_BYTES_MAX: usize = 200;

/// Groups of a token that are looked at: each is looked for among the role bindings.
const GROUPS_MAX: usize = 64;

/// What every token must say. `iss`, `aud`, `exp` and `nbf` have been checked already.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    iat: u64,
    exp: u64,
    /// RFC 9068 asks for one; not every provider gives it.
    #[serde(default)]
    jti: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The principal that these claims name.
///
/// # Errors
/// What is wrong with them.
pub(super) fn principal(
    claims: Claims,
    token: &str,
    issuer: &Arc<str>,
    config: &OidcConfig,
) -> Result<Principal, Refused> {
    super::super::verify::check_times(claims.iat, claims.exp, super::provider::LEEWAY_S)?;
    if !is_name(&claims.sub) {
        return Err(invalid("the token's `sub` is empty, too long or not printable; ask the operator of the provider"));
    }
    let Standing { tenant, roles, slots } = standing(&claims, config)?;
    if !coherent(tenant.as_ref(), &roles) {
        return Err(invalid(
            "the token's roles and its tenant do not fit together; the provider's administrator gives an account roles \
             of Bulkhead and, where they are a tenant's, that tenant",
        ));
    }
    let id = claims.jti.filter(|id| is_name(id)).unwrap_or_else(|| fingerprint(token));
    Ok(Principal {
        issuer: Arc::clone(issuer),
        subject: claims.sub,
        tenant,
        roles,
        token: id,
        issued_s: claims.iat,
        expires_s: claims.exp,
        slots,
        groups: groups(&claims.others),
    })
}

/// What the token's bearer is: what its subject was said to be, or what its claims say where no subject was named.
fn standing(claims: &Claims, config: &OidcConfig) -> Result<Standing, Refused> {
    if !config.subjects.is_empty() {
        return config
            .subjects
            .get(&claims.sub)
            .cloned()
            .ok_or(invalid("the token's subject is none that this server was told of; ask its operator to add it"));
    }
    let tenant = match at(&claims.others, &config.tenant_claim) {
        None | Some(Value::Null) => None,
        Some(value) => Some(tenant(value)?),
    };
    let no_roles = invalid("the token has no list of roles; the provider's administrator adds the claim");
    let Some(Value::Array(named)) = at(&claims.others, &config.roles_claim) else { return Err(no_roles) };
    let names = named.iter().map(|name| name.as_str().ok_or(no_roles));
    // The claim also holds roles of the provider's own.
    let roles = names.filter_map(|name| name.map(Role::from_claim).transpose());
    Ok(Standing { tenant, roles: roles.collect::<Result<BTreeSet<_>, _>>()?, slots: None })
}

/// The groups that it is in, to which roles may be bound; the first of them, where there are very many.
fn groups(claims: &Map<String, Value>) -> BTreeSet<String> {
    let named = claims.get("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    named.filter(|name| is_name(name)).take(GROUPS_MAX).map(str::to_owned).collect()
}

fn tenant(value: &Value) -> Result<TenantId, Refused> {
    let name: Option<TenantId> = value.as_str().and_then(|name| name.parse().ok());
    name.ok_or(invalid("the token's tenant is not the name of one; the provider's administrator sets the claim"))
}

/// The claim of this name; where there is none, a path of names with dots between them.
fn at<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut names = name.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What stands in the audit for a token without an id.
fn fingerprint(token: &str) -> String {
    let hash = Sha256::digest(token.as_bytes());
    hash.iter().take(16).fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
