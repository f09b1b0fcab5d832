//! Real brokers: one that tests share, with a login of Bulkhead's own, and a client of a tenant's that goes past Bulkhead.
//!
//! Must never: let two hosts of one broker use the same slot or the same tenants; they would fence and read each other.

use anyhow::{Context, Result};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Folder, KafkaLogin};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long records may take to be written.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// Every tenant of a test on the shared broker: Bulkhead's user may reach these and no others.
const TENANTS: [&str; 15] = [
    "consumer-flights",
    "consumer-weather",
    "classic-flights",
    "classic-weather",
    "apart",
    "billed",
    "fenced",
    "besieged",
    "besieger",
    "rated",
    "verdicts",
    "streamed",
    "woken",
    "orphaned",
    "crowded",
];

static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

/// A broker and Bulkhead's login.
pub(crate) struct Broker {
    pub(crate) kafka: Kafka,
    pub(crate) login: KafkaLogin,
    _folder: Folder,
}

impl Broker {
    /// One of its own, for a test that stops it.
    pub(crate) fn start(tenants: &[&str]) -> Result<Self> {
        Self::of(Kafka::try_start(1)?, Folder::new("login")?, tenants)
    }

    /// This one, with a login in this folder.
    pub(crate) fn of(kafka: Kafka, folder: Folder, tenants: &[&str]) -> Result<Self> {
        let login = KafkaLogin::for_bulkhead(&kafka, tenants, folder.path())?;
        Ok(Self { kafka, login, _folder: folder })
    }

    /// Writes values to a tenant's topic of one partition as the tenant's own program would, and returns when they are there.
    pub(crate) fn write(&self, topic: &str, values: &[&str]) -> Result<()> {
        let mut config = self.kafka.admin_client();
        config.set("enable.idempotence", "true").set("log_level", "0");
        let producer: BaseProducer = config.create()?;
        for value in values {
            let record = BaseRecord::<str, str>::to(topic).key("key").payload(value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(FLUSH_MAX).context("records were not confirmed in time")
    }
}

/// The broker that tests share. It ends with the last test that holds it.
pub(crate) fn shared() -> Result<Arc<Broker>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(broker) = shared.upgrade() {
        return Ok(broker);
    }
    let broker = Arc::new(Broker::start(&TENANTS)?);
    *shared = Arc::downgrade(&broker);
    Ok(broker)
}
