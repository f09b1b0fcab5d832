//! `bulkhead secret`: passwords, keys and tokens of a project, which stages are granted by name.
//!
//! A value comes from a file or from standard input and is never shown again.
//! Must never: take a value as an argument, where other users of this machine can read it, or print one.

use super::config::Connection;
use super::failure::Complaint;
use super::output::{self, cell};
use super::session::{Session, items, with_query};
use bulkhead_core::code::Code;
use bulkhead_core::limits::SECRET_BYTES_MAX;
use bulkhead_core::name::EntryName;
use bulkhead_core::secret::{SecretValue, Secrets};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the project's secrets: names, versions, who set them and when
    List {
        /// Also those of the projects around it that it does not override
        #[arg(long)]
        inherited: bool,
    },
    /// Set a secret; pipelines that run go on with the new value
    Set {
        name: EntryName,
        /// The file with the value, byte for byte, or `-` for standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        from_file: PathBuf,
    },
    /// Delete a secret that no pipeline needs
    Delete { name: EntryName },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::List { inherited } => {
            let query = inherited_query(inherited);
            let answer = session.list(&session.of_project("/secrets")?, &query, None).await?;
            let fields = ["name", "project", "version", "updatedAt", "updatedBy"];
            let row = |secret: &Value| fields.map(|field| cell(&secret[field])).to_vec();
            let rows = items(&answer).iter().map(row).collect();
            let headings = ["SECRET", "PROJECT", "VERSION", "SET", "BY"];
            session.show(&answer, || output::table(&headings, rows, "no secrets"))
        }
        Verb::Set { name, from_file } => {
            let value = read(&from_file)?;
            let path = session.of_project(&format!("/secrets/{name}"))?;
            let request = session.client.request(Method::PUT, &path)?;
            let request = request.header("content-type", "application/octet-stream").body(value.to_vec());
            let answer = session.send(request).await?;
            session.done(&answer, &format!("set secret {name}, version {}", answer["version"]))
        }
        Verb::Delete { name } => {
            let answer = session.delete(&session.of_project(&format!("/secrets/{name}"))?).await?;
            session.done(&answer, &format!("deleted secret {name}"))
        }
    }
}

/// The query of a list that may show what is inherited.
pub(super) fn inherited_query(inherited: bool) -> Vec<(&'static str, String)> {
    if inherited { vec![("inherited", "true".to_owned())] } else { Vec::new() }
}

/// The path with `inherited` where that is asked for.
pub(super) fn inherited_path(path: &str, inherited: bool) -> String {
    with_query(path, &inherited_query(inherited))
}

/// A value from a file or from standard input.
fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if file != Path::new("-") {
        return Ok(Zeroizing::new(super::read_bytes(file)?));
    }
    let mut value = Zeroizing::new(Vec::new());
    // One more than is allowed, so that control says what is wrong with it.
    let read = std::io::stdin().take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut value);
    read.map_err(|error| Complaint::new(Code::LocalFailure, format!("standard input cannot be read: {error}")))?;
    Ok(value)
}

/// `NAME=FILE`: a secret for a run on this machine.
#[derive(Debug, Clone)]
pub(crate) struct SecretFile {
    name: EntryName,
    file: PathBuf,
}

impl FromStr for SecretFile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("write NAME=FILE")?;
        let name = name.parse().map_err(|error: bulkhead_core::name::NameError| error.to_string())?;
        Ok(Self { name, file: file.into() })
    }
}

/// The values in these files.
///
/// # Errors
/// [`Code::LocalFailure`] where one cannot be read.
pub(crate) fn read_secrets(files: &[SecretFile]) -> anyhow::Result<Secrets> {
    files.iter().map(|secret| Ok((secret.name.clone(), SecretValue::new(super::read_bytes(&secret.file)?)))).collect()
}
