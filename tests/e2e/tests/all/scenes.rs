//! The two examples as a tenant runs them, and the judgement of what they wrote.
//!
//! The truth is what the input topic holds: from it the outputs are computed without the stages, and compared key by key in order,
//! so that a lost, a doubled, a changed and a displaced record all show.
//! Must never: be satisfied with counts.

use anyhow::{Context, Result, ensure};
use bulkhead_example_data::{Record, Source, expected, flights, weather};
use bulkhead_testbed::{Host, Line, Scrape, Status, Tenant, root, stage, until};
use std::collections::BTreeMap;
use std::time::Instant;

/// Records in one request.
const RECORDS_PER_REQUEST: usize = 500;

/// One of the examples.
pub(crate) struct Scene {
    folder: &'static str,
    modules: &'static [&'static str],
    pub(crate) pipeline: &'static str,
    pub(crate) input: &'static str,
    pub(crate) outputs: &'static [&'static str],
    dead_letters: &'static str,
    partitions: i32,
    pub(crate) records: Vec<Record>,
    expected: fn(&Record) -> Result<expected::Expected>,
}

/// What the outputs hold: by topic and key, values and headers in order.
type Outputs = BTreeMap<(String, String), Vec<(String, Vec<(String, String)>)>>;

/// Keys and values, sorted.
type DeadLetters = Vec<(String, String)>;

/// What a judged run has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) records_in: u64,
    pub(crate) records_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) dead_letters: u64,
}

impl Scene {
    /// The first flights of the sample.
    pub(crate) fn flights(count: usize) -> Result<Self> {
        Ok(Self {
            folder: "flights",
            modules: &["flights-enrich", "flights-classify"],
            pipeline: "flights",
            input: "flights",
            outputs: &["flights-enriched", "flights-late"],
            dead_letters: "flights-dead",
            partitions: 4,
            records: flights(&Source::Sample)?.take(count).collect::<Result<_>>()?,
            expected: expected::flights,
        })
    }

    /// The first readings of the sample.
    pub(crate) fn weather(count: usize) -> Result<Self> {
        Ok(Self {
            folder: "weather",
            modules: &["weather-alerts"],
            pipeline: "weather",
            input: "weather",
            outputs: &["weather-alerts"],
            dead_letters: "weather-dead",
            partitions: 3,
            records: weather(&Source::Sample)?.take(count).collect::<Result<_>>()?,
            expected: expected::weather,
        })
    }

    /// Makes the topics and uploads the stages.
    pub(crate) fn prepare(&self, tenant: &Tenant) -> Result<()> {
        for topic in [self.input, self.dead_letters].iter().chain(self.outputs) {
            // A broker that is busy starting may not answer in time; then one tries again, as the refusal says.
            until(&format!("topic {topic}"), || {
                if tenant.topic(topic).is_ok() {
                    return Ok(());
                }
                tenant.create_topic(topic, self.partitions).map(drop).map_err(|refused| refused.to_string())
            })?;
        }
        for module in self.modules {
            tenant.upload(module, "v1", std::fs::read(stage(module)?)?)?;
        }
        Ok(())
    }

    /// Applies the example's manifest, with these lines after it.
    pub(crate) fn apply(&self, tenant: &Tenant, more: &str) -> Result<()> {
        let file = root().join("examples").join(self.folder).join("pipeline.yaml");
        let manifest = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        tenant.apply(self.pipeline, format!("{manifest}\n{more}\n"))?;
        Ok(())
    }

    /// Writes these records.
    pub(crate) fn feed(&self, tenant: &Tenant, records: &[Record]) -> Result<()> {
        for chunk in records.chunks(RECORDS_PER_REQUEST) {
            tenant.produce(self.input, &lines(chunk))?;
        }
        Ok(())
    }

    /// Waits until everything in the input is done, and compares all outputs with what they should be. Gives the status of the end,
    /// and what it should say.
    pub(crate) fn judge(&self, tenant: &Tenant) -> Result<(Status, Done)> {
        let input = tenant.read_all(self.input)?;
        let records: Vec<Record> =
            input.iter().map(|read| Record { key: read.key_text(), value: read.text() }).collect();
        let (expected, dead, done) = self.expect(&records)?;
        for topic in self.outputs {
            let count = expected.iter().filter(|(key, _)| key.0 == *topic).map(|(_, records)| records.len()).sum();
            tenant.wait_records(topic, count)?;
        }
        let status = settled(tenant, self.pipeline)?;
        for topic in self.outputs {
            let found = read_outputs(tenant, topic)?;
            let of_topic = |(key, _): &(&(String, String), &Vec<_>)| key.0 == *topic;
            let wanted: Outputs = expected.iter().filter(of_topic).map(|(k, v)| (k.clone(), v.clone())).collect();
            compare(topic, &wanted, &found)?;
        }
        let mut found: Vec<(String, String)> =
            tenant.read_all(self.dead_letters)?.iter().map(|read| (read.key_text(), read.text())).collect();
        found.sort();
        ensure!(found == dead, "dead letters are {found:?} and should be {dead:?}");
        Ok((status, done))
    }

    fn expect(&self, records: &[Record]) -> Result<(Outputs, DeadLetters, Done)> {
        let (mut outputs, mut dead, mut done) = (Outputs::new(), Vec::new(), Done::default());
        for record in records {
            done.records_in += 1;
            done.bytes_in += (record.key.len() + record.value.len()) as u64;
            let expected = (self.expected)(record)?;
            if expected.dead_letter {
                done.dead_letters += 1;
                dead.push((record.key.clone(), record.value.clone()));
            }
            for output in expected.outputs {
                let headers: Vec<_> =
                    output.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                done.records_out += 1;
                done.bytes_out += (output.key.len() + output.value.len()) as u64;
                done.bytes_out += headers.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>();
                outputs.entry((output.topic.to_owned(), output.key)).or_default().push((output.value, headers));
            }
        }
        dead.sort();
        Ok((outputs, dead, done))
    }

    /// Compares a status's totals and the metrics of the one process that ran it with what was to be done.
    pub(crate) fn check_numbers(&self, tenant: &Tenant, status: &Status, done: &Done, scrape: &Scrape) {
        let totals = status.totals;
        let counted = Done {
            records_in: totals.records_in,
            records_out: totals.records_out,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            dead_letters: totals.dead_letters,
        };
        assert_eq!(&counted, done, "the status of {}", self.pipeline);
        assert!(totals.fuel > done.records_in * 100, "{totals:?}");
        assert_eq!((status.phase.as_deref(), &status.code, status.workers), (Some("running"), &None, 1));
        let labels = [("tenant", tenant.name()), ("project", "default"), ("pipeline", self.pipeline)];
        let sum = |name: &str| scrape.sum(name, &labels) as u64;
        let by = |name: &str, direction| scrape.sum(name, &[&labels[..], &[("direction", direction)]].concat()) as u64;
        let measured = Done {
            records_in: by("bulkhead_records_total", "in"),
            records_out: by("bulkhead_records_total", "out"),
            bytes_in: by("bulkhead_bytes_total", "in"),
            bytes_out: by("bulkhead_bytes_total", "out"),
            dead_letters: sum("bulkhead_dead_letters_total"),
        };
        assert_eq!(&measured, done, "the metrics of {}", self.pipeline);
        assert_eq!(sum("bulkhead_fuel_total"), totals.fuel);
        assert_eq!((sum("bulkhead_lag_records"), sum("bulkhead_buffered_bytes")), (0, 0));
        assert!(sum("bulkhead_batch_seconds_count") > 0);
        let commits = scrape.by("bulkhead_commits_total", "outcome");
        assert!(commits["committed"] > 0.0, "{commits:?}");
        assert_eq!(scrape.sum("bulkhead_commit_seconds_count", &[]), commits.values().sum::<f64>());
    }
}

/// Waits for a report from after this call that says that nothing is left to do.
fn settled(tenant: &Tenant, pipeline: &str) -> Result<Status> {
    let start = Instant::now();
    until("nothing to be left to do", || {
        let shown = tenant.pipeline(pipeline).map_err(|refused| refused.to_string())?;
        let age = shown["status"]["reportAgeMs"].as_u64().unwrap_or(u64::MAX);
        let fresh = u128::from(age) < start.elapsed().as_millis();
        if fresh && shown["status"]["lag"] == 0 { Ok(()) } else { Err(shown["status"].to_string()) }
    })?;
    Ok(tenant.status(pipeline)?)
}

/// Records as lines of a request.
pub(crate) fn lines(records: &[Record]) -> Vec<Line> {
    records.iter().map(|record| Line::text(&record.key, &record.value)).collect()
}

fn read_outputs(tenant: &Tenant, topic: &str) -> Result<Outputs> {
    let mut found = Outputs::new();
    for read in tenant.read_all(topic)? {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let headers = read.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        found.entry((topic.to_owned(), read.key_text())).or_default().push((read.text(), headers));
    }
    Ok(found)
}

fn compare(topic: &str, wanted: &Outputs, found: &Outputs) -> Result<()> {
    let count = |outputs: &Outputs| outputs.values().map(Vec::len).sum::<usize>();
    for key in wanted.keys().chain(found.keys()) {
        let (wanted_of, found_of) = (wanted.get(key), found.get(key));
        ensure!(
            wanted_of == found_of,
            "`{topic}` has {} records and should have {}; key {} has {found_of:?} and should have {wanted_of:?}",
            count(found),
            count(wanted),
            key.1
        );
    }
    Ok(())
}

/// Runs both examples on a host whose tenants have these names, and checks everything about them.
pub(crate) fn both(host: &Host, tenants: [&str; 2], flights: usize, readings: usize) -> Result<()> {
    let scenes = [Scene::flights(flights)?, Scene::weather(readings)?];
    let mut all = Vec::new();
    for (scene, name) in scenes.into_iter().zip(tenants) {
        let tenant = host.tenant(name)?;
        scene.prepare(&tenant)?;
        scene.apply(&tenant, "")?;
        all.push((scene, tenant));
    }
    std::thread::scope(|scope| {
        let feeds: Vec<_> =
            all.iter().map(|(scene, tenant)| scope.spawn(|| scene.feed(tenant, &scene.records))).collect();
        feeds.into_iter().try_for_each(|feed| feed.join().expect("feeding does not panic"))
    })?;
    for (scene, tenant) in &all {
        let (_, done) = scene.judge(tenant)?;
        let status =
            tenant.wait_status(scene.pipeline, "the numbers of the end", |s| s.totals.records_in == done.records_in)?;
        assert_eq!(done.records_in, scene.records.len() as u64, "what was written is in the input");
        // The last of a lane's numbers may be a moment behind the records that it committed.
        until("the metrics to show the end", || {
            let scrape = host.process().and_then(|p| p.scrape()).map_err(|error| format!("{error:#}"))?;
            let lag = scrape.sum("bulkhead_lag_records", &[("tenant", tenant.name())]);
            if lag == 0.0 { Ok(()) } else { Err(format!("a lag of {lag}")) }
        })?;
        scene.check_numbers(tenant, &status, &done, &host.process()?.scrape()?);
    }
    Ok(())
}
