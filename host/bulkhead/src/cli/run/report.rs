//! What became of each record, as it becomes known; and the totals at the end.
//!
//! For programs, a JSON object a line: `{"record", "fuel", "outputs", "exception"}` for each record, `{"tick", "fuel", "outputs", "exception"}`
//! for each tick, `{"log"}` for a line that the stage wrote, `{"state"}` for each entry that it keeps where that was asked for, `{"totals"}` at
//! the end. `bulkhead-sandbox` reads it. People see only ticks that did something.
//! Must never: show bytes as if they were text.

use super::clock::Moment;
use crate::cli::output::{self, Format, bold, printable, red, size};
use bulkhead_core::columns::{Outputs, RecordBatch};
use bulkhead_core::fault::GuestFault;
use bulkhead_engine::{GuestLog, Level};
use bulkhead_flow::LocalStores;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Characters of a value that are shown to people.
const SHOWN_CHARS: usize = 100;

/// What all runs took.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Fuel of all runs on records, those that failed included.
    pub(super) fuel: u64,
    /// Ticks, those that failed included, and their fuel.
    pub(super) ticks: u64,
    pub(super) tick_fuel: u64,
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
            Format::Table => people(&place.to_string(), fuel, &outputs, exception.as_ref()),
        }
    }

    /// What a tick did.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(super) fn tick(
        &mut self,
        moment: Moment,
        fuel: u64,
        outputs: &Outputs,
        fault: Option<GuestFault>,
    ) -> anyhow::Result<()> {
        let mut at = RecordBatch { topic: moment.input, partition: moment.partition, ..RecordBatch::default() };
        at.push(-1, moment.now, None, None, []);
        let outputs: Vec<Value> = (0..outputs.len()).map(|i| self.output(&at, outputs, i)).collect();
        self.outputs += outputs.len() as u64;
        let exception = fault.map(|fault| Exception { retry: true, fault });
        match self.format {
            Format::Json => output::json(&json!({
                "tick": moment, "fuel": fuel, "outputs": outputs, "exception": exception.as_ref().map(exception_json),
            })),
            Format::Table if outputs.is_empty() && exception.is_none() => Ok(()),
            Format::Table => people("tick", Some(fuel), &outputs, exception.as_ref()),
        }
    }

    /// What the state holds.
    ///
    /// # Errors
    /// Where standard output is closed, or the state cannot be read.
    pub(super) fn state(&self, stores: &LocalStores) -> anyhow::Result<()> {
        if self.format == Format::Table {
            output::line(&bold("\nINPUT  PARTITION  KEPT"))?;
        }
        for (input, partition, store) in stores.iter() {
            let mut last = None;
            loop {
                let page = store.after(last.as_deref()).map_err(|fault| super::local::complaint(&fault.into()))?;
                for (key, value) in &page {
                    let mut entry = Map::new();
                    put(&mut entry, "key", Some(key));
                    put(&mut entry, "value", Some(value));
                    match self.format {
                        Format::Json => {
                            entry.extend([
                                ("input".to_owned(), input.into()),
                                ("partition".to_owned(), partition.into()),
                            ]);
                            output::json(&json!({ "state": entry }))?;
                        }
                        Format::Table => {
                            let entry = Value::from(entry);
                            let [key, value] = ["key", "value"].map(|name| shown(&entry, name));
                            output::line(&format!("{input:>5}  {partition:>9}  {key}: {value}"))?;
                        }
                    }
                }
                last = page.into_iter().next_back().map(|(key, _)| key);
                if last.is_none() {
                    break;
                }
            }
        }
        Ok(())
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
    pub(super) fn end(&mut self, totals: &Totals, state_bytes: u64) -> anyhow::Result<()> {
        self.fuel = totals.fuel + totals.tick_fuel + totals.init_fuel;
        let Self { records, outputs, dead_letters, retries, .. } = self;
        let Totals { fuel, ticks, tick_fuel, init_fuel, memory_bytes } = totals;
        if self.format == Format::Json {
            return output::json(&json!({"totals": {
                "records": records, "outputs": outputs, "deadLetters": dead_letters, "retries": retries,
                "fuel": fuel, "ticks": ticks, "tickFuel": tick_fuel, "initFuel": init_fuel,
                "memoryBytes": memory_bytes, "stateBytes": state_bytes,
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
        let ticked = match ticks {
            0 => String::new(),
            ticks => format!("{tick_fuel} in {}; ", output::count(*ticks, "tick")),
        };
        let kept = if state_bytes == 0 { String::new() } else { format!("; state {}", size(state_bytes)) };
        output::line(&format!("fuel {fuel}, {each} a record; {ticked}{init_fuel} to start; memory {memory}{kept}"))
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

/// A cell, as much of it as a line of a table shows.
fn shown(of: &Value, name: &str) -> String {
    crate::cli::records::field(of, name).chars().take(SHOWN_CHARS).collect()
}

fn people(place: &str, fuel: Option<u64>, outputs: &[Value], exception: Option<&Exception>) -> anyhow::Result<()> {
    let fuel = fuel.map(|fuel| fuel.to_string()).unwrap_or_default();
    let mut lines: Vec<String> = outputs
        .iter()
        .map(|output| format!("{}: {}", printable(output["to"].as_str().unwrap_or_default()), shown(output, "value")))
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
