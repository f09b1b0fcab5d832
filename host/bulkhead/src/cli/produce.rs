//! `bulkhead produce`: records into a topic, from standard input or a file.
//!
//! Lines are sent as they come: a request takes what is there, so `tail -f | bulkhead produce` does not wait for a full one, and a
//! file goes in large requests. What was accepted is said in any case.
//! Must never: send a line twice by itself; after a failure it says how many were accepted, and `--skip` goes on from there.

use super::config::Connection;
use super::failure::Complaint;
use super::output;
use super::progress;
use super::session::Session;
use crate::client::Refused;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::name::TopicName;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use tokio::sync::mpsc::{Receiver, channel};

/// Records of one request at most.
const REQUEST_RECORDS: usize = 5_000;
/// Bytes at which a request is full.
const REQUEST_BYTES: usize = 1 << 20;
/// Lines read ahead.
const LINES_AHEAD: usize = 10_000;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    topic: TopicName,
    /// Read this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Each line is a JSON object with key, value, headers and timestamp; otherwise a line is a value
    #[arg(long, conflicts_with_all = ["key", "headers"])]
    ndjson: bool,
    /// The key of every record
    #[arg(long)]
    key: Option<String>,
    /// A header of every record; can be given again
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = name_and_value)]
    headers: Vec<(String, String)>,
    /// Leave out so many lines first: those that an earlier run had accepted
    #[arg(long, default_value_t = 0, value_name = "LINES")]
    skip: usize,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

type Lines = Receiver<std::io::Result<Vec<u8>>>;

/// Runs the command.
///
/// # Errors
/// Control's, with how many records were accepted before; those of reading.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let path = session.of_tenant(&format!("/topics/{}/records", arguments.topic))?;
    let mut lines = read(arguments.file.clone())?;
    let bar = progress::records("written");
    let (mut accepted, mut skip) = (0, arguments.skip);
    while let Some(body) = next_request(&mut lines, &arguments, &mut skip).await? {
        let request = session.client.request(Method::POST, &path)?.header("content-type", "application/x-ndjson");
        match session.send(request.body(body)).await {
            Ok(answer) => accepted += taken(&answer),
            Err(error) => {
                bar.finish_and_clear();
                return Err(after(error, accepted, arguments.skip));
            }
        }
        bar.set_position(accepted);
    }
    bar.finish_and_clear();
    let answer = json!({"accepted": accepted});
    session.show(&answer, || {
        output::line(&format!("{} written to {}", output::count(accepted, "record"), arguments.topic))
    })
}

/// How many records an answer says were written.
fn taken(answer: &Value) -> u64 {
    answer["accepted"].as_u64().unwrap_or_default()
}

/// A failure, with what was written before it and how to go on.
fn after(error: anyhow::Error, before: u64, skipped: usize) -> anyhow::Error {
    let accepted = before + error.downcast_ref::<Refused>().map_or(0, |refused| taken(&refused.problem));
    if accepted == 0 {
        return error;
    }
    let from_start = accepted + skipped as u64;
    error.context(format!("{accepted} records were accepted; mend what follows and go on with --skip {from_start}"))
}

/// Reads lines on a thread of its own: a terminal or a pipe may have none for long.
fn read(file: Option<PathBuf>) -> anyhow::Result<Lines> {
    let input: Box<dyn BufRead + Send> = match file {
        None => Box::new(BufReader::new(std::io::stdin())),
        Some(file) => match std::fs::File::open(&file) {
            Ok(opened) => Box::new(BufReader::new(opened)),
            Err(error) => return Err(super::unreadable(&file, &error)),
        },
    };
    let (send, receive) = channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in input.split(b'\n') {
            let last = line.is_err();
            if send.blocking_send(line).is_err() || last {
                break;
            }
        }
    });
    Ok(receive)
}

/// The lines that are there as a request's body, one at least; `None` at the end.
async fn next_request(lines: &mut Lines, how: &Arguments, skip: &mut usize) -> anyhow::Result<Option<Vec<u8>>> {
    let (mut body, mut records) = (Vec::new(), 0);
    let mut next = lines.recv().await;
    while let Some(line) = next {
        let mut line = line.map_err(|error| Complaint::new(Code::LocalFailure, format!("reading: {error}")))?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if *skip > 0 {
            *skip -= 1;
        } else {
            append(&mut body, line, how);
            records += 1;
        }
        if records == REQUEST_RECORDS || body.len() >= REQUEST_BYTES {
            break;
        }
        next = if records == 0 { lines.recv().await } else { lines.try_recv().ok() };
    }
    Ok((records > 0).then_some(body))
}

fn append(body: &mut Vec<u8>, line: Vec<u8>, how: &Arguments) {
    if how.ndjson {
        body.extend_from_slice(&line);
    } else {
        body.extend_from_slice(record(line, how).to_string().as_bytes());
    }
    body.push(b'\n');
}

/// A line as a record.
fn record(line: Vec<u8>, how: &Arguments) -> Value {
    let mut record = Map::new();
    match String::from_utf8(line) {
        Ok(text) => record.insert("value".to_owned(), text.into()),
        Err(bytes) => record.insert("valueBase64".to_owned(), STANDARD.encode(bytes.into_bytes()).into()),
    };
    if let Some(key) = &how.key {
        record.insert("key".to_owned(), key.as_str().into());
    }
    if !how.headers.is_empty() {
        let headers = how.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
        record.insert("headers".to_owned(), headers.collect());
    }
    record.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(words: &[&str]) -> Arguments {
        Line::parse_from([&["produce", "topic"], words].concat()).arguments
    }

    #[test]
    fn a_line_is_a_value_with_what_every_record_has() {
        let how = arguments(&["--key", "k", "--header", "a=b=c"]);
        assert_eq!(
            record(b"text".to_vec(), &how),
            json!({"value": "text", "key": "k", "headers": [{"name": "a", "value": "b=c"}]})
        );
        assert_eq!(record(vec![0xff], &arguments(&[])), json!({"valueBase64": "/w=="}));
    }

    #[tokio::test]
    async fn requests_take_what_is_there_and_leave_out_what_was_accepted() {
        let (send, mut lines) = channel(10);
        for line in ["one", "two\r", "three"] {
            send.send(Ok(line.as_bytes().to_vec())).await.unwrap();
        }
        drop(send);
        let how = arguments(&["--ndjson"]);
        let body = next_request(&mut lines, &how, &mut 1).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), "two\nthree\n");
        assert!(next_request(&mut lines, &how, &mut 0).await.unwrap().is_none());
    }

    #[test]
    fn a_failure_says_what_was_accepted_and_how_to_go_on() {
        let problem = json!({"accepted": 7, "code": "BH0031", "detail": "line 8"});
        let refused = Refused { status: reqwest::StatusCode::BAD_REQUEST, problem };
        let said = after(refused.into(), 10_000, 5).to_string();
        assert!(said.contains("10007 records were accepted") && said.contains("--skip 10012"), "{said}");
    }
}
