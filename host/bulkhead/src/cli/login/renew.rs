//! A stored login goes on: its token is renewed before it ends, by the command that comes next or while one runs.
//!
//! Two commands at once renew it once: a lock beside the config file lets one ask, and the other finds what it stored.
//! Must never: renew a token that did not come from the config file, or store one for another server.

use super::super::config::{self, Connection, Settings};
use super::super::failure::Complaint;
use super::provider::{Provider, now_s};
use crate::client::TokenSource;
use bulkhead_core::code::Code;
use parking_lot::RwLock;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Seconds before its end at which a token is renewed: longer than a request takes to arrive.
const EARLY_S: i64 = 30;
/// The shortest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Renews the stored token for the server, if there is one and it is about to end.
///
/// # Errors
/// [`Code::LoginEnded`] where it is not renewed any more; [`Code::ServerAway`] where the provider is away and the token has ended.
pub(crate) async fn if_due(connection: &Connection) -> anyhow::Result<Option<String>> {
    if !is_due(&Settings::of(connection)?) {
        return Ok(None);
    }
    let path = config::path(connection)?;
    let _lock = lock(&path)?;
    // Another command may have renewed it meanwhile.
    let settings = Settings::of(connection)?;
    let Some(login) = settings.login.clone().filter(|_| is_due(&settings)) else { return Ok(None) };
    let ended = login.expires <= now_s();
    let Some(refresh) = login.refresh.filter(|refresh| !refresh.is_empty()) else {
        let detail = "the token has ended, and this login cannot be renewed; log in again as before";
        return if ended { Err(Complaint::new(Code::LoginEnded, detail).into()) } else { Ok(None) };
    };
    let renewed = match Provider::found(&login.issuer, &login.client, &settings).await {
        Ok(provider) => provider.renew(&refresh, &settings.server).await,
        Err(error) => Err(error),
    };
    match renewed {
        Ok(gained) => {
            config::renewed(&path, &settings.server, &gained.token, &gained.login)?;
            Ok(Some(gained.token))
        }
        // The token is still good for this command.
        Err(error) if !ended && !is_final(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_due(settings: &Settings) -> bool {
    settings.login.as_ref().is_some_and(|login| login.expires - EARLY_S <= now_s())
}

fn is_final(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Complaint>().is_some_and(|complaint| complaint.code == Code::LoginEnded)
}

/// Where a session's token comes from: as it is, or renewed for as long as the session lives where it is a login's.
pub(crate) fn source(connection: &Connection, settings: &Settings, token: String) -> TokenSource {
    if settings.login.is_none() {
        return TokenSource::Fixed(token);
    }
    let shared = Arc::new(RwLock::new(token));
    tokio::spawn(keep(connection.clone(), Arc::downgrade(&shared)));
    TokenSource::Minted(Arc::new(move || Ok(shared.read().clone())))
}

/// Renews a session's token until the session has ended or the login has.
async fn keep(connection: Connection, shared: std::sync::Weak<RwLock<String>>) {
    loop {
        let Some(login) = Settings::of(&connection).ok().and_then(|settings| settings.login) else { return };
        let due_in = u64::try_from(login.expires - EARLY_S - now_s()).unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(due_in).max(PAUSE_MIN)).await;
        let Some(shared) = shared.upgrade() else { return };
        match if_due(&connection).await {
            Ok(Some(token)) => *shared.write() = token,
            Ok(None) => {}
            // The request that meets the ended token says so.
            Err(_) => return,
        }
    }
}

/// A lock beside the config file, until it is dropped.
fn lock(path: &Path) -> anyhow::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("toml.lock"))?;
    file.lock()?;
    Ok(file)
}
