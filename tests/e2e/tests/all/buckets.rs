//! Declared bucket outputs through the binary: Parquet on a real S3 server, with processes killed and the server away in between.

use crate::shared::{Guests, refused, with_buckets};
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::S3;
use bulkhead_testbed::{Host, Line, Tenant, until};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

const PIPELINE: &str = "p";
const NUMBERS: u64 = 4_000;
const BURST: u64 = 100;
const PARTITIONS: i32 = 3;

fn manifest(bucket: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: {PIPELINE}
inputs: [{{ topic: p-in }}]
stages:
  - name: guest
    module: guests:v1
    config: to_rows
    outputs:
      out: {bucket}
deadLetter: {{ topic: p-dead }}
batch: {{ records: 20 }}
"
    )
}

const BUCKET: &str =
    "{ bucket: flights, prefix: by-hour/, format: parquet, roll: { records: 150, everyMs: 300, by: by },
        columns: [{ name: n, type: int64 }, { name: by, type: string }, { name: partition, type: int64 }] }";

/// Adds the rows of every object below a folder: for each `by` and partition, in the order of keys and rows.
fn read(folder: &Path, rows: &mut BTreeMap<(String, i64), Vec<i64>>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(&path, rows)?;
            continue;
        }
        // Every object that can be seen is whole.
        let reader = SerializedFileReader::new(File::open(&path)?).with_context(|| path.display().to_string())?;
        for row in reader.get_row_iter(None)? {
            let cells: Vec<Field> = row?.get_column_iter().map(|(_, field)| field.clone()).collect();
            let [Field::Long(n), Field::Str(by), Field::Long(partition)] = &cells[..] else {
                anyhow::bail!("{} holds {cells:?}", path.display())
            };
            ensure!(path.to_string_lossy().contains(&format!("by={by}/{partition}-")), "{n} is in {}", path.display());
            rows.entry((by.clone(), *partition)).or_default().push(*n);
        }
    }
    Ok(())
}

fn rows(s3: &S3) -> Result<BTreeMap<(String, i64), Vec<i64>>> {
    let mut rows = BTreeMap::new();
    read(&s3.objects().join("acme/flights/by-hour"), &mut rows)?;
    Ok(rows)
}

fn count(s3: &S3) -> usize {
    // An object may come while the folder is read.
    rows(s3).map_or(0, |rows| rows.values().map(Vec::len).sum())
}

fn wait_rows(s3: &S3, at_least: usize) -> Result<()> {
    until(&format!("{at_least} rows in objects"), || match count(s3) {
        found if found >= at_least => Ok(()),
        found => Err(format!("{found}")),
    })
}

fn feed(tenant: &Tenant, numbers: std::ops::Range<u64>) -> Result<()> {
    // A key decides the partition, so each number keeps its own.
    let lines: Vec<Line> = numbers.map(|n| Line::text(&(n % 17).to_string(), &n.to_string())).collect();
    tenant.produce("p-in", &lines)?;
    Ok(())
}

#[test]
fn each_row_is_in_one_object_when_processes_are_killed_and_the_server_is_away() -> Result<()> {
    let mut s3 = S3::start()?;
    let mut host = Host::start(with_buckets(&s3))?;
    let tenant = host.tenant("acme")?;
    tenant.upload_guests()?;
    tenant.create_topic("p-in", PARTITIONS)?;
    tenant.create_topic("p-dead", 1)?;
    tenant.apply(PIPELINE, manifest(BUCKET))?;
    let bursts = NUMBERS / BURST;
    for burst in 0..bursts {
        feed(&tenant, burst * BURST..(burst + 1) * BURST)?;
        match burst * 6 / bursts {
            _ if (burst * 6) % bursts >= 6 || burst == 0 => {}
            // Five kills, and twice the server is away: once over a kill.
            at @ (1 | 3 | 5) => {
                wait_rows(&s3, ((burst - 1) * BURST / 2) as usize)?;
                host.kill9();
                host.start_again()?;
                if at == 5 {
                    host.kill9();
                    host.start_again()?;
                }
            }
            at => {
                s3.stop();
                let away = |status: &bulkhead_testbed::Status| status.code.as_deref() == Some("BH0320");
                tenant.wait_status(PIPELINE, "the bucket to be called away", away)?;
                if at == 4 {
                    host.kill9();
                    host.start_again()?;
                }
                s3.resume()?;
            }
        }
    }
    wait_rows(&s3, NUMBERS as usize)?;
    host.stop()?;
    let mut expected: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    let found = rows(&s3)?;
    for n in 0..NUMBERS as i64 {
        let by = (n % 3).to_string();
        let partition = found.iter().find(|((b, _), rows)| *b == by && rows.contains(&n)).map(|((_, p), _)| *p);
        expected.entry((by, partition.with_context(|| format!("{n} is lost"))?)).or_default().push(n);
    }
    assert_eq!(found, expected, "each number once, in its partition's order");
    Ok(())
}

#[test]
fn a_bucket_output_that_could_leave_its_prefix_is_refused_with_everything_else_that_is_wrong() -> Result<()> {
    let host = crate::shared::host()?;
    let tenant = crate::shared::tenant_with_guests(&host, "bucket-manifests")?;
    tenant.topics("p")?;
    let wrong = BUCKET.replace("by-hour/", "../").replace("by: by", "by: carrier");
    let told = refused(tenant.apply(PIPELINE, manifest(&wrong)), 422, "BH0201", "");
    let errors = told.body["errors"].to_string();
    assert!(errors.contains("BH0321") && errors.contains("no column `carrier`"), "{errors}");
    Ok(())
}
