//! Windows of a fixed size: tumbling and hopping.
//!
//! Must never: add to a window that is closed, whether it was given to the stage already or waits for its turn.

use super::clock::Clock;
use super::{Closed, EventTime, PAGE, Placed, give, milliseconds, span, usable};
use crate::outputs::Outputs;
use crate::state::{call, codec, key};
use crate::{InitError, Reject, StageResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

const WINDOW: u8 = b'w';
/// Overlapping windows that a record may be in at most.
const OVERLAP_MAX: i64 = 1_000;

/// Tumbling or hopping windows that gather a `T` for each key; see [`window`](crate::window).
#[derive(Debug)]
pub struct Windows<T> {
    name: &'static str,
    size: i64,
    hop: i64,
    clock: Clock,
    /// Where keys are put together.
    buffer: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

impl<T: Default + Serialize + DeserializeOwned> Windows<T> {
    /// Windows that begin where the last ends: of an hour, for instance, at each full hour of UTC.
    ///
    /// The name tells them from other state of the stage. Give them a new one where size or `T` change: what is open under the old name stays there, and
    /// is not read.
    ///
    /// # Errors
    /// Where the size is under a millisecond or over a thousand years.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub fn tumbling(name: &'static str, size: Duration) -> Result<Self, InitError> {
        Self::hopping(name, size, size)
    }

    /// Windows that overlap: of a day, for instance, beginning at each full hour. A record is in `size / hop` of them.
    ///
    /// # Errors
    /// Where size or hop are under a millisecond or over a thousand years, the hop is longer than the size, or more than 1,000 overlap.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub fn hopping(name: &'static str, size: Duration, hop: Duration) -> Result<Self, InitError> {
        let (size, hop) = (span("a window's size", size)?, span("a window's hop", hop)?);
        if hop > size {
            return Err(InitError::new(
                "a window's hop is longer than its size: records between two windows would be lost",
            ));
        }
        if size / hop > OVERLAP_MAX {
            return Err(InitError::new(format!(
                "each record would be in more than {OVERLAP_MAX} windows: hop further"
            )));
        }
        Ok(Self { name, size, hop, clock: Clock::new(name), buffer: Vec::new(), of: PhantomData })
    }

    /// How far behind the latest record of its partition a record may be and still be in time. Default none: each record that is
    /// older than a window closed by the one before is late. A longer lateness holds more windows open, and gives each later.
    #[must_use]
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.clock.lateness = milliseconds(lateness);
        self
    }

    /// Closes all open windows of a partition after this long without a record, by ticks. Default never. Make it longer than a producer, or
    /// the host, may be away: what comes later for these windows is late.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.clock.idle = Some(milliseconds(idle));
        self
    }

    /// Closed windows given to the stage in one batch at most. Default 10,000. Keep it, times what each emits, below the manifest's
    /// `limits.outputRecords`.
    #[must_use]
    pub fn flush_max(mut self, windows: usize) -> Self {
        self.clock.flush_max = windows.max(1);
        self
    }

    /// Adds a record to the windows of its key and time. `gather` is called once for each of them, with what was gathered so far.
    ///
    /// # Errors
    /// A dead letter where there is no usable time, or the key is over 900 bytes.
    pub fn add(
        &mut self,
        time: impl EventTime,
        key: impl AsRef<[u8]>,
        mut gather: impl FnMut(&mut T),
    ) -> Result<Placed, Reject> {
        let (time, key) = (usable(time)?, key.as_ref());
        super::check_key(key)?;
        let watermark = self.clock.see(time)?;
        let (mut open, mut closed) = (false, false);
        let mut start = time.div_euclid(self.hop) * self.hop;
        while start + self.size > time {
            let end = start + self.size;
            if end <= watermark {
                closed = true;
                break; // the others begin, and end, earlier still
            }
            self.gather(start, end, key, &mut gather)?;
            open = true;
            start -= self.hop;
        }
        Ok(match (open, closed) {
            (true, false) => Placed::InTime,
            (true, true) => Placed::Partly,
            (false, _) => Placed::Late,
        })
    }

    fn gather(&mut self, start: i64, end: i64, key: &[u8], gather: &mut impl FnMut(&mut T)) -> Result<(), Reject> {
        key::start(&mut self.buffer, self.name, WINDOW);
        self.buffer.extend_from_slice(&key::time_bytes(end));
        self.buffer.extend_from_slice(&key::time_bytes(start));
        self.buffer.extend_from_slice(key);
        let (place, value) = call::with(|overlay| crate::state::read::<T>(overlay, &self.buffer))?;
        let is_new = value.is_none();
        let mut value = value.unwrap_or_default();
        gather(&mut value);
        call::with(|overlay| overlay.write(place, |bytes| codec::encode(&value, bytes)))?;
        if is_new { self.clock.opened(end) } else { Ok(()) }
    }

    /// Gives the stage each window that is closed and was not given before, by end, then start, then key. Call it after [`add`](Self::add) and in
    /// the tick.
    ///
    /// What `each` emits takes over nothing from the record at hand: no key, no headers, and as its time the window's last millisecond.
    ///
    /// # Errors
    /// What `each` says. The record is then rejected and the windows stay, for the next record to close; in a tick the stage stops.
    pub fn close(
        &mut self,
        out: &mut Outputs<'_>,
        mut each: impl FnMut(Closed<'_, T>, &mut Outputs<'_>) -> StageResult,
    ) -> StageResult {
        match self.clock.due(out.tick())? {
            Some((watermark, most)) => self.give_due(watermark, most, out, &mut each),
            None => Ok(()),
        }
    }

    #[cold]
    fn give_due(
        &mut self,
        watermark: i64,
        most: usize,
        out: &mut Outputs<'_>,
        each: &mut impl FnMut(Closed<'_, T>, &mut Outputs<'_>) -> StageResult,
    ) -> StageResult {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        key::start(&mut first, self.name, WINDOW);
        key::start(&mut last, self.name, WINDOW + 1);
        let own = first.len();
        let mut given = 0;
        loop {
            // One more than may be given says when the next is due.
            let page = call::with(|overlay| overlay.scan(&first, Some(&last), PAGE.min(most - given + 1)));
            if page.is_empty() {
                return self.clock.gave(given, i64::MAX);
            }
            for (key, value) in page {
                let Some((end, start, of)) = parts(&key[own..]) else { return Err(super::not_ours(&key)) };
                if end > watermark || given == most {
                    return self.clock.gave(given, end);
                }
                let closed = Closed { key: of, start, end, value: codec::decode(&value)? };
                give(closed, out, each)?;
                call::with(|overlay| overlay.place(&key).map(|place| overlay.delete(place)))?;
                given += 1;
            }
        }
    }

    /// The watermark of the partition at work, in milliseconds since 1970-01-01T00:00Z; `None` before its first record.
    ///
    /// # Errors
    /// A dead letter where the state under this name is something else.
    pub fn watermark(&mut self) -> Result<Option<i64>, Reject> {
        self.clock.watermark()
    }
}

/// End, start and key of a window.
fn parts(rest: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (end, rest) = rest.split_first_chunk()?;
    let (start, key) = rest.split_first_chunk()?;
    Some((key::time_of(*end), key::time_of(*start), key))
}
