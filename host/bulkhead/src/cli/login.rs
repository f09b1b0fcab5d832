//! `bulkhead login` and `bulkhead whoami`: which token speaks to which server.
//!
//! Must never: take a token as an argument, where every user of the machine can read it; or store one that the server refuses.

use super::config::{self, Connection, Settings};
use super::failure::Complaint;
use super::output::{self, cell};
use super::session::Session;
use crate::client::{Client, TokenSource, accepted};
use bulkhead_core::code::Code;
use clap::Args;
use reqwest::Method;
use serde_json::Value;
use std::io::{BufRead, IsTerminal};

/// Who a token is.
const WHOAMI: &str = "/api/v1/whoami";

/// Stores the token for a server in the config file (mode 0600), after the server has taken it, and makes the server and
/// the token's tenant the default.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
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

/// Runs `login`. The token comes from --token-file, BULKHEAD_TOKEN or standard input.
///
/// # Errors
/// Where there is no token, the server refuses it, or the config file cannot be written.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let settings = Settings::of(&arguments.connection)?;
    let server = arguments.address.as_deref().map_or_else(|| Ok(settings.server.clone()), config::normal)?;
    let token = match (&arguments.connection.token_file, config::token_of_environment()) {
        (Some(file), _) => super::read_text(file)?,
        (None, Some(token)) => token,
        (None, None) => ask(&server)?,
    };
    let token = token.trim();
    if token.is_empty() {
        let detail = "there was no token to read; pipe it in, or name a file with --token-file";
        return Err(Complaint::new(Code::TokenNotStored, detail).into());
    }
    let client = Client::new(&server, TokenSource::Fixed(token.to_owned()), &settings.authorities()?)?;
    // Only a token that the server takes is stored.
    let who: Value = accepted(client.request(Method::GET, WHOAMI)?.send().await?).await?.json().await?;
    let path = config::path(&arguments.connection)?;
    config::store(&path, &server, who["tenant"].as_str(), token, settings.ca.as_deref())?;
    if settings.output == output::Format::Json {
        return output::json(&who);
    }
    output::line(&format!("logged in to {server}; the token is in {}", path.display()))?;
    show(&who)
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
