//! Stages that reach buckets by themselves, on a real S3 server that goes away and comes back, with the process killed in between.

use crate::shared::{Guests, refused, with_buckets};
use anyhow::{Result, ensure};
use bulkhead_test_services::S3;
use bulkhead_testbed::{Host, Read, Status, Tenant, until};
use std::collections::BTreeSet;

const RECORDS: usize = 600;
const BURST: usize = 100;

fn manifest(grants: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{{ topic: p-in }}]
stages:
  - name: reach
    module: bucketed:v1
    {grants}
    tickMs: 3600000
    outputs: {{ out: {{ topic: p-out }} }}
deadLetter: {{ topic: p-dead }}
batch: {{ records: 20 }}
"
    )
}

const GRANTS: &str = "buckets: { all: { bucket: flights, prefix: 2013/, access: readWrite } }";

fn put(tenant: &Tenant, numbers: std::ops::Range<usize>) -> Result<()> {
    let values: Vec<String> = numbers.map(|n| format!("put|all|day/{n}|{n}")).collect();
    tenant.put("p", &values.iter().map(String::as_str).collect::<Vec<_>>())
}

fn values(tenant: &Tenant, topic: &str) -> Result<Vec<String>> {
    Ok(tenant.read_all(topic)?.iter().map(Read::text).collect())
}

#[test]
fn nothing_is_lost_while_the_bucket_is_away_and_the_pipeline_goes_on_when_it_is_back() -> Result<()> {
    let mut s3 = S3::start()?;
    let mut host = Host::start(with_buckets(&s3))?;
    let tenant = host.tenant("acme")?;
    tenant.upload("bucketed", "v1", bulkhead_test_guests::wasm("bucketed"))?;
    tenant.topics("p")?;
    let problem = refused(tenant.apply("p", manifest("")), 422, "BH0201", "errors");
    let error = &problem.body["errors"][0];
    assert_eq!((&error["code"], &error["field"]), (&"BH0210".into(), &"stages[reach].buckets".into()));
    let wrong = refused(tenant.apply("p", manifest(&GRANTS.replace("2013/", "../globex/"))), 422, "BH0201", "");
    ensure!(wrong.body["errors"].to_string().contains("BH0321"), "{}", wrong.body);
    tenant.apply("p", manifest(GRANTS))?;
    for burst in 0..RECORDS / BURST {
        put(&tenant, burst * BURST..(burst + 1) * BURST)?;
        match burst {
            1 => {
                tenant.wait_records("p-out", BURST)?;
                host.kill9();
                host.start_again()?;
            }
            // Twice away, once over a kill.
            2 | 4 => {
                s3.stop();
                put(&tenant, 0..1)?;
                let away = |status: &Status| status.code.as_deref() == Some("BH0320");
                tenant.wait_status("p", "the bucket to be called away", away)?;
                if burst == 4 {
                    host.kill9();
                    host.start_again()?;
                }
                s3.resume()?;
            }
            _ => {}
        }
    }
    // Each record was answered once, by the size of what it put.
    let told = tenant.out("p", RECORDS + 2)?;
    let mut expected: Vec<String> = (0..RECORDS).map(|n| n.to_string().len().to_string()).collect();
    expected.extend(["1".to_owned(), "1".to_owned()]);
    let sorted = |mut values: Vec<String>| {
        values.sort();
        values
    };
    assert_eq!(sorted(told), sorted(expected));
    assert_eq!(values(&tenant, "p-dead")?, [""; 0], "a bucket that is away is no record's fault");
    tenant.wait_status("p", "the pipeline to run again", |status| status.code.is_none())?;
    let folder = s3.objects().join("acme/flights/2013/day");
    let objects: BTreeSet<String> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(objects, (0..RECORDS).map(|n| n.to_string()).collect());
    tenant.put("p", &["get|all|day/599|0|9", "list|all|day/|day/598|1", "upload|all|big|9|1048576", "drop|all|x"])?;
    until("the answers", || {
        let values = values(&tenant, "p-out").map_err(|error| error.to_string())?;
        let all = ["599", "day/599:3", "9437184", "dropped"];
        if all.iter().all(|wanted| values.iter().any(|value| value == wanted)) {
            Ok(())
        } else {
            Err(values[RECORDS..].join(" "))
        }
    })?;
    // What was given up leaves no parts that somebody would pay for.
    until("no upload to be under way", || {
        let under_way = std::fs::read_dir(s3.objects().join(".sgwtmp/multipart")).map_err(|error| error.to_string())?;
        match under_way.count() {
            0 => Ok(()),
            some => Err(some.to_string()),
        }
    })?;
    host.stop()
}
