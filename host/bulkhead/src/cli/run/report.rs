//! What became of each record, as it becomes known; and the totals at the end.
//!
//! For programs, a JSON object a line: `{"record", "fuel", "outputs", "exception"}` for each record, `{"log"}` for a line that the stage
//! wrote, `{"totals"}` at the end. `bulkhead-sandbox` reads it.
//! Must never: show bytes as if they were text.

use crate::cli::output::{self, Format, bold, printable, red, size};
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::GuestFault;
use bulkhead_engine::{GuestLog, Level};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Characters of a value that are shown to people.
const SHOWN_CHARS: usize = 100;

/// What all runs took.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Fuel of all runs, those that failed included.
    pub(super) fuel: u64,
    /// Fuel of starting instances.
    pub(super) init_fuel: u64,
    /// The most memory that an instance held.
    pub(super) memory_bytes: usize,
}

/// A record that was not handled.
pub(super) struct Exception {
    /// Whether it is to be tried again.
    pub(super) retry: bool,
    /// Why.
    pub(super) fault: GuestFault,
}

/// See the module's documentation.
pub(super) struct Report {
    format: Format,
    ports: Vec<String>,
    records: u64,
    outputs: u64,
    dead_letters: u64,
    retries: u64,
    fuel: u64,
}

impl Report {
    /// A report on a stage with these outputs.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn new(format: Format, ports: Vec<String>) -> anyhow::Result<Self> {
        if format == Format::Table {
            output::line(&bold("RECORD        FUEL  BECAME"))?;
        }
        Ok(Self { format, ports, records: 0, outputs: 0, dead_letters: 0, retries: 0, fuel: 0 })
    }

    /// Where the stage's lines go.
    pub(super) fn log(&self) -> Arc<dyn GuestLog> {
        Arc::new(Lines(self.format))
    }

    /// Fuel in all, of starting instances too. Known at the end.
    pub(super) fn fuel(&self) -> u64 {
        self.fuel
    }

    /// What became of one record: row `row` of `batch`.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn record(
        &mut self,
        place: usize,
        fuel: Option<u64>,
        batch: &RecordBatch,
        row: usize,
        outputs: &Outputs,
        exception: Option<Exception>,
    ) -> anyhow::Result<()> {
        // What a stage emitted for a record that it then rejected is taken back.
        let rows = (0..outputs.len()).filter(|i| outputs.source[*i] as usize == row && exception.is_none());
        let outputs: Vec<Value> = rows.map(|i| self.output(batch, outputs, i)).collect();
        self.records += 1;
        self.outputs += outputs.len() as u64;
        if let Some(exception) = &exception {
            *(if exception.retry { &mut self.retries } else { &mut self.dead_letters }) += 1;
        }
        match self.format {
            Format::Json => output::json(&json!({
                "record": place, "fuel": fuel, "outputs": outputs, "exception": exception.as_ref().map(exception_json),
            })),
            Format::Table => people(place, fuel, &outputs, exception.as_ref()),
        }
    }

    fn output(&self, batch: &RecordBatch, outputs: &Outputs, i: usize) -> Value {
        let mut output = Map::new();
        let to = self.ports.get(usize::from(outputs.to[i])).map(String::as_str).unwrap_or_default();
        output.insert("to".to_owned(), to.into());
        put(&mut output, "key", outputs.key(i, batch));
        put(&mut output, "value", outputs.values.get(i));
        let headers: Vec<Value> = outputs
            .headers(i, batch)
            .map(|(name, value)| {
                let mut header = Map::new();
                header.insert("name".to_owned(), String::from_utf8_lossy(name).into());
                put(&mut header, "value", value);
                header.into()
            })
            .collect();
        output.insert("headers".to_owned(), headers.into());
        output.insert("timestamp".to_owned(), outputs.timestamp(i, batch).into());
        output.into()
    }

    /// The totals.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn end(&mut self, totals: &Totals) -> anyhow::Result<()> {
        self.fuel = totals.fuel + totals.init_fuel;
        let Self { records, outputs, dead_letters, retries, .. } = self;
        let Totals { fuel, init_fuel, memory_bytes } = totals;
        if self.format == Format::Json {
            return output::json(&json!({"totals": {
                "records": records, "outputs": outputs, "deadLetters": dead_letters, "retries": retries,
                "fuel": fuel, "initFuel": init_fuel, "memoryBytes": memory_bytes,
            }}));
        }
        let each = fuel / (*records).max(1);
        output::line(&format!(
            "\n{}, {}, {}, {retries} to be tried again",
            output::count(*records, "record"),
            output::count(*outputs, "output"),
            output::count(*dead_letters, "dead letter"),
        ))?;
        let memory = size(*memory_bytes as u64);
        output::line(&format!("fuel {fuel}, {each} a record; {init_fuel} to start; memory {memory}"))
    }
}

fn put(into: &mut Map<String, Value>, name: &str, cell: Option<&[u8]>) {
    use base64::Engine;
    let (name, value) = match cell.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (name.to_owned(), Value::Null),
        Some((_, Ok(text))) => (name.to_owned(), text.into()),
        Some((bytes, Err(_))) => {
            (format!("{name}Base64"), base64::engine::general_purpose::STANDARD.encode(bytes).into())
        }
    };
    into.insert(name, value);
}

fn exception_json(exception: &Exception) -> Value {
    let GuestFault { kind, message, backtrace } = &exception.fault;
    json!({
        "action": if exception.retry { "retry" } else { "deadLetter" },
        "code": kind.code(), "kind": kind.as_str(), "reason": message, "backtrace": backtrace,
    })
}

fn people(place: usize, fuel: Option<u64>, outputs: &[Value], exception: Option<&Exception>) -> anyhow::Result<()> {
    let fuel = fuel.map(|fuel| fuel.to_string()).unwrap_or_default();
    let mut lines: Vec<String> = outputs
        .iter()
        .map(|output| {
            let value: String = crate::cli::records::field(output, "value").chars().take(SHOWN_CHARS).collect();
            format!("{}: {value}", printable(output["to"].as_str().unwrap_or_default()))
        })
        .collect();
    if let Some(Exception { retry, fault }) = exception {
        let what = if *retry { "to be tried again" } else { "dead letter" };
        let code = fault.kind.code();
        lines.push(format!("{} {code} {}: {}", red(what), fault.kind, printable(&fault.message)));
        lines.extend(fault.backtrace.iter().map(|frame| format!("  at {}", printable(frame))));
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    output::line(&format!("{place:>6}  {fuel:>10}  {}", lines[0]))?;
    lines[1..].iter().try_for_each(|line| output::line(&format!("{:20}{line}", "")))
}

/// A stage's lines: among the JSON for programs, on standard error for people.
struct Lines(Format);

impl GuestLog for Lines {
    fn write(&self, level: Level, message: &str) {
        let name = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        // A closed output is told by the next record.
        match self.0 {
            Format::Json => _ = output::json(&json!({"log": {"level": name, "message": message}})),
            Format::Table => anstream::eprintln!("{} {}", bold(&format!("{name:5}")), printable(message)),
        }
    }
}
