//! Watches committed output as a reader of the topics sees it, and says how long it was silent.
//!
//! Must never: judge; the watch counts and takes times, whole topics are read again afterwards.

use crate::topics::{Topic, assign, reader};
use anyhow::{Context, Result};
use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::BorrowedMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// Arrivals closer than this to the one before are not kept: gaps are told to a hundredth of a second.
const GRAIN: Duration = Duration::from_millis(5);

/// A running watch over several *streams*: sets of records whose silence is measured apart.
pub struct Watch {
    arrivals: Arc<Arrivals>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// When records of each stream arrived.
pub struct Arrivals {
    streams: Mutex<Vec<Vec<Instant>>>,
    total: AtomicU64,
}

impl Watch {
    /// Begins. `stream` says to which of `streams` streams a record belongs.
    ///
    /// # Errors
    /// Where the client cannot be made.
    pub fn start(
        config: &ClientConfig,
        topics: &[Topic],
        streams: usize,
        stream: impl Fn(&BorrowedMessage<'_>) -> Option<usize> + Send + 'static,
    ) -> Result<Self> {
        let reader = reader(config)?;
        assign(&reader, topics)?;
        let arrivals = Arc::new(Arrivals { streams: Mutex::new(vec![Vec::new(); streams]), total: AtomicU64::new(0) });
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (arrivals.clone(), stop.clone());
        let run = move || watch(&reader, &seen, &stopped, stream);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(run).context("no thread")?;
        Ok(Self { arrivals, stop, thread: Some(thread) })
    }

    /// What has arrived so far, still growing.
    pub fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(
    reader: &BaseConsumer,
    arrivals: &Arrivals,
    stop: &AtomicBool,
    stream: impl Fn(&BorrowedMessage<'_>) -> Option<usize>,
) {
    while !stop.load(Ordering::Relaxed) {
        // Errors of a watch are silence, and silence is what it measures.
        let Some(Ok(message)) = reader.poll(POLL) else { continue };
        arrivals.total.fetch_add(1, Ordering::Relaxed);
        if let Some(stream) = stream(&message) {
            arrivals.add(stream, Instant::now());
        }
    }
}

impl Arrivals {
    fn add(&self, stream: usize, now: Instant) {
        let mut streams = self.streams.lock();
        let times = &mut streams[stream];
        if times.last().is_none_or(|last| now.duration_since(*last) >= GRAIN) {
            times.push(now);
        }
    }

    /// Records seen, of all streams.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// When something of this stream last arrived.
    pub fn last(&self, stream: usize) -> Option<Instant> {
        self.streams.lock()[stream].last().copied()
    }

    /// When something of the stream that has been silent longest last arrived; `None` where one has never spoken.
    pub fn last_of_all(&self) -> Option<Instant> {
        let streams = self.streams.lock();
        streams.iter().map(|times| times.last().copied()).min().flatten()
    }

    /// The longest silence of one stream between two times, counted from `from` where it began before.
    pub fn longest_gap(&self, stream: usize, from: Instant, to: Instant) -> Duration {
        longest(self.streams.lock()[stream].iter().copied(), from, to)
    }

    /// The longest silence of any one stream.
    pub fn longest_gap_of_any(&self, from: Instant, to: Instant) -> Duration {
        let streams = self.streams.lock();
        streams.iter().map(|times| longest(times.iter().copied(), from, to)).max().unwrap_or_default()
    }

    /// The longest time in which all streams were silent together.
    pub fn longest_gap_of_all(&self, from: Instant, to: Instant) -> Duration {
        let mut together: Vec<Instant> = self.streams.lock().iter().flatten().copied().collect();
        together.sort_unstable();
        longest(together.into_iter(), from, to)
    }
}

/// The longest stretch between neighbours that begins before `to` and ends after `from`. A silence that has not ended by `to` goes on to
/// its real end; one that never ended goes to `to`.
fn longest(times: impl Iterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let (mut before, mut longest) = (from, Duration::ZERO);
    for time in times.filter(|time| *time > from) {
        longest = longest.max(time.duration_since(before));
        before = time;
        if time >= to {
            return longest;
        }
    }
    longest.max(to.saturating_duration_since(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_from_the_event_to_its_real_end() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = [0, 100, 900, 1000, 5000, 5100].map(at);
        let gap = |from, to| longest(times.iter().copied(), at(from), at(to)).as_millis();
        assert_eq!(gap(0, 1000), 800);
        assert_eq!(gap(500, 1000), 400, "what was before the event does not count");
        assert_eq!(gap(0, 3000), 4000, "a silence that began inside counts whole");
        assert_eq!(gap(5050, 9000), 3900, "one that never ended counts to the window's end");
    }
}
