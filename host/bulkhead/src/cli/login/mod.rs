//! `bulkhead login`, `logout` and `whoami`: which token speaks to which server.
//!
//! A token is given ([`run`] reads it), or comes from the identity provider that the server names: in a browser, by a code on another
//! device, or for a machine's own client.
//! Must never: take a token or a secret as an argument, where every user of the machine can read it; or store a token that
//! the server refuses.

mod browser;
mod device;
mod provider;
mod renew;

pub(crate) use renew::{if_due as renew_if_due, source};

use super::config::{self, Connection, Settings};
use super::failure::Complaint;
use super::output::{self, cell};
use super::session::Session;
use crate::client::{Client, TokenSource};
use bulkhead_core::code::Code;
use clap::Args;
use oauth2::Scope;
use provider::{Gained, Provider};
use serde_json::Value;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

/// Who a token is.
const WHOAMI: &str = "/api/v1/whoami";

/// Logs in at the server's identity provider, or stores a token that somebody else made. The token is kept in the config file (mode
/// 0600) after the server has taken it, and the server and the token's tenant become the default.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server, for instance `https://bulkhead.example.com`
    #[arg(value_name = "SERVER")]
    pub(crate) address: Option<String>,
    /// Log in at the server's identity provider, in a browser on this machine
    #[arg(long, group = "way")]
    browser: bool,
    /// Log in there by a code that is entered on another device, for terminals without a browser
    #[arg(long, group = "way")]
    device: bool,
    /// Log in there as a machine: a client with a secret, for CI systems
    #[arg(long, group = "way", requires = "client_id", requires = "client_secret_file")]
    client_credentials: bool,
    /// The client to introduce oneself as [default: what the server says]
    #[arg(long, value_name = "NAME", requires = "way", env = "BULKHEAD_CLIENT_ID", hide_env_values = true)]
    client_id: Option<String>,
    /// File with the client's secret, with --client-credentials
    #[arg(long, value_name = "FILE", env = "BULKHEAD_CLIENT_SECRET_FILE", hide_env_values = true)]
    client_secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Ends a login: at the identity provider, where it came from there, and in the config file.
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The server, for instance `https://bulkhead.example.com`
    #[arg(value_name = "SERVER")]
    pub(crate) address: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Who {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Runs `login`. The token comes from the identity provider, or from --token-file, BULKHEAD_TOKEN or standard input.
///
/// # Errors
/// Where there is no token, the server refuses it, or the config file cannot be written.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let settings = Settings::of(&arguments.connection)?;
    let server = arguments.address.as_deref().map_or_else(|| Ok(settings.server.clone()), config::normal)?;
    let authorities = settings.authorities()?;
    let gained = match arguments.by_provider() {
        true => Some(at_provider(arguments, &settings, &server).await?),
        false => None,
    };
    let token = match gained.as_ref() {
        Some(gained) => gained.token.clone(),
        None => given(arguments, &server)?,
    };
    let client = Client::new(&server, TokenSource::Fixed(token.clone()), &authorities)?;
    // Only a token that the server takes is stored.
    let who = provider::who(&client).await?;
    let path = config::path(&arguments.connection)?;
    let login = gained.as_ref().map(|gained| &gained.login);
    config::store(&path, &server, who["tenant"].as_str(), &token, login, settings.ca.as_deref())?;
    if settings.output == output::Format::Json {
        return output::json(&who);
    }
    output::line(&format!("logged in to {server}; the token is in {}", path.display()))?;
    show(&who)
}

impl Arguments {
    fn by_provider(&self) -> bool {
        self.browser || self.device || self.client_credentials
    }
}

/// A token of the server's identity provider.
async fn at_provider(arguments: &Arguments, settings: &Settings, server: &str) -> anyhow::Result<Gained> {
    let anybody = Client::new(server, TokenSource::Fixed(String::new()), &settings.authorities()?)?;
    let provider = Provider::offered_by(&anybody, settings, arguments.client_id.as_deref()).await?;
    match &arguments.client_secret_file {
        Some(file) if arguments.client_credentials => {
            let flows = provider.flows(Some(super::read_text(file)?.trim().to_owned()))?;
            let request =
                flows.exchange_client_credentials().add_scopes(provider.scopes.iter().cloned().map(Scope::new));
            let answer = request.request_async(&provider.http).await.map_err(|error| provider.failed(error))?;
            Ok(provider.gained(&answer, None))
        }
        _ if arguments.device => device::login(&provider).await,
        _ => browser::login(&provider).await,
    }
}

/// A token that somebody else made.
fn given(arguments: &Arguments, server: &str) -> anyhow::Result<String> {
    let token = match (&arguments.connection.token_file, config::token_of_environment()) {
        (Some(file), _) => super::read_text(file)?,
        (None, Some(token)) => token,
        (None, None) => ask(server)?,
    };
    let token = token.trim();
    if token.is_empty() {
        let detail = "there was no token to read; pipe it in, or name a file with --token-file";
        return Err(Complaint::new(Code::TokenNotStored, detail).into());
    }
    Ok(token.to_owned())
}

/// Runs `logout`.
///
/// # Errors
/// Where the config file cannot be read or written. A provider that does not answer is only told of: the token is gone here.
pub(crate) async fn logout(arguments: &Logout) -> anyhow::Result<()> {
    let mut connection = arguments.connection.clone();
    connection.server = arguments.address.clone().or(connection.server);
    let settings = Settings::of(&connection)?;
    let path = config::path(&connection)?;
    let (server, login) = (&settings.server, config::forget(&path, &settings.server)?);
    let mut words = format!("logged out of {server}");
    if let Some((login, refresh)) = login.and_then(|login| login.refresh.clone().map(|refresh| (login, refresh))) {
        let revoked = match Provider::found(&login.issuer, &login.client, &settings).await {
            Ok(provider) => provider.revoke(&refresh).await,
            Err(error) => Err(error),
        };
        if let Err(error) = revoked {
            words += &format!("; at {} the login goes on until it ends by itself: {error}", login.issuer);
        }
    }
    match settings.output {
        output::Format::Json => output::json(&serde_json::json!({"server": server})),
        output::Format::Table => output::line(&words),
    }
}

/// A token from standard input, without showing it where that is a terminal.
fn ask(server: &str) -> anyhow::Result<String> {
    let input = std::io::stdin();
    let hidden = input.is_terminal().then(|| {
        eprint!("Token for {server}: ");
        Hidden::begin()
    });
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    if hidden.is_some() {
        eprintln!();
    }
    Ok(line)
}

/// The terminal shows nothing that is typed while this lives.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // A terminal that cannot be silenced still takes the token.
        _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}

/// Runs `whoami`.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn whoami(arguments: &Who) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let who = session.get(WHOAMI).await?;
    session.show(&who, || {
        output::fields(&[("server", session.server().to_owned())])?;
        show(&who)
    })
}

fn show(who: &Value) -> anyhow::Result<()> {
    let roles: Vec<String> = who["roles"].as_array().into_iter().flatten().map(cell).collect();
    output::fields(&[
        ("subject", cell(&who["subject"])),
        ("tenant", cell(&who["tenant"])),
        ("roles", roles.join(", ")),
        ("expires", cell(&who["expiresAt"])),
    ])
}
