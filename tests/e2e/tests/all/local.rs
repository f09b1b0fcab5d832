//! `bulkhead run` on stages that keep state and act on time: on a file they do what they do on a worker.
//!
//! Must never: need a host, or a clock: a run here is the same every time.

use crate::shell::Shell;
use anyhow::{Context, Result};
use bulkhead_example_data::{Record, Source, departures, expected};
use bulkhead_sandbox::Sandbox;
use bulkhead_sdk::testing::{Case, Input};
use bulkhead_test_guests::wasm;
use bulkhead_testbed::{bulkhead, root, stage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use visits_stage::{IDLE_MS, visits};

const PARTITIONS: i32 = 2;
/// The last hours are given out by the tick that comes a minute after the first one without a flight.
const QUIET: [&str; 2] = ["--quiet-ms", "61000"];

/// A shell with the example's component and manifest.
fn delays() -> Result<Shell> {
    let shell = Shell::new()?;
    std::fs::copy(stage("flights-delays")?, shell.at.join("delays.wasm"))?;
    std::fs::copy(root().join("examples/delays/pipeline.yaml"), shell.at.join("delays.yaml"))?;
    Ok(shell)
}

/// Runs the example on these lines; gives what each record and tick became, and the totals.
fn played(shell: &Shell, arguments: &[&str], lines: &str) -> Result<(Vec<Value>, Value)> {
    let base = ["run", "delays.wasm", "-f", "delays.yaml", "--ndjson", "-o", "json"];
    let said = shell.with_input(&[&base, arguments].concat(), lines.as_bytes())?;
    assert_eq!(said.code, 0, "{}", said.error);
    let mut lines: Vec<Value> = said.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let totals = lines.pop().context("no totals")?["totals"].take();
    Ok((lines, totals))
}

/// The partition of a flight: both airports of a route are in its key.
fn partition(record: &Record) -> i32 {
    record.key.bytes().fold(7_i32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())).rem_euclid(PARTITIONS)
}

/// Keys and values of an output, in order.
fn sent(lines: &[Value], to: &str) -> Vec<(String, String)> {
    let text = |output: &Value, name: &str| output[name].as_str().unwrap_or_default().to_owned();
    let outputs = lines.iter().flat_map(|line| line["outputs"].as_array().into_iter().flatten());
    outputs.filter(|output| output["to"] == to).map(|output| (text(output, "key"), text(output, "value"))).collect()
}

#[test]
fn every_flight_of_the_sample_is_in_its_hour_after_a_run_on_a_file() -> Result<()> {
    let flights: Vec<Record> = departures(&Source::Sample)?.collect::<Result<_>>()?;
    let (mut lines, mut rows, mut late) = (String::new(), Vec::new(), Vec::new());
    // Partitions take turns, as a consumer gets them, and the instance is lost now and then.
    for run in flights.chunks(4_000) {
        for own in 0..PARTITIONS {
            for flight in run.iter().filter(|flight| partition(flight) == own) {
                lines += &format!("{}\n", json!({"key": flight.key, "value": flight.value, "partition": own}));
            }
        }
        lines += "{\"restart\": true}\n";
    }
    for own in 0..PARTITIONS {
        let own: Vec<&Record> = flights.iter().filter(|flight| partition(flight) == own).collect();
        let expected = expected::delays(own.iter().copied(), 6)?;
        late.extend(expected.late.iter().map(|place| (own[*place].key.clone(), own[*place].value.clone())));
        rows.extend(expected.rows);
    }
    let shell = delays()?;
    let (became, totals) = played(&shell, &[&["--batch", "500"], &QUIET[..]].concat(), &lines)?;
    for (output, wanted) in [("hourly", &rows), ("table", &rows), ("late", &late)] {
        let (mut found, mut wanted) = (sent(&became, output), wanted.clone());
        found.sort();
        wanted.sort();
        assert!(found == wanted, "{output}: {} found, {} wanted", found.len(), wanted.len());
    }
    let ticks: Vec<&Value> = became.iter().filter(|line| !line["tick"].is_null()).collect();
    assert_eq!((&totals["ticks"], ticks.len()), (&json!(2 * 61), 2 * 61));
    let by_ticks = |lines: &[&Value], name: &str| -> u64 { lines.iter().filter_map(|line| line[name].as_u64()).sum() };
    assert_eq!(totals["tickFuel"], by_ticks(&ticks, "fuel"), "the fuel of ticks is apart from that of records");
    assert!(totals["fuel"].as_u64() > Some(1_000 * flights.len() as u64), "{totals}");
    Ok(())
}

/// Flights of one route, with when each became known.
fn flights(hours: &[(u32, i64)]) -> String {
    let line = |(hour, timestamp): &(u32, i64)| {
        let time = format!("2013-01-01T{hour:02}:00:00Z");
        let value =
            json!({"origin": "EWR", "dest": "IAH", "time_hour": time, "minute": 15, "dep_delay": hour}).to_string();
        format!("{}\n", json!({"key": "EWR-IAH", "value": value, "timestamp": timestamp}))
    };
    hours.iter().map(line).collect()
}

/// When each tick was, by partition, and whether it gave something out.
fn ticks(lines: &[Value]) -> BTreeMap<i64, usize> {
    let ticks = lines.iter().filter(|line| !line["tick"].is_null());
    let given = |line: &Value| line["outputs"].as_array().map_or(0, Vec::len);
    ticks.map(|line| (line["tick"]["now"].as_i64().unwrap_or(-1), given(line))).collect()
}

#[test]
fn the_records_move_the_clock_and_a_line_may_tell_the_time() -> Result<()> {
    let shell = delays()?;
    let lines = flights(&[(1, 10_000), (2, 10_900), (3, 95_000)]);
    let (became, totals) = played(&shell, &[], &lines)?;
    assert_eq!(ticks(&became), [(95_000, 0), (96_000, 0)].into(), "once for a jump, and once after the last");
    assert_eq!(became, played(&shell, &[], &lines)?.0, "the same every time");
    assert_eq!(totals["stateBytes"].as_u64().map(|bytes| bytes > 0), Some(true), "open hours wait: {totals}");

    let told = format!("{}{{\"tick\":{{\"now\":1}}}}\n{{\"tick\":{{\"now\":60001}}}}\n", flights(&[(1, 0)]));
    let (became, _) = played(&shell, &["--tick-ms", "0"], &told)?;
    assert_eq!(ticks(&became), [(1, 0), (60_001, 2)].into(), "to the topic and to the table");
    Ok(())
}

#[test]
fn what_people_see_of_ticks_and_state_is_as_a_reader_judged_it() -> Result<()> {
    let shell = delays()?;
    let base = ["run", "delays.wasm", "-f", "delays.yaml", "--ndjson", "--show-state"];
    let late = format!(
        "{}{}",
        flights(&[(1, 0), (9, 60_000), (1, 61_000)]),
        "{\"key\":\"EWR-IAH\",\"value\":\"no flight\"}\n"
    );
    let one = shell.with_input(&base, late.as_bytes())?;
    let closed = shell.with_input(&[&base[..], &QUIET].concat(), late.as_bytes())?;
    let text = format!("$ bulkhead run … --show-state\n{}\n$ bulkhead run … --quiet-ms 61000\n{}", one.out, closed.out);
    crate::snapshots::compare("run-with-state", &without_fuel(&text))
}

/// Fuel, which another compiler changes, as FUEL.
fn without_fuel(text: &str) -> String {
    let number = |word: &str| word.chars().all(|c| c.is_ascii_digit());
    let settled = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["fuel", ..] => {
                let (fuel, rest) = line.split_once("; memory").unwrap_or((line, ""));
                let cut = fuel.split_inclusive([' ', ',']).map(|piece| {
                    let word = piece.trim_end_matches([' ', ',']);
                    if number(word) && word.len() > 2 { piece.replace(word, "FUEL") } else { piece.to_owned() }
                });
                cut.chain([format!("; memory{rest}")]).collect()
            }
            [place, fuel, ..] if (number(place) || place == "tick") && number(fuel) && fuel.len() > 2 => {
                line.replacen(&format!("{fuel:>10}"), "      FUEL", 1)
            }
            _ => line.to_owned(),
        }
    };
    text.lines().map(|line| settled(line).trim_end().to_owned() + "\n").collect()
}

#[test]
fn a_stage_has_the_state_that_its_manifest_grants_and_no_more() -> Result<()> {
    let shell = delays()?;
    let manifest = std::fs::read_to_string(shell.at.join("delays.yaml"))?;
    let without: String =
        manifest.lines().filter(|line| !line.contains("state:")).map(|line| line.to_owned() + "\n").collect();
    shell.write("without.yaml", &without)?;
    let said = shell.with_input(&["run", "delays.wasm", "-f", "without.yaml"], b"x")?;
    assert!(said.code == 1 && said.error.contains("BH0210"), "{said:?}");

    let base = ["run", "delays.wasm", "--ndjson", "-o", "json", "--ports", "hourly,late,table"];
    let said = shell
        .with_input(&[&base[..], &["--state-bytes", "200"]].concat(), flights(&[(1, 0), (2, 0), (3, 0)]).as_bytes())?;
    let last = said.out.lines().find(|line| line.contains("\"record\":2")).context("no third record")?.to_owned();
    assert!(last.contains("BH0313") && last.contains("200 are granted"), "{last}");

    std::fs::write(shell.at.join("guests.wasm"), wasm("passthrough"))?;
    let guest = ["run", "guests.wasm", "--settings", "\"passthrough\"", "--ndjson"];
    let said = shell.with_input(&guest, b"{\"tick\":{\"now\":1}}")?;
    assert!(said.code == 1 && said.error.contains("the stage has none"), "{said:?}");
    let said = shell.run(&[&guest[..], &["--tick-ms", "7"]].concat())?;
    assert!(said.code == 2 && said.error.contains("100 to 3600000, or 0"), "{said:?}");
    Ok(())
}

/// A case with state, ticks and restarts, through the crate that projects of `bulkhead new` test with.
#[test]
fn session_windows_agree_in_the_sandbox_of_the_installed_program() -> Result<()> {
    let click = |i: i64| {
        let input = Input::new(format!("page-{}", i % 7)).key(format!("visitor-{}", i % 13));
        input.timestamp(i * 900 + (i * 7_919) % 12_000).partition((i / 50 % 2) as i32)
    };
    let case = Case::new().outputs(["visits", "late"]).batch_records(20).records((0..150).map(click));
    let mut case = case.restart().records((150..300).map(click)).records([Input::new("no visitor"), click(0)]);
    for now in [0, IDLE_MS as i64] {
        case = case.tick_of(0, 0, now).tick_of(0, 1, now);
    }
    let sandbox = Sandbox::of_file(stage("visits-stage")?)?.program(bulkhead()?);
    let run = sandbox.assert_agrees::<visits>(&case);
    assert!(run.report.to("visits").iter().any(|visit| visit.by_tick) && !run.report.to("late").is_empty());
    assert_eq!((run.report.rejected.len(), run.report.state.len()), (1, 2));
    Ok(())
}
