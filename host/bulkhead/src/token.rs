//! `bulkhead token`: mints a token with the issuer's key, for whoever may read the data folder.
//!
//! Must never: print anything but the token on standard output, so that it can be used in a script.

use crate::arguments::TokenArguments;
use anyhow::Context;
use bulkhead_control::{ControlConfig, Grant, Issuer, IssuerConfig, Role};
use std::time::Duration;

/// Prints a token.
///
/// # Errors
/// Where there is no key, the role is unknown, or the role and the tenant do not go together.
pub(crate) fn run(arguments: &TokenArguments) -> anyhow::Result<()> {
    // Opening makes a key where there is none: a token of a fresh key would be good for nothing.
    let key = arguments.data_dir.join("keys/issuer.pem");
    anyhow::ensure!(
        key.exists(),
        "there is no issuer's key in {}; name the data folder of the control process",
        arguments.data_dir.display()
    );
    let issuer = Issuer::open(&arguments.data_dir, IssuerConfig::from(&ControlConfig::new(&arguments.data_dir)))
        .context("opening the issuer's key")?;
    let role: Option<Role> = arguments.role.as_deref().map(str::parse).transpose().context("reading the role")?;
    let grant = Grant {
        subject: arguments.subject.clone(),
        tenant: arguments.tenant.clone(),
        roles: role.into_iter().collect(),
        slot: arguments.slot.clone(),
        life: Some(Duration::from_secs(arguments.life_s)),
    };
    println!("{}", issuer.mint(&grant)?);
    Ok(())
}
