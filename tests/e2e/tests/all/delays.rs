//! The example `delays` through the binary: windows of hours to a topic and as Parquet to a real S3 server, exactly once, with processes killed
//! and the server away in between.
//!
//! The truth is what the input topic holds: from it rows and late records are computed without the stage, and compared in order, partition by
//! partition, so that a lost, a doubled, a changed and a displaced one all show.
//! The sample's flights; with [`ALL`], which `cargo xtask bench delays` sets, those of the whole year.
//! Must never: let the answer hang on how fast the machine is: nothing is called idle before the last flight has its place.

use crate::shared::with_buckets;
use anyhow::{Context, Result, bail, ensure};
use bulkhead_example_data::{Record, Source, departures, expected};
use bulkhead_test_services::S3;
use bulkhead_testbed::{Host, Line, Read, Status, Tenant, root, stage, until};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PIPELINE: &str = "delays";
const PARTITIONS: i32 = 3;
const LATENESS_HOURS: i64 = 6;
/// Names the archive whose flights are taken instead of the sample's.
const ALL: &str = "BULKHEAD_DELAYS_ARCHIVE";
/// Requests that the flights come in: of the sample some nine days each, nearly each flight in an hour of its route alone.
const BURSTS: usize = 40;
/// With the whole year, how long the server is away at least.
const AWAY: Duration = Duration::from_secs(30);
/// A value that no window takes: where it has become a dead letter, everything before it in its partition is done.
const NO_FLIGHT: &str = "no flight";

/// Keys and values, in order.
type Pairs = Vec<(String, String)>;

/// What happens with a burst.
#[derive(Clone, Copy)]
enum Fault {
    /// The process is killed as soon as the burst is written.
    KilledAtOnce,
    /// The process is killed when the first rows that come after the burst are in objects, and others are not.
    KilledMidway,
    /// The server is away until the pipeline has noticed.
    Away,
    /// The same, and the process is killed meanwhile.
    AwayAndKilled,
}

/// Which burst has which fault: five kills, and twice the server is away.
const FAULTS: [(usize, Fault); 6] = [
    (4, Fault::KilledAtOnce),
    (10, Fault::Away),
    (16, Fault::KilledMidway),
    (22, Fault::AwayAndKilled),
    (28, Fault::KilledMidway),
    (34, Fault::KilledAtOnce),
];

/// The example's manifest with this idle time, and with smaller objects, so that there are many to lose.
fn manifest(idle_seconds: u32, object_rows: usize) -> Result<String> {
    let mut text = std::fs::read_to_string(root().join("examples/delays/pipeline.yaml"))?;
    let changes = [
        ("idleSeconds: 60 ", format!("idleSeconds: {idle_seconds} ")),
        ("records: 20000, everyMs: 10000,", format!("records: {object_rows}, everyMs: 400,")),
    ];
    for (from, to) in changes {
        ensure!(text.contains(from), "the example's manifest lacks `{from}`");
        text = text.replace(from, &to);
    }
    Ok(text)
}

/// The objects below a folder, in the order of their keys.
fn objects(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() { objects(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

fn opened(s3: &S3) -> Result<Vec<(PathBuf, SerializedFileReader<File>)>> {
    let mut paths = Vec::new();
    objects(&s3.objects().join("acme/flights/delays"), &mut paths)?;
    // Every object that can be seen is whole.
    let open = |path: PathBuf| {
        let reader = SerializedFileReader::new(File::open(&path)?).with_context(|| path.display().to_string())?;
        Ok((path, reader))
    };
    paths.into_iter().map(open).collect()
}

fn count(s3: &S3) -> usize {
    let rows = |reader: &SerializedFileReader<File>| reader.metadata().file_metadata().num_rows() as usize;
    // An object may come while the folder is read.
    opened(s3).map_or(0, |opened| opened.iter().map(|(_, reader)| rows(reader)).sum())
}

fn wait_rows(s3: &S3, at_least: usize) -> Result<()> {
    until(&format!("{at_least} rows in objects"), || match count(s3) {
        found if found >= at_least => Ok(()),
        found => Err(found.to_string()),
    })
}

/// All rows in objects, as the topic has them: for each origin and partition, in the order of keys and rows.
fn table(s3: &S3) -> Result<BTreeMap<(String, i32), Vec<String>>> {
    let mut table: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for (path, reader) in opened(s3)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partition: i32 = name.split_once('-').context("an object without a partition")?.0.parse()?;
        for row in reader.get_row_iter(None)? {
            let (origin, text) = text(row?.get_column_iter().map(|(name, field)| (name.as_str(), field)))?;
            ensure!(path.to_string_lossy().contains(&format!("/origin={origin}/")), "{text} is in {}", path.display());
            table.entry((origin, partition)).or_default().push(text);
        }
    }
    Ok(table)
}

/// A row's origin, and the row as JSON.
fn text<'a>(columns: impl Iterator<Item = (&'a str, &'a Field)>) -> Result<(String, String)> {
    let (mut origin, mut cells) = (String::new(), Vec::new());
    for (name, field) in columns {
        let cell = match field {
            Field::Str(text) => {
                if name == "origin" {
                    origin.clone_from(text);
                }
                format!("\"{text}\"")
            }
            Field::Long(number) | Field::TimestampMillis(number) => number.to_string(),
            Field::Double(number) => format!("{number:?}"),
            Field::Null => "null".to_owned(),
            other => bail!("the column {name} holds {other:?}"),
        };
        cells.push(format!("\"{name}\":{cell}"));
    }
    Ok((origin, format!("{{{}}}", cells.join(","))))
}

/// Gives each burst to the pipeline, with its fault.
fn feed(host: &mut Host, s3: &mut S3, tenant: &Tenant, flights: &[Record], away_for: Duration) -> Result<()> {
    let size = flights.len().div_ceil(BURSTS);
    for (number, burst) in flights.chunks(size).enumerate() {
        let fault = FAULTS.iter().find(|(at, _)| *at == number).map(|(_, fault)| *fault);
        if fault.is_some() {
            // Each fault meets a pipeline that works, and not only the one before.
            wait_rows(s3, number * size / 2)?;
        }
        if matches!(fault, Some(Fault::Away | Fault::AwayAndKilled)) {
            s3.stop();
        }
        let stopped = Instant::now();
        let before = count(s3);
        let lines: Vec<Line> = burst.iter().map(|flight| Line::text(&flight.key, &flight.value)).collect();
        tenant.produce("departures", &lines)?;
        match fault {
            None | Some(Fault::KilledAtOnce) => {}
            Some(Fault::KilledMidway) => wait_rows(s3, before + 1)?,
            Some(Fault::Away | Fault::AwayAndKilled) => {
                let away = |status: &Status| status.code.as_deref() == Some("BH0320");
                tenant.wait_status(PIPELINE, "the bucket to be called away", away)?;
                // How long it is away is what is asked for; nothing is expected at its end.
                std::thread::sleep(away_for.saturating_sub(stopped.elapsed()));
            }
        }
        if matches!(fault, Some(Fault::KilledAtOnce | Fault::KilledMidway | Fault::AwayAndKilled)) {
            host.kill9();
            host.start_again()?;
        }
        if matches!(fault, Some(Fault::Away | Fault::AwayAndKilled)) {
            s3.resume()?;
        }
    }
    Ok(())
}

fn pair(read: &Read) -> (String, String) {
    (read.key_text(), read.text())
}

fn of(partition: i32, reads: &[Read]) -> Pairs {
    reads.iter().filter(|read| read.partition == partition).map(pair).collect()
}

/// Writes something to every partition that no window takes, and waits until the pipeline has said so.
fn wait_done(tenant: &Tenant, input: &[Read]) -> Result<()> {
    let first = |partition| input.iter().find(|read| read.partition == partition).map(Read::key_text);
    let keys: Vec<String> = (0..PARTITIONS).map(first).collect::<Option<_>>().context("a partition without flights")?;
    tenant.produce("departures", &keys.iter().map(|key| Line::text(key, NO_FLIGHT)).collect::<Vec<_>>())?;
    let mut dead: Pairs = tenant.wait_records("delays-dead", keys.len())?.iter().map(pair).collect();
    dead.sort();
    let mut wanted: Pairs = keys.into_iter().map(|key| (key, NO_FLIGHT.to_owned())).collect();
    wanted.sort();
    assert_eq!(dead, wanted, "nothing else is a dead letter");
    Ok(())
}

/// Compares without printing thousands of rows.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], wanted: &[T]) {
    let differs = (0..found.len().max(wanted.len())).find(|at| found.get(*at) != wanted.get(*at));
    if let Some(at) = differs {
        let counts = format!("{} found, {} wanted", found.len(), wanted.len());
        panic!("{what}: {counts}; at {at} is {:?} instead of {:?}", found.get(at), wanted.get(at));
    }
}

#[test]
fn each_hour_is_in_the_topic_and_the_table_once_when_processes_are_killed_and_the_server_is_away() -> Result<()> {
    let mut s3 = S3::start()?;
    let mut host = Host::start(with_buckets(&s3))?;
    let tenant = host.tenant("acme")?;
    tenant.upload("flights-delays", "v1", std::fs::read(stage("flights-delays")?)?)?;
    for topic in ["departures", "delays", "delays-late"] {
        tenant.create_topic(topic, PARTITIONS)?;
    }
    tenant.create_topic("delays-dead", 1)?;
    let (source, away_for) = match std::env::var_os(ALL) {
        Some(archive) => (Source::Archive(archive.into()), AWAY),
        None => (Source::Sample, Duration::ZERO),
    };
    let flights: Vec<Record> = departures(&source)?.collect::<Result<_>>()?;
    let object_rows = flights.len() / 100;
    // No restart takes an hour, so no hour is given out early because nothing came.
    tenant.apply(PIPELINE, manifest(3600, object_rows)?)?;
    feed(&mut host, &mut s3, &tenant, &flights, away_for)?;
    let input = tenant.read_all("departures")?;
    assert_eq!(input.len(), flights.len(), "every flight was written once");
    wait_done(&tenant, &input)?;

    let mut wanted = Vec::new();
    for partition in 0..PARTITIONS {
        let record = |(key, value)| Record { key, value };
        let records: Vec<Record> = of(partition, &input).into_iter().map(record).collect();
        let delays = expected::delays(&records, LATENESS_HOURS)?;
        let late = |place: &usize| (records[*place].key.clone(), records[*place].value.clone());
        wanted.push((delays.rows, delays.late.iter().map(late).collect::<Pairs>(), delays.over));
    }
    let all: usize = wanted.iter().map(|(rows, ..)| rows.len()).sum();
    let over: usize = wanted.iter().map(|(.., over)| over).sum();
    assert!(over < all && wanted.iter().all(|(rows, late, _)| rows.len() > 1_000 && !late.is_empty()));

    // The last hours come by ticks, when the stream is called idle after a second. Of what they give, a part is in no object yet.
    assert_eq!(tenant.read_all("delays")?.len(), over, "before anything is idle");
    tenant.apply(PIPELINE, manifest(1, object_rows)?)?;
    tenant.wait_records("delays", over + 1)?;
    host.kill9();
    host.start_again()?;
    let hourly = tenant.wait_records("delays", all)?;
    wait_rows(&s3, all)?;
    let late = tenant.read_all("delays-late")?;
    host.stop()?;

    println!(
        "{} flights, {all} rows in the topic, {} rows in {} objects, {} late; {} faults",
        flights.len(),
        count(&s3),
        opened(&s3)?.len(),
        late.len(),
        FAULTS.len()
    );
    let mut table = table(&s3)?;
    for (partition, (rows, lates, _)) in (0..).zip(&wanted) {
        same("the topic", &of(partition, &hourly), rows);
        same("the late flights", &of(partition, &late), lates);
        for origin in ["EWR", "JFK", "LGA"] {
            let own = rows.iter().filter(|(route, _)| route.starts_with(origin)).map(|(_, row)| row.clone());
            let found = table.remove(&(origin.to_owned(), partition)).unwrap_or_default();
            same("the table", &found, &own.collect::<Vec<_>>());
        }
    }
    assert!(table.is_empty(), "objects of nobody: {:?}", table.keys());
    Ok(())
}
