//! One tenant with a steady stream and a pipeline of one stage; victims are this and no more.
//!
//! Must never: depend on another tenant's topics.

use anyhow::Result;
use bulkhead_fire::feed::{Fed, Feed, ID_HEADER};
use bulkhead_fire::judge::{Found, Judge, Verdict, Wanted};
use bulkhead_fire::topics::{Topic, header, read_all, text};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Tenant, stage};
use rdkafka::Message;
use serde_json::json;

/// Partitions of a victim's topics.
const PARTITIONS: i32 = 2;
/// Keys that a stream's records go round.
const KEYS: u64 = 16;

/// The record with this number.
pub(crate) fn record(id: u64, pad: usize) -> Fed {
    let pad = "x".repeat(pad);
    Fed { key: format!("k{}", id % KEYS), value: format!(r#"{{"carrier":"UA","n":{id},"pad":"{pad}"}}"#) }
}

/// What the stage makes of it, said a second time on purpose.
pub(crate) fn enriched(record: &Fed) -> String {
    let fields = record.value.strip_suffix('}').unwrap_or_default();
    format!(r#"{fields},"carrier_name":"United Air Lines Inc."}}"#)
}

/// A pipeline of one stage between three topics.
pub(crate) fn manifest(pipeline: &str, input: &str, output: &str, dead: &str) -> String {
    json!({
        "apiVersion": "bulkhead/v1", "kind": "Pipeline", "name": pipeline,
        "inputs": [{"topic": input}],
        "stages": [{
            "name": "enrich", "module": "enrich:v1", "config": {"carriers": {"UA": "United Air Lines Inc."}},
            "outputs": {"flights": {"topic": output}},
        }],
        "deadLetter": {"topic": dead},
    })
    .to_string()
}

/// A victim.
pub(crate) struct Victim {
    tenant: Tenant,
    feed: Option<Feed>,
}

impl Victim {
    /// Makes its topics and pipeline.
    pub(crate) fn set(tenant: Tenant) -> Result<Self> {
        for topic in ["in", "out", "dead"] {
            tenant.create_topic(topic, PARTITIONS)?;
        }
        tenant.upload("enrich", "v1", std::fs::read(stage("flights-enrich")?)?)?;
        tenant.apply("steady", manifest("steady", "in", "out", "dead"))?;
        Ok(Self { tenant, feed: None })
    }

    /// Its outputs.
    pub(crate) fn output(&self) -> Topic {
        (self.physical("out"), PARTITIONS)
    }

    fn physical(&self, topic: &str) -> String {
        format!("{}.{topic}", self.tenant.name())
    }

    /// Begins its stream.
    pub(crate) fn feed(&mut self, kafka: &Kafka, per_second: u32) -> Result<()> {
        let feed =
            Feed::start(&kafka.admin_client(), &self.physical("in"), per_second.into(), |id| Some(record(id, 0)))?;
        self.feed = Some(feed);
        Ok(())
    }

    /// Ends its stream and waits until all is done.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some(feed) = self.feed.take() else { return Ok(()) };
        let sent = feed.stop()?;
        let what = format!("{} to be done with {sent} records", self.tenant.name());
        self.tenant.wait_status("steady", &what, |status| status.lag == Some(0) && status.totals.records_in >= sent)?;
        Ok(())
    }

    /// Compares all its outputs with what should be there.
    pub(crate) fn judge(&self, kafka: &Kafka) -> Result<Verdict> {
        let out = self.physical("out");
        let mut judge = Judge::new(move |id| {
            let record = record(id, 0);
            vec![Wanted { topic: out.clone(), value: enriched(&record), key: record.key }]
        });
        let id = |message: &rdkafka::message::BorrowedMessage<'_>| header(message, ID_HEADER)?.parse().ok();
        let admin = kafka.admin_client();
        read_all(&admin, &[(self.physical("in"), PARTITIONS)], |message| {
            judge.source(id(message), message.partition(), message.offset(), message.timestamp().to_millis());
            Ok(())
        })?;
        read_all(&admin, &[self.output(), (self.physical("dead"), PARTITIONS)], |message| {
            judge.output(&Found {
                id: id(message),
                topic: message.topic().to_owned(),
                partition: message.partition(),
                partitions: PARTITIONS,
                key: text(message.key()),
                value: text(message.payload()),
                timestamp: message.timestamp().to_millis(),
            });
            Ok(())
        })?;
        Ok(judge.conclude())
    }
}
