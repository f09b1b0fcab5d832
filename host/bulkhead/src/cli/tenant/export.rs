//! `bulkhead tenant export` and `verify-export`.
//!
//! The file appears under its name when it is there whole and was checked; until then it is `FILE.part`.
//! Must never: call a file whole that was not read again to its end.

use super::super::failure::Complaint;
use super::super::output;
use super::super::session::Session;
use crate::client::accepted;
use anyhow::Context;
use bulkhead_control::check_export;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use clap::Args;
use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an export may take.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Which tenant; without a name, the token's
    name: Option<TenantId>,
    /// The file, made for its owner alone
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Leave the records of topics out
    #[arg(long)]
    no_records: bool,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The exported file
    file: PathBuf,
}

/// Exports a tenant.
pub(super) async fn export(session: &Session, arguments: Export) -> anyhow::Result<()> {
    let query = if arguments.no_records { "?records=false" } else { "" };
    let path = format!("{}/export{query}", super::at(session, arguments.name.as_ref())?);
    let request = session.client.request(Method::GET, &path)?.timeout(EXPORT_TIME_MAX);
    let mut chunks = accepted(request.send().await?).await?.bytes_stream();
    let mut part = arguments.to.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("making {}", part.display()))?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| broken(format!("the connection ended before the export did: {error}")))?;
        file.write_all(&chunk).with_context(|| format!("writing {}", part.display()))?;
    }
    file.sync_all()?;
    let end = check(&part)?;
    std::fs::rename(&part, &arguments.to).with_context(|| format!("making {}", arguments.to.display()))?;
    let words = format!("exported {} lines to {}", end["lines"], arguments.to.display());
    session.done(&end, &words)
}

/// Checks an exported file.
pub(super) fn verify(arguments: &Verify) -> anyhow::Result<()> {
    output::json(&check(&arguments.file)?)
}

/// The last line of an export that is whole.
fn check(path: &Path) -> anyhow::Result<Value> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    check_export(&mut BufReader::new(file)).map_err(broken)
}

fn broken(detail: String) -> anyhow::Error {
    Complaint::new(Code::ExportBroken, format!("the export is not whole: {detail}")).into()
}
