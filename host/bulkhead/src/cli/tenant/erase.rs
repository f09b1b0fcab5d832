//! `bulkhead tenant delete`, `erasure` and `verify-erasure`.
//!
//! Must never: believe a report that was not checked against a key that the user named or asked the server for.

use super::super::failure::Complaint;
use super::super::output::{self, cell};
use super::super::read_text;
use super::super::session::{Session, items};
use bulkhead_control::verify_report;
use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a deletion that is waited for is asked about.
const ASK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(super) struct Delete {
    name: TenantId,
    /// The name again, to show that it is meant
    #[arg(long, value_name = "NAME")]
    confirm: String,
    /// Wait until everything of it was looked for and not found
    #[arg(long)]
    wait: bool,
    /// How long to wait, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    wait_s: u64,
    /// Write the signed report there
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Which one; without it, all are listed
    id: Option<String>,
    /// Write the signed report there
    #[arg(long, value_name = "FILE", requires = "id")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The report
    file: PathBuf,
    /// That it is of this tenant, too
    #[arg(long, value_name = "NAME")]
    of: Option<TenantId>,
    /// A file with the server's key set, from `/.well-known/jwks.json`; without it, the server is asked
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Deletes a tenant.
pub(super) async fn delete(session: &Session, arguments: Delete) -> anyhow::Result<()> {
    let Delete { name, confirm, wait, wait_s, report } = arguments;
    if confirm != name.as_str() {
        let detail = format!("`--confirm {confirm}` is not the name `{name}`; nothing was deleted");
        return Err(Complaint::new(Code::LocalFailure, detail).into());
    }
    let mut erasure = session.delete(&format!("/api/v1/tenants/{name}")).await?;
    let until = Instant::now() + Duration::from_secs(wait_s);
    while wait && erasure["complete"] != json!(true) {
        if Instant::now() >= until {
            let left: Vec<String> = erasure["remaining"].as_array().into_iter().flatten().map(cell).collect();
            let detail =
                format!("the tenant is deleted; of its erasure {} remains: {}", cell(&erasure["id"]), left.join("; "));
            return Err(Complaint::new(Code::ErasureNotDone, detail).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
        // Never by the tenant's name, which would be written down anew.
        erasure = session.get(&path(&erasure)).await?;
    }
    keep(report.as_deref(), &erasure)?;
    let words = match erasure["complete"] == json!(true) {
        true => format!("deleted tenant {name}; erasure {} is complete", cell(&erasure["id"])),
        false => format!("deleted tenant {name}; erasure {} is under way", cell(&erasure["id"])),
    };
    session.done(&erasure, &words)
}

fn path(erasure: &Value) -> String {
    format!("/api/v1/erasures/{}", cell(&erasure["id"]))
}

/// Shows one erasure, or lists all.
pub(super) async fn show(session: &Session, arguments: Show) -> anyhow::Result<()> {
    let Some(id) = arguments.id else {
        let answer = session.list("/api/v1/erasures", &[], None).await?;
        let row = |e: &Value| vec![cell(&e["id"]), cell(&e["startedAt"]), cell(&e["finishedAt"]), cell(&e["by"])];
        let rows = items(&answer).iter().map(row).collect();
        return session.show(&answer, || output::table(&["ERASURE", "STARTED", "COMPLETE", "BY"], rows, "no erasures"));
    };
    let erasure = session.get(&format!("/api/v1/erasures/{id}")).await?;
    keep(arguments.report.as_deref(), &erasure)?;
    session.show(&erasure, || told(&erasure))
}

/// Checks a report.
pub(super) async fn verify(session: &impl Fn() -> anyhow::Result<Session>, arguments: Verify) -> anyhow::Result<()> {
    let report = read_text(&arguments.file)?;
    let keys: Value = match &arguments.keys {
        Some(file) => serde_json::from_str(&read_text(file)?)
            .map_err(|error| unproven(format!("{} is no key set: {error}", file.display())))?,
        None => session()?.get("/.well-known/jwks.json").await?,
    };
    let document = verify_report(&report, &keys, arguments.of.as_ref()).map_err(unproven)?;
    if document["complete"] != json!(true) {
        let left: Vec<String> = document["remaining"].as_array().into_iter().flatten().map(cell).collect();
        return Err(unproven(format!("it is signed, and says that the erasure was not complete: {}", left.join("; "))));
    }
    output::json(&document)
}

fn unproven(detail: String) -> anyhow::Error {
    Complaint::new(Code::ErasureUnproven, detail).into()
}

fn keep(file: Option<&Path>, erasure: &Value) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let report = erasure["report"].as_str().unwrap_or_default();
    std::fs::write(file, format!("{report}\n")).map_err(|error| {
        Complaint::new(Code::LocalFailure, format!("{} cannot be written: {error}", file.display())).into()
    })
}

fn told(erasure: &Value) -> anyhow::Result<()> {
    let counts = erasure["deleted"].as_object().into_iter().flatten().filter(|(_, count)| **count != json!(0));
    let deleted: Vec<String> = counts.map(|(kind, count)| format!("{count} {kind}")).collect();
    let looked: Vec<String> = erasure["verified"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| format!("{}: {}", cell(&l["what"]), cell(&l["how"])))
        .collect();
    let remaining: Vec<String> = erasure["remaining"].as_array().into_iter().flatten().map(cell).collect();
    output::fields(&[
        ("erasure", cell(&erasure["id"])),
        ("complete", cell(&erasure["complete"])),
        ("started", cell(&erasure["startedAt"])),
        ("finished", cell(&erasure["finishedAt"])),
        ("by", cell(&erasure["by"])),
        ("deleted", deleted.join(", ")),
        ("verified", looked.join("; ")),
        ("remaining", remaining.join("; ")),
    ])
}
