//! The scene: brokers, control, topics, pipeline, flights; and the play: feed, events, drain, judgement.
//!
//! Must never: judge before every worker has drained, or go on to the next event before output flows again.

use crate::events::{Event, GUEST, STEADY, plan};
use crate::fleet::Fleet;
use crate::options::Options;
use anyhow::{Context, Result, ensure};
use bulkhead_example_data::{FLIGHTS, Record, Source, expected, flights};
use bulkhead_fire::feed::{Fed, Feed, ID_HEADER};
use bulkhead_fire::judge::{Found, Judge, Verdict, Wanted};
use bulkhead_fire::topics::{Topic, header, read_all, text};
use bulkhead_fire::watch::{Arrivals, Watch};
use bulkhead_test_services::{Acl, Kafka, Resource};
use bulkhead_testbed::{DEADLINE, Folder, Host, KafkaLogin, Serve, Tenant, root, stage, until, until_within};
use rdkafka::Message;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TENANT: &str = "acme";
const PIPELINE: &str = "flights";
/// How long output may be away before the play is given up.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Pace of the feed while it is ahead of the events, in percent: still a steady stream, but one that outlasts them.
const AHEAD_PERCENT: u32 = 20;
/// How long the rest may take once everything is written.
const REST_MAX: Duration = Duration::from_secs(180);

/// Everything that the play needs.
pub(crate) struct Scene {
    options: Options,
    records: Arc<Vec<Record>>,
    fleet: Fleet,
    host: Host,
    acme: Tenant,
    kafka: Kafka,
}

/// An event as it went.
pub(crate) struct Happened {
    pub(crate) event: Option<Event>,
    pub(crate) sent: u64,
    pub(crate) at: Instant,
    pub(crate) until: Instant,
}

/// What the play gave.
pub(crate) struct Played {
    pub(crate) verdict: Verdict,
    pub(crate) happened: Vec<Happened>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) commits: Vec<(String, f64)>,
    pub(crate) faults: Vec<(String, f64)>,
    pub(crate) feeding: Duration,
    pub(crate) draining: Duration,
}

impl Scene {
    /// Starts brokers and control, makes topics and applies the pipeline.
    pub(crate) fn set(options: &Options) -> Result<Self> {
        let records = Arc::new(records(options)?);
        println!("starting 3 brokers with logins and ACLs, and control");
        let kafka = Kafka::try_start(3)?;
        let folder = Folder::new("fire")?;
        let login = KafkaLogin::for_bulkhead(&kafka, &[TENANT], folder.path())?.protocol(options.protocol.name());
        let host = Host::start_in(Serve::control().kafka(&login), folder)?;
        let acme = host.tenant(TENANT)?;
        kafka.add_user_with(TENANT, TENANT, &[Acl::prefix(Resource::Topic, "acme.")]);
        let scene = Self { options: options.clone(), records, fleet: Fleet::default(), host, acme, kafka };
        for (name, partitions) in scene.outputs().into_iter().chain([(physical(PIPELINE), options.partitions)]) {
            scene.acme.create_topic(name.trim_start_matches("acme."), partitions)?;
        }
        for module in ["flights-enrich", "flights-classify"] {
            scene.acme.upload(module, "v1", std::fs::read(stage(module)?)?)?;
        }
        let manifest = std::fs::read(root().join("examples/flights/pipeline.yaml"))?;
        scene.acme.apply(PIPELINE, manifest)?;
        Ok(scene)
    }

    /// Output topics. The worst flights' topic has fewer partitions than the input, so that order is kept across a fan-in too.
    fn outputs(&self) -> Vec<Topic> {
        let partitions = self.options.partitions;
        let fewer = (1..partitions).rev().find(|count| partitions % count == 0).unwrap_or(1);
        vec![
            (physical("flights-enriched"), partitions),
            (physical("flights-late"), fewer),
            (physical("flights-dead"), 1),
        ]
    }

    /// Keeps logs and data.
    pub(crate) fn keep_folder(&mut self) -> PathBuf {
        self.host.keep_folder()
    }

    /// Feeds, lets the events happen, waits for the rest, drains, judges.
    pub(crate) fn play(&mut self) -> Result<Played> {
        let outputs = self.outputs();
        let streams = usize::try_from(self.options.partitions)?;
        let of = |message: &rdkafka::message::BorrowedMessage<'_>| {
            // Enriched flights have their source's partition.
            let stream = usize::try_from(message.partition()).ok();
            stream.filter(|_| message.topic() == physical("flights-enriched"))
        };
        let watch = Watch::start(&self.kafka.admin_client(), &outputs, streams, of)?;
        for slot in STEADY {
            self.fleet.start(&self.host, slot)?;
        }
        self.wait_owned()?;
        let started = Instant::now();
        let feed = self.feed()?;
        let happened = self.events(&feed, watch.arrivals())?;
        let sent = feed.finish()?;
        let feeding = started.elapsed();
        println!("{sent} flights are written; waiting for the rest");
        ensure!(sent == self.records.len() as u64, "only {sent} flights were written");
        let draining = Instant::now();
        self.wait_rest(watch.arrivals())?;
        self.fleet.stop_all()?;
        println!("every worker has drained; reading everything again and comparing");
        let verdict = self.judge()?;
        let (commits, faults) = (&self.fleet.commits, &self.fleet.faults);
        Ok(Played {
            verdict,
            happened,
            arrivals: watch.arrivals().clone(),
            commits: commits.clone().into_iter().collect(),
            faults: faults.clone().into_iter().collect(),
            feeding,
            draining: draining.elapsed(),
        })
    }

    fn feed(&self) -> Result<Feed> {
        let records = self.records.clone();
        let per_second = records.len() as f64 / f64::from(self.options.seconds);
        println!("writing {} flights at {per_second:.0} a second", records.len());
        Feed::start(&self.kafka.client(TENANT, TENANT), &physical(PIPELINE), per_second, move |id| {
            let record = records.get(usize::try_from(id).ok()?)?;
            Some(Fed { key: record.key.clone(), value: record.value.clone() })
        })
    }

    /// Each event waits until its share of the flights is written and all partitions give output again since the last one.
    fn events(&mut self, feed: &Feed, arrivals: &Arrivals) -> Result<Vec<Happened>> {
        let events = plan(&self.options);
        let first = until("output of every partition", || {
            arrivals.last_of_all().ok_or_else(|| format!("{} outputs", arrivals.total()))
        })?;
        let mut happened = vec![Happened { event: None, sent: 0, at: first, until: first }];
        for (i, event) in events.iter().enumerate() {
            let share = |i: usize| (self.records.len() * (i + 1) / (events.len() + 1)) as u64;
            let last = happened.last().map_or_else(Instant::now, |last| last.at);
            until_within(REST_MAX + SILENCE_MAX, "the next event's time", || {
                self.fleet.check().map_err(|error| format!("{error:#}"))?;
                let spoke = arrivals.last_of_all().is_some_and(|heard| heard > last);
                let sent = feed.sent();
                feed.pace(if sent < share(i) { 100 } else { AHEAD_PERCENT });
                if sent >= share(i) && spoke { Ok(()) } else { Err(format!("{sent} written, output: {spoke}")) }
            })?;
            ensure!(!feed.is_finished(), "the flights ran out before `{}`; give it more --seconds", event.name());
            let (at, sent) = (Instant::now(), feed.sent());
            println!("  {:>6.1} s, {sent:>7} written: {}", first.elapsed().as_secs_f64(), event.name());
            if let Some(last) = happened.last_mut() {
                last.until = at;
            }
            happened.push(Happened { event: Some(*event), sent, at, until: at });
            self.happen(*event, arrivals)?;
        }
        feed.pace(100);
        until_within(REST_MAX, "the flights to be written", || {
            feed.is_finished().then_some(()).ok_or_else(|| format!("{} written", feed.sent()))
        })?;
        if let Some(last) = happened.last_mut() {
            last.until = Instant::now();
        }
        Ok(happened)
    }

    fn happen(&mut self, event: Event, arrivals: &Arrivals) -> Result<()> {
        match event {
            Event::Join => self.fleet.start(&self.host, GUEST)?,
            Event::Leave => self.fleet.stop(GUEST)?,
            Event::KillWorker(slot) => {
                self.fleet.kill9(slot)?;
                self.fleet.start(&self.host, slot)?;
            }
            Event::KillLeader => {
                let killed = Instant::now();
                let leader = self.kafka.leader_of(&physical(PIPELINE), 0).context("partition 0 has no leader")?;
                self.kafka.kill9(leader);
                until_within(SILENCE_MAX, "output without the broker", || {
                    let heard = arrivals.last_of_all().is_some_and(|last| last > killed);
                    if heard { Ok(()) } else { Err("some partition is silent".to_owned()) }
                })?;
                self.kafka.start_broker(leader);
            }
        }
        ensure!(self.fleet.len() == STEADY.len() + usize::from(self.fleet.has(GUEST)), "a worker is missing");
        Ok(())
    }

    fn wait_owned(&self) -> Result<()> {
        let partitions = u32::try_from(self.options.partitions)?;
        self.acme.wait_status(PIPELINE, "workers to own every partition", |status| {
            status.partitions == partitions && status.phase.as_deref() == Some("running")
        })?;
        Ok(())
    }

    /// Waits until the watch has seen as many outputs as there should be. More than that is for the judge.
    fn wait_rest(&mut self, arrivals: &Arrivals) -> Result<()> {
        let wanted: u64 = self.records.iter().map(|record| wanted(record).len() as u64).sum();
        let waited = until_within(REST_MAX, "all outputs", || {
            self.fleet.check().map_err(|error| format!("{error:#}"))?;
            let seen = arrivals.total();
            if seen >= wanted { Ok(()) } else { Err(format!("{seen} of {wanted}")) }
        });
        // What is missing is lost, and the judge says which.
        if let Err(error) = waited {
            eprintln!("fire: {error:#}; the pipeline says {:?}", self.acme.status(PIPELINE));
            return Ok(());
        }
        until("the committed positions to reach the end", || match self.acme.status(PIPELINE) {
            Ok(status) if status.lag == Some(0) => Ok(()),
            Ok(status) => Err(format!("{status:?}")),
            Err(refused) => Err(refused.to_string()),
        })
        .context(format!("waited {} s", DEADLINE.as_secs()))
    }

    /// Reads source and outputs whole and compares them with what is computed without the stages.
    fn judge(&self) -> Result<Verdict> {
        let admin = self.kafka.admin_client();
        let records = self.records.clone();
        let mut judge = Judge::new(move |id| {
            usize::try_from(id).ok().and_then(|id| records.get(id)).map(wanted).unwrap_or_default()
        });
        let id = |message: &rdkafka::message::BorrowedMessage<'_>| header(message, ID_HEADER)?.parse().ok();
        read_all(&admin, &[(physical(PIPELINE), self.options.partitions)], |message| {
            judge.source(id(message), message.partition(), message.offset(), message.timestamp().to_millis());
            Ok(())
        })?;
        let outputs = self.outputs();
        read_all(&admin, &outputs, |message| {
            let partitions = outputs.iter().find(|(topic, _)| topic == message.topic()).map_or(1, |(_, count)| *count);
            judge.output(&Found {
                id: id(message),
                topic: message.topic().to_owned(),
                partition: message.partition(),
                partitions,
                key: text(message.key()),
                value: text(message.payload()),
                timestamp: message.timestamp().to_millis(),
            });
            Ok(())
        })?;
        Ok(judge.conclude())
    }
}

fn physical(topic: &str) -> String {
    format!("{TENANT}.{topic}")
}

fn wanted(record: &Record) -> Vec<Wanted> {
    let outputs = expected::flights(record).map(|expected| expected.outputs).unwrap_or_default();
    let wanted = outputs.into_iter().map(|output| Wanted {
        topic: physical(output.topic),
        key: output.key,
        value: output.value,
    });
    wanted.collect()
}

/// The flights to send: from the archive where there are more than the sample has.
fn records(options: &Options) -> Result<Vec<Record>> {
    ensure!((1..=FLIGHTS).contains(&options.flights), "there are {FLIGHTS} flights");
    let source = options.archive.clone().map_or(Source::Sample, Source::Archive);
    let records: Vec<Record> = flights(&source)?.take(options.flights).collect::<Result<_>>()?;
    ensure!(
        records.len() == options.flights,
        "the sample has {} flights; name the archive with --archive, or ask for --flights {0}",
        records.len()
    );
    Ok(records)
}
