//! `serve --default-tenant NAME`: a tenant for whoever needs only one, made as any other is made, over the API.
//!
//! Its token is in a file that only this user can read, and is made anew before it ends; where people log in at an identity provider there is
//! none, for only the provider's are taken. From there on nothing knows that it is the default: plans, roles, suspension and erasure are as for all.
//! Must never: make the tenant in another way than an operator would, or give its token to anybody but the file's owner.

use crate::client::{Client, Refused, TokenSource, accepted};
use anyhow::Context;
use bulkhead_control::{DEFAULT_TENANT_MAKER, Grant, Issuer, Role, TOKEN_LIFE_MAX};
use bulkhead_core::name::TenantId;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Where the token is, in the data folder.
const TOKEN: &str = "keys/default-tenant.token";
/// How long a tenant of this name may still be under deletion.
const TRIES: u32 = 60;
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Makes the tenant where it is not there, and its token; gives the token's file, or `None` where tokens come from a provider.
///
/// # Errors
/// Where control refuses the name, or the file cannot be written.
pub(super) async fn make(
    tenant: &TenantId,
    address: &str,
    issuer: &Issuer,
    data_dir: &Path,
    stop: CancellationToken,
) -> anyhow::Result<Option<PathBuf>> {
    let admin = issuer.mint(&Grant::new(DEFAULT_TENANT_MAKER, None, Role::PlatformAdmin))?;
    let client = Client::new(address, TokenSource::Fixed(admin), &[])?;
    for left in (0..TRIES).rev() {
        match there(&client, tenant).await {
            Ok(()) => break,
            Err(error) if left == 0 || !is_conflict(&error) => {
                return Err(error).context(format!("making the default tenant `{tenant}`"));
            }
            Err(_) => tokio::time::sleep(TRY_EVERY).await,
        }
    }
    let path = data_dir.join(TOKEN);
    if !issuer.is_for_everybody() {
        remove(&path)?;
        return Ok(None);
    }
    write(&path, issuer, tenant)?;
    let (issuer, tenant, file) = (issuer.clone(), tenant.clone(), path.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TOKEN_LIFE_MAX / 2) => {}
            }
            if let Err(error) = write(&file, &issuer, &tenant) {
                tracing::error!(error = format!("{error:#}"), "the default tenant's token could not be made anew");
            }
        }
    });
    Ok(Some(path))
}

/// One that is left of a start with the embedded issuer opens nothing any more.
fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Sees the tenant, or makes it.
async fn there(client: &Client, tenant: &TenantId) -> anyhow::Result<()> {
    let seen = client.request(Method::GET, &format!("/api/v1/tenants/{tenant}"))?.send().await?;
    if seen.status() != StatusCode::NOT_FOUND {
        accepted(seen).await?;
        return Ok(());
    }
    accepted(client.request(Method::POST, "/api/v1/tenants")?.json(&json!({"name": tenant})).send().await?).await?;
    Ok(())
}

fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == StatusCode::CONFLICT)
}

fn write(path: &Path, issuer: &Issuer, tenant: &TenantId) -> anyhow::Result<()> {
    let mut grant = Grant::new(DEFAULT_TENANT_MAKER, Some(tenant.clone()), Role::TenantAdmin);
    grant.life = Some(TOKEN_LIFE_MAX);
    let token = issuer.mint(&grant)?;
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(token.as_bytes())?;
    std::fs::rename(&new, path).with_context(|| format!("writing {}", path.display()))
}
