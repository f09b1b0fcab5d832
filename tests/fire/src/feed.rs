//! Writes records at a steady pace, each once: an idempotent producer that never gives up.
//!
//! Must never: hide a record that was not delivered.

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The header that names a record.
pub const ID_HEADER: &str = "id";
/// Pause between two bursts; short, so that the stream looks steady.
const BURST: Duration = Duration::from_millis(5);
/// How long the last records may take to be confirmed.
const FLUSH_MAX: Duration = Duration::from_secs(120);

/// A record to write; its id goes into a header.
pub struct Fed {
    /// Its key, which also chooses the partition as Kafka's own clients do.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A feed that runs.
pub struct Feed {
    sent: Arc<AtomicU64>,
    percent: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

#[derive(Default)]
struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
}

struct Counting(Arc<Deliveries>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.done } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Feed {
    /// Begins to write record after record of `records`, `per_second` of them, until there are no more or [`Feed::stop`].
    ///
    /// # Errors
    /// Where the client cannot be made.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        per_second: f64,
        records: impl FnMut(u64) -> Option<Fed> + Send + 'static,
    ) -> Result<Self> {
        let mut config = config.clone();
        config
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "5")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "0");
        let deliveries = Arc::new(Deliveries::default());
        let producer: BaseProducer<Counting> = config.create_with_context(Counting(deliveries.clone()))?;
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let percent = Arc::new(AtomicU32::new(100));
        let run = Run {
            producer,
            deliveries,
            topic: topic.to_owned(),
            per_second,
            sent: sent.clone(),
            percent: percent.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("feed".to_owned()).spawn(move || run.run(records))?;
        Ok(Self { sent, percent, stop, thread: Some(thread) })
    }

    /// Records handed to the client so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Goes on at this share of its pace.
    pub fn pace(&self, percent: u32) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets it end on its own, and says how many records were delivered.
    ///
    /// # Errors
    /// Where one was not.
    pub fn finish(mut self) -> Result<u64> {
        self.join()
    }

    /// Ends it, and says how many records were delivered.
    ///
    /// # Errors
    /// Where one was not.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    fn join(&mut self) -> Result<u64> {
        let thread = self.thread.take().context("the feed has ended")?;
        thread.join().unwrap_or_else(|_| bail!("the feed panicked"))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Run {
    producer: BaseProducer<Counting>,
    deliveries: Arc<Deliveries>,
    topic: String,
    per_second: f64,
    sent: Arc<AtomicU64>,
    percent: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn run(self, mut records: impl FnMut(u64) -> Option<Fed>) -> Result<u64> {
        let (mut id, mut due, mut then) = (0, 0.0, Instant::now());
        'feeding: while !self.stop.load(Ordering::Relaxed) {
            let pace = self.per_second * f64::from(self.percent.load(Ordering::Relaxed)) / 100.0;
            due += then.elapsed().as_secs_f64() * pace;
            then = Instant::now();
            while id as f64 <= due {
                let Some(record) = records(id) else { break 'feeding };
                self.send(id, &record)?;
                id += 1;
                self.sent.store(id, Ordering::Relaxed);
            }
            self.producer.poll(BURST);
        }
        self.producer.flush(FLUSH_MAX).context("records were not confirmed in time")?;
        let (done, failed) =
            (self.deliveries.done.load(Ordering::Relaxed), self.deliveries.failed.load(Ordering::Relaxed));
        ensure!(failed == 0 && done == id, "of {id} records {done} were delivered and {failed} failed");
        Ok(id)
    }

    fn send(&self, id: u64, record: &Fed) -> Result<()> {
        let name = id.to_string();
        loop {
            let headers = OwnedHeaders::new().insert(Header { key: ID_HEADER, value: Some(&name) });
            let message =
                BaseRecord::<str, str>::to(&self.topic).key(&record.key).payload(&record.value).headers(headers);
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(BURST);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
