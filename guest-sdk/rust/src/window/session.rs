//! Windows that last as long as records of a key come without a pause.
//!
//! All open sessions of a key lie together under the key; an index of times says which key to look at next. A session that grows
//! leaves its index entry where it is: the entry comes up too early, is moved to the session's real end, and costs one write for each pause
//! instead of one for each record.
//! Must never: merge with a session that is closed, or give one before its real end.

use super::clock::Clock;
use super::{Closed, EventTime, Merge, Placed, give, milliseconds, span, usable};
use crate::outputs::Outputs;
use crate::state::{call, codec, key};
use crate::{InitError, Reject, StageResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::time::Duration;

const SESSIONS: u8 = b's';
const INDEX: u8 = b'i';

/// What is kept of a key.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    /// The time of its index entry, which is no later than the first end of `open`.
    indexed: i64,
    /// Its sessions, by start; those at the front may be closed and wait for their turn.
    open: Vec<Session<T>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session<T> {
    start: i64,
    end: i64,
    value: T,
}

/// Windows that last as long as records of a key come with less than `gap` between them; see [`window`](crate::window).
///
/// ```
/// use bulkhead_sdk::prelude::*;
/// use bulkhead_sdk::testing::{Case, Input};
/// use bulkhead_sdk::window::{Closed, Sessions};
/// use std::time::Duration;
///
/// fn setup(_: &Config) -> Result<Sessions<u64>, InitError> {
///     Sessions::new("visits", Duration::from_secs(30))
/// }
///
/// #[stage(init = setup)]
/// fn visits(visits: &mut Sessions<u64>, record: Record, out: &mut Outputs) -> StageResult {
///     let visitor = record.key().or_dead_letter("a click has a visitor")?;
///     let _late = visits.add(record.timestamp(), visitor, |clicks| *clicks += 1)?;
///     visits.close(out, |visit, out| {
///         out.to("out").key(visit.key).value(format!("{} clicks in {} ms", visit.value, visit.end - visit.start));
///         Ok(())
///     })
/// }
///
/// let clicks = [0, 20_000, 45_000, 90_000].map(|at| Input::new("").key("ann").timestamp(at));
/// assert_eq!(Case::new().records(clicks).run::<visits>().texts("out"), ["3 clicks in 75000 ms"]);
/// ```
#[derive(Debug)]
pub struct Sessions<T> {
    name: &'static str,
    gap: i64,
    clock: Clock,
    /// Where keys are put together.
    buffer: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

impl<T: Default + Merge + Serialize + DeserializeOwned> Sessions<T> {
    /// Sessions that end when `gap` has passed without a record of their key; that pause is part of them, as their end is not known before.
    ///
    /// The name tells them from other state of the stage. Give them a new one where the gap or `T` change.
    ///
    /// # Errors
    /// Where the gap is under a millisecond or over a thousand years.
    ///
    /// # Panics
    /// Where the name is empty, longer than 64 bytes or holds a zero byte.
    pub fn new(name: &'static str, gap: Duration) -> Result<Self, InitError> {
        let gap = span("a session's gap", gap)?;
        Ok(Self { name, gap, clock: Clock::new(name), buffer: Vec::new(), of: PhantomData })
    }

    /// As [`Windows::lateness`](super::Windows::lateness).
    #[must_use]
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.clock.lateness = milliseconds(lateness);
        self
    }

    /// As [`Windows::idle`](super::Windows::idle).
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.clock.idle = Some(milliseconds(idle));
        self
    }

    /// As [`Windows::flush_max`](super::Windows::flush_max).
    #[must_use]
    pub fn flush_max(mut self, sessions: usize) -> Self {
        self.clock.flush_max = sessions.max(1);
        self
    }

    /// Adds a record to the session of its key and time, which may join two sessions into one. Never [`Placed::Partly`].
    ///
    /// # Errors
    /// A dead letter where there is no usable time, the key is over 900 bytes, or the open sessions of the key are over 1 MiB.
    pub fn add(
        &mut self,
        time: impl EventTime,
        key: impl AsRef<[u8]>,
        gather: impl FnOnce(&mut T),
    ) -> Result<Placed, Reject> {
        let (time, key) = (usable(time)?, key.as_ref());
        super::check_key(key)?;
        let watermark = self.clock.see(time)?;
        self.at(SESSIONS, &[key]);
        let (place, kept) = call::with(|overlay| crate::state::read::<Kept<T>>(overlay, &self.buffer))?;
        let mut kept = kept.unwrap_or(Kept { indexed: i64::MAX, open: Vec::new() });
        let Some(end) = kept.join(time, time + self.gap, watermark, gather) else { return Ok(Placed::Late) };
        let first = kept.first_end();
        let before = kept.indexed;
        kept.indexed = before.min(first);
        call::with(|overlay| overlay.write(place, |bytes| codec::encode(&kept, bytes)))?;
        if kept.indexed != before {
            self.unindex(before, key)?;
            self.index(kept.indexed, key)?;
        }
        self.clock.opened(end)?;
        Ok(Placed::InTime)
    }

    /// As [`Windows::close`](super::Windows::close); sessions come by end, then key.
    ///
    /// # Errors
    /// As there.
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
        key::start(&mut first, self.name, INDEX);
        key::start(&mut last, self.name, INDEX + 1);
        let own = first.len();
        // Entries that come up too early cost a little too: they count as a quarter.
        let (mut given, mut moved) = (0, 0);
        loop {
            let next = call::with(|overlay| overlay.scan(&first, Some(&last), 1)).pop();
            let Some((entry, _)) = next else { return self.clock.gave(given, i64::MAX) };
            let Some((at, key)) = parts(&entry[own..]) else { return Err(super::not_ours(&entry)) };
            if at > watermark || given + moved / 4 >= most {
                return self.clock.gave(given, at);
            }
            if self.give_first(at, key, out, each)? {
                given += 1;
            } else {
                moved += 1;
            }
        }
    }

    /// Gives the key's first session, where it ends at this time, and moves the index entry on. Says whether it was given.
    fn give_first(
        &mut self,
        at: i64,
        key: &[u8],
        out: &mut Outputs<'_>,
        each: &mut impl FnMut(Closed<'_, T>, &mut Outputs<'_>) -> StageResult,
    ) -> Result<bool, Reject> {
        self.at(SESSIONS, &[key]);
        let (place, kept) = call::with(|overlay| crate::state::read::<Kept<T>>(overlay, &self.buffer))?;
        let mut kept = kept.ok_or_else(|| super::not_ours(&self.buffer))?;
        let given = match kept.open.iter().position(|session| session.end == at) {
            Some(first) => {
                let Session { start, end, value } = kept.open.remove(first);
                give(Closed { key, start, end, value }, out, each)?;
                true
            }
            None => false,
        };
        self.unindex(at, key)?;
        if kept.open.is_empty() {
            call::with(|overlay| overlay.delete(place));
        } else {
            kept.indexed = kept.first_end();
            self.index(kept.indexed, key)?;
            call::with(|overlay| overlay.write(place, |bytes| codec::encode(&kept, bytes)))?;
        }
        Ok(given)
    }

    /// As [`Windows::watermark`](super::Windows::watermark).
    ///
    /// # Errors
    /// As there.
    pub fn watermark(&mut self) -> Result<Option<i64>, Reject> {
        self.clock.watermark()
    }

    fn at(&mut self, kind: u8, rest: &[&[u8]]) {
        key::start(&mut self.buffer, self.name, kind);
        rest.iter().for_each(|part| self.buffer.extend_from_slice(part));
    }

    fn index(&mut self, time: i64, key: &[u8]) -> Result<(), Reject> {
        self.at(INDEX, &[&key::time_bytes(time), key]);
        call::with(|overlay| {
            let place = overlay.place(&self.buffer)?;
            overlay.write(place, |_| Ok(()))
        })
    }

    fn unindex(&mut self, time: i64, key: &[u8]) -> Result<(), Reject> {
        if time == i64::MAX {
            return Ok(()); // there is no entry yet
        }
        self.at(INDEX, &[&key::time_bytes(time), key]);
        call::with(|overlay| overlay.place(&self.buffer).map(|place| overlay.delete(place)))
    }
}

impl<T: Default + Merge> Kept<T> {
    /// Joins a record that lasts from `start` to `end` with the open sessions that it touches, and gives the end of what came of it; `None` where it is late.
    fn join(&mut self, start: i64, end: i64, watermark: i64, gather: impl FnOnce(&mut T)) -> Option<i64> {
        let touches = |session: &Session<T>| session.end > watermark && session.start < end && start < session.end;
        let mut joined: Option<Session<T>> = None;
        let mut i = 0;
        while i < self.open.len() {
            if touches(&self.open[i]) {
                let session = self.open.remove(i);
                match &mut joined {
                    None => joined = Some(session),
                    Some(joined) => {
                        joined.end = joined.end.max(session.end);
                        joined.value.merge(session.value);
                    }
                }
            } else {
                i += 1;
            }
        }
        if joined.is_none() && end <= watermark {
            return None;
        }
        let mut session = joined.unwrap_or_else(|| Session { start, end, value: T::default() });
        session.start = session.start.min(start);
        session.end = session.end.max(end);
        gather(&mut session.value);
        let end = session.end;
        let place = self.open.partition_point(|other| other.start < session.start);
        self.open.insert(place, session);
        Some(end)
    }

    fn first_end(&self) -> i64 {
        self.open.iter().map(|session| session.end).min().unwrap_or(i64::MAX)
    }
}

/// Time and key of an index entry.
fn parts(rest: &[u8]) -> Option<(i64, &[u8])> {
    let (time, key) = rest.split_first_chunk()?;
    Some((key::time_of(*time), key))
}
