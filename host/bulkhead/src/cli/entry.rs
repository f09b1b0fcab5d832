//! `bulkhead config`: settings of a project that its pipelines' stages take with `configFrom`.
//!
//! Not to be confused with [`super::config`], the command line's own settings.
//! Must never: guess: a value that is no JSON is a text only where it is given as an argument.

use super::config::Connection;
use super::failure::Complaint;
use super::output::{self, cell};
use super::secret::{inherited_path, inherited_query};
use super::session::{Session, items};
use bulkhead_core::code::Code;
use bulkhead_core::name::EntryName;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the project's config entries
    List {
        /// Also those of the projects around it that it does not override: what its pipelines see
        #[arg(long)]
        inherited: bool,
    },
    /// Show a config entry
    Get {
        name: EntryName,
        /// Look in the projects around it too, the nearest first
        #[arg(long)]
        inherited: bool,
    },
    /// Set a config entry; pipelines take it when they are applied next
    Set {
        name: EntryName,
        /// JSON; what is none is a text
        #[arg(required_unless_present = "from_file")]
        value: Option<String>,
        /// A file with the value as JSON, instead
        #[arg(long, value_name = "FILE", conflicts_with = "value")]
        from_file: Option<PathBuf>,
    },
    /// Delete a config entry
    Delete { name: EntryName },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let path = |name: &EntryName| session.of_project(&format!("/config/{name}"));
    match arguments.verb {
        Verb::List { inherited } => {
            let answer = session.list(&session.of_project("/config")?, &inherited_query(inherited), None).await?;
            let rows = items(&answer).iter().map(row).collect();
            session.show(&answer, || output::table(&["NAME", "PROJECT", "VERSION", "VALUE"], rows, "no config entries"))
        }
        Verb::Get { name, inherited } => {
            let answer = session.get(&inherited_path(&path(&name)?, inherited)).await?;
            session.show(&answer, || output::line(&output::printable(&answer["value"].to_string())))
        }
        Verb::Set { name, value, from_file } => {
            let value = value_of(value, from_file)?;
            let answer = session.send(session.client.request(Method::PUT, &path(&name)?)?.json(&value)).await?;
            session.done(&answer, &format!("set config entry {name}, version {}", answer["version"]))
        }
        Verb::Delete { name } => {
            let answer = session.delete(&path(&name)?).await?;
            session.done(&answer, &format!("deleted config entry {name}"))
        }
    }
}

fn row(entry: &Value) -> Vec<String> {
    let field = |name: &str| cell(&entry[name]);
    let value = entry["value"].to_string();
    vec![field("name"), field("project"), field("version"), output::printable(&value).into_owned()]
}

fn value_of(value: Option<String>, file: Option<PathBuf>) -> anyhow::Result<Value> {
    match (value, file) {
        (_, Some(file)) => {
            let text = super::read_text(&file)?;
            let detail = |error| Complaint::new(Code::LocalFailure, format!("{} is not JSON: {error}", file.display()));
            Ok(serde_json::from_str(&text).map_err(detail)?)
        }
        (Some(text), None) => Ok(serde_json::from_str(&text).unwrap_or(Value::String(text))),
        (None, None) => Ok(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::value_of;
    use serde_json::json;

    #[test]
    fn an_argument_is_json_or_a_text() {
        let value = |text: &str| value_of(Some(text.to_owned()), None).unwrap();
        assert_eq!(value("15"), json!(15));
        assert_eq!(value(r#"{"a": [1]}"#), json!({"a": [1]}));
        assert_eq!(value("EUR"), json!("EUR"));
        assert_eq!(value(r#""15""#), json!("15"));
    }
}
