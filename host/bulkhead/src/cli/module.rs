//! `bulkhead module`: uploading a stage's component, and its tags.
//!
//! An upload carries the digest of its bytes, so that what control stores is what was read here.
//! Must never: upload a file that is too large to be taken without saying so first.

use super::config::Connection;
use super::output::{self, cell, short_digest, size};
use super::progress;
use super::session::{Session, items, with_query};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::manifest::ModuleRef;
use bulkhead_core::name::{ModuleDigest, ModuleName};
use bytes::Bytes;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How long an upload may take, control's check and compilation included.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of an upload that are handed on at once: what the progress bar moves by.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Upload a component under a name and a tag
    Push {
        /// The .wasm file, built for wasm32-wasip2
        file: PathBuf,
        /// NAME:TAG, for instance shout:v1
        #[arg(value_parser = name_and_tag)]
        name: NameTag,
    },
    /// List the project's modules
    List,
    /// Delete a name with its tags, or one module by its digest
    Delete {
        /// NAME or sha256:…
        #[arg(value_parser = module_or_digest)]
        module: String,
    },
    /// Point a tag at a module that is there
    Tag {
        /// NAME:TAG or sha256:…
        source: ModuleRef,
        /// NAME:TAG
        #[arg(value_parser = name_and_tag)]
        name: NameTag,
    },
}

/// A tag of a name; a tag has to be said where something is changed.
#[derive(Debug, Clone)]
struct NameTag {
    name: ModuleName,
    tag: ModuleName,
}

impl std::fmt::Display for NameTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

fn name_and_tag(text: &str) -> Result<NameTag, String> {
    let (name, tag) = text.split_once(':').ok_or("write it as NAME:TAG, for instance shout:v1")?;
    let part = |part: &str| part.parse::<ModuleName>().map_err(|error| error.to_string());
    Ok(NameTag { name: part(name)?, tag: part(tag)? })
}

fn module_or_digest(text: &str) -> Result<String, String> {
    let checked = match text.starts_with("sha256:") {
        true => text.parse::<ModuleDigest>().map(|digest| digest.to_string()),
        false => text.parse::<ModuleName>().map(|name| name.to_string()),
    };
    checked.map_err(|error| error.to_string())
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    match arguments.verb {
        Verb::Push { file, name } => push(&session, &file, &name).await,
        Verb::List => {
            let answer = session.list(&session.of_project("/modules")?, &[], None).await?;
            let rows = items(&answer).iter().map(row).collect();
            let headings = ["DIGEST", "TAGS", "SIZE", "UPLOADED", "BY"];
            session.show(&answer, || output::table(&headings, rows, "no modules; `bulkhead module push` uploads one"))
        }
        Verb::Delete { module } => {
            let answer = session.delete(&session.of_project(&format!("/modules/{module}"))?).await?;
            session.done(&answer, &format!("deleted module {module}"))
        }
        Verb::Tag { source, name } => {
            let digest = digest_of(&session, &source).await?;
            let path = session.of_project(&format!("/modules/{}/tags/{}", name.name, name.tag))?;
            let body = json!({"digest": digest});
            let answer = session.send(session.client.request(Method::PUT, &path)?.json(&body)).await?;
            session.done(&answer, &format!("{name} is {digest}"))
        }
    }
}

async fn push(session: &Session, file: &std::path::Path, name: &NameTag) -> anyhow::Result<()> {
    let bytes = super::read_bytes(file)?;
    let digest = ModuleDigest::of(&bytes);
    let length = bytes.len();
    let path = with_query(&session.of_project(&format!("/modules/{}", name.name))?, &[("tag", name.tag.to_string())]);
    let bar = progress::bytes(length as u64, "uploading");
    let moving = bar.clone();
    let mut rest = Bytes::from(bytes);
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        moving.inc(piece.len() as u64);
        if rest.is_empty() {
            // Sent, but far from done: control compiles it before it answers.
            moving.set_message("checking and compiling");
        }
        (!piece.is_empty()).then_some(Ok::<_, std::io::Error>(piece))
    });
    let request = session
        .client
        .request(Method::PUT, &path)?
        .timeout(UPLOAD_TIMEOUT)
        .header("content-type", "application/wasm")
        .header("content-length", length)
        .header("repr-digest", format!("sha-256=:{}:", STANDARD.encode(digest.as_bytes())))
        .body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    let answer = session.send(request).await;
    bar.finish_and_clear();
    session.done(&answer?, &format!("pushed {name}, {}, {digest}", size(length as u64)))
}

/// The digest that a source names, asked of control where it is a tag.
async fn digest_of(session: &Session, source: &ModuleRef) -> anyhow::Result<String> {
    match source {
        ModuleRef::Digest(digest) => Ok(digest.to_string()),
        ModuleRef::Tag(name, tag) => {
            let answer = session.get(&session.of_project(&format!("/modules/{name}/tags/{tag}"))?).await?;
            Ok(cell(&answer["digest"]))
        }
    }
}

fn row(module: &Value) -> Vec<String> {
    let tags: Vec<String> = module["tags"].as_array().into_iter().flatten().map(cell).collect();
    vec![
        short_digest(&cell(&module["digest"])),
        tags.join(" "),
        module["bytes"].as_u64().map(size).unwrap_or_default(),
        cell(&module["uploadedAt"]),
        cell(&module["uploadedBy"]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_told_how_to_write_it() {
        assert_eq!(name_and_tag("shout:v1").unwrap().to_string(), "shout:v1");
        assert!(name_and_tag("shout").unwrap_err().contains("NAME:TAG"));
        assert!(name_and_tag("Shout:v1").is_err());
        assert!(module_or_digest("a/b").is_err());
        assert!(module_or_digest("sha256:12").is_err());
    }
}
