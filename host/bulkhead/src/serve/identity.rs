//! Which identity providers `serve` takes tokens of: one by options, more by a file.
//!
//! The file is YAML:
//!
//! ```yaml
//! providers:
//!   - issuer: https://kubernetes.default.svc.cluster.local
//!     audience: bulkhead
//!     ca: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
//!     tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
//!     subjects:
//!       system:serviceaccount:bulkhead:worker: { roles: [worker], slots: [pool-*] }
//!       system:serviceaccount:acme-ci:deployer: { tenant: acme, roles: [developer] }
//! ```
//!
//! Must never: take a field that it does not know for one that does not matter.

use anyhow::{Context, ensure};
use bulkhead_control::{Login, OidcConfig, Role, Standing};
use bulkhead_core::name::TenantId;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who may make tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Embedded {
    /// Whoever can read the key in the data folder.
    #[default]
    On,
    /// Nobody: people and machines have tokens of the identity provider.
    Off,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Identity")]
pub(crate) struct IdentityArguments {
    /// Issuer of the OpenID Connect provider whose tokens are taken, exactly as it writes itself: https://, or http:// on this machine
    #[arg(long, value_name = "URL", env = "BULKHEAD_OIDC_ISSUER")]
    oidc_issuer: Option<String>,
    /// The audience that its tokens must have
    #[arg(long, value_name = "NAME", default_value = "bulkhead", env = "BULKHEAD_OIDC_AUDIENCE")]
    oidc_audience: String,
    /// The claim with the tenant's name; dots lead into objects
    #[arg(long, value_name = "NAME", default_value = "tenant", env = "BULKHEAD_OIDC_TENANT_CLAIM")]
    oidc_tenant_claim: String,
    /// The claim with the list of roles; dots lead into objects
    #[arg(long, value_name = "NAME", default_value = "roles", env = "BULKHEAD_OIDC_ROLES_CLAIM")]
    oidc_roles_claim: String,
    /// The public client at the provider that `bulkhead login` introduces itself as
    #[arg(long, value_name = "NAME", default_value = "bulkhead-cli", env = "BULKHEAD_OIDC_CLIENT_ID")]
    oidc_client_id: String,
    /// The scopes that `bulkhead login` asks for, with commas between them
    #[arg(long, value_name = "NAMES", default_value = "openid", value_delimiter = ',', env = "BULKHEAD_OIDC_SCOPES")]
    oidc_scopes: Vec<String>,
    /// File with the authorities, in PEM, one of which has signed the provider's certificate; otherwise this system's
    #[arg(long, value_name = "FILE", env = "BULKHEAD_OIDC_CA")]
    oidc_ca: Option<PathBuf>,
    /// Seconds between two fetches of the provider's keys: so long may a key be used here that the provider has withdrawn
    #[arg(long, value_name = "SECONDS", default_value_t = 300, env = "BULKHEAD_OIDC_REFRESH_S")]
    oidc_refresh_s: u64,
    /// File with more providers, for instance a Kubernetes cluster whose service accounts are workers
    #[arg(long, value_name = "FILE", env = "BULKHEAD_OIDC_FILE")]
    oidc_file: Option<PathBuf>,
    /// Whether tokens of the embedded issuer, which `bulkhead token` makes, are taken
    #[arg(long, value_enum, default_value = "on", env = "BULKHEAD_EMBEDDED_ISSUER")]
    embedded_issuer: Embedded,
}

/// A file of providers as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    providers: Vec<RawProvider>,
}

/// A provider as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProvider {
    issuer: String,
    audience: String,
    tenant_claim: Option<String>,
    roles_claim: Option<String>,
    #[serde(default)]
    subjects: BTreeMap<String, RawStanding>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    refresh_seconds: Option<u64>,
}

/// What a subject is, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStanding {
    tenant: Option<TenantId>,
    roles: BTreeSet<Role>,
    slots: Option<Vec<String>>,
}

impl From<RawStanding> for Standing {
    fn from(raw: RawStanding) -> Self {
        Self { tenant: raw.tenant, roles: raw.roles, slots: raw.slots.map(Into::into) }
    }
}

impl IdentityArguments {
    /// Whether the embedded issuer's tokens are taken.
    pub(crate) fn embedded_issuer(&self) -> bool {
        self.embedded_issuer == Embedded::On
    }

    /// The providers, the one of the options first.
    ///
    /// # Errors
    /// Where a file cannot be read or used, an issuer is named twice, or nobody could get any token.
    pub(crate) fn providers(&self) -> anyhow::Result<Vec<OidcConfig>> {
        let mut providers = Vec::new();
        if let Some(issuer) = &self.oidc_issuer {
            providers.push(OidcConfig {
                tenant_claim: self.oidc_tenant_claim.clone(),
                roles_claim: self.oidc_roles_claim.clone(),
                authorities: read(self.oidc_ca.as_deref())?,
                login: Some(Login { client_id: self.oidc_client_id.clone(), scopes: self.oidc_scopes.clone() }),
                refresh_every: Duration::from_secs(self.oidc_refresh_s.max(1)),
                ..OidcConfig::new(issuer, &self.oidc_audience)
            });
        }
        if let Some(file) = &self.oidc_file {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            let raw: RawFile = serde_yaml_ng::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
            for provider in raw.providers {
                providers.push(provider.typed()?);
            }
        }
        let issuers: BTreeSet<&str> = providers.iter().map(|provider| provider.issuer.as_str()).collect();
        ensure!(issuers.len() == providers.len(), "an issuer is named twice; name each once");
        ensure!(
            self.embedded_issuer() || !providers.is_empty(),
            "--embedded-issuer off leaves nobody to make tokens; name a provider with --oidc-issuer or --oidc-file"
        );
        Ok(providers)
    }
}

impl RawProvider {
    fn typed(self) -> anyhow::Result<OidcConfig> {
        let default = OidcConfig::new(&self.issuer, &self.audience);
        let subjects = self.subjects.into_iter();
        Ok(OidcConfig {
            tenant_claim: self.tenant_claim.unwrap_or(default.tenant_claim),
            roles_claim: self.roles_claim.unwrap_or(default.roles_claim),
            subjects: subjects.map(|(name, is)| (name, is.into())).collect(),
            authorities: read(self.ca.as_deref())?,
            token_file: self.token_file,
            refresh_every: self.refresh_seconds.map_or(default.refresh_every, |s| Duration::from_secs(s.max(1))),
            ..OidcConfig::new(self.issuer, self.audience)
        })
    }
}

fn read(file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    file.map(|file| std::fs::read(file).with_context(|| format!("reading {}", file.display()))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> anyhow::Result<Vec<OidcConfig>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("providers.yaml");
        std::fs::write(&file, text)?;
        let arguments = IdentityArguments { oidc_file: Some(file), ..IdentityArguments::default() };
        arguments.providers()
    }

    #[test]
    fn a_cluster_is_a_provider_whose_subjects_are_named() {
        let found = with_file(
            "providers:
  - issuer: https://kubernetes.default.svc
    audience: bulkhead
    subjects:
      system:serviceaccount:bulkhead:worker: { roles: [worker], slots: [pool-*] }
      system:serviceaccount:acme-ci:deployer: { tenant: acme, roles: [developer] }
",
        );
        let found = found.unwrap();
        let deployer = &found[0].subjects["system:serviceaccount:acme-ci:deployer"];
        assert_eq!(deployer.tenant.as_ref().map(TenantId::as_str), Some("acme"));
        let worker = &found[0].subjects["system:serviceaccount:bulkhead:worker"];
        assert_eq!((&worker.tenant, worker.slots.as_deref()), (&None, Some(&["pool-*".to_owned()][..])));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, words) in [
            ("providers: [{ issuer: https://a, audience: b, subject: c }]", "unknown field"),
            ("providers: [{ issuer: https://a }]", "missing field `audience`"),
            ("providers: [{ issuer: https://a, audience: b }, { issuer: https://a, audience: c }]", "named twice"),
            ("providers: [{ issuer: https://a, audience: b, subjects: { x: { roles: [king] } } }]", "king"),
        ] {
            let said = format!("{:#}", with_file(text).unwrap_err());
            assert!(said.contains(words), "{text}: {said}");
        }
        let off = IdentityArguments { embedded_issuer: Embedded::Off, ..IdentityArguments::default() };
        assert!(off.providers().unwrap_err().to_string().contains("--oidc-issuer"));
    }
}
