//! The time of a partition as its records tell it: latest time, watermark, and what is due.
//!
//! Kept in the state with every change; the copy here is only good within one call, and read anew where `epoch` says so.
//! Must never: let the watermark fall.

use crate::Reject;
use crate::state::{call, codec, key};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const CLOCK: u8 = b't';

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Latest time seen.
    newest: i64,
    /// Windows that end here or before are closed.
    watermark: i64,
    /// No window that is kept ends before.
    due: i64,
    /// The end of the last window ever opened.
    last_end: i64,
    /// The first tick's time since the last record; [`BUSY`] where there was none.
    quiet: i64,
}

/// No tick has come since the last record.
const BUSY: i64 = i64::MIN;
const FRESH: Kept = Kept { newest: i64::MIN, watermark: i64::MIN, due: i64::MAX, last_end: i64::MIN, quiet: BUSY };

/// The clock of the partition at work.
#[derive(Debug)]
pub(super) struct Clock {
    key: Vec<u8>,
    pub(super) lateness: i64,
    /// Milliseconds without a record after which all is closed.
    pub(super) idle: Option<i64>,
    /// Windows given to the stage in one call at most.
    pub(super) flush_max: usize,
    kept: Kept,
    epoch: Option<u64>,
    /// Windows that this call may still give.
    left: usize,
    /// By partition, the `quiet` that this instance last found and its first tick then. That is in memory on purpose: the time in which no host ran, or
    /// another one, does not count as quiet, as records may wait that nobody has read.
    watched: BTreeMap<(u16, i32), (i64, i64)>,
}

impl Clock {
    pub(super) fn new(name: &'static str) -> Self {
        let mut key = Vec::new();
        key::start(&mut key, key::checked(name), CLOCK);
        let (kept, flush_max) = (FRESH, super::FLUSH_CALL_MAX);
        Self { key, lateness: 0, idle: None, flush_max, kept, epoch: None, left: 0, watched: BTreeMap::new() }
    }

    /// Reads what is kept, where the copy may be of another call or partition.
    #[inline]
    fn refresh(&mut self) -> Result<(), Reject> {
        if self.epoch == Some(call::epoch()) { Ok(()) } else { self.read() }
    }

    #[cold]
    fn read(&mut self) -> Result<(), Reject> {
        self.epoch = None;
        let (epoch, kept) = call::with(|overlay| {
            let place = overlay.read(&self.key)?;
            let kept = overlay.value(place).map(codec::decode).transpose()?;
            Ok::<_, Reject>((overlay.epoch(), kept.unwrap_or(FRESH)))
        })?;
        (self.epoch, self.kept, self.left) = (Some(epoch), kept, self.flush_max);
        Ok(())
    }

    fn keep(&mut self, kept: Kept) -> Result<(), Reject> {
        if kept != self.kept {
            call::with(|overlay| {
                let place = overlay.place(&self.key)?;
                overlay.write(place, |bytes| codec::encode(&kept, bytes))
            })?;
            self.kept = kept;
        }
        Ok(())
    }

    /// A record of this time has come: gives the watermark.
    #[inline]
    pub(super) fn see(&mut self, time: i64) -> Result<i64, Reject> {
        self.refresh()?;
        if time > self.kept.newest || self.kept.quiet != BUSY {
            let watermark = self.kept.watermark.max(time.saturating_sub(self.lateness));
            self.keep(Kept { newest: self.kept.newest.max(time), watermark, quiet: BUSY, ..self.kept })?;
        }
        Ok(self.kept.watermark)
    }

    /// A window that ends then is open.
    #[inline]
    pub(super) fn opened(&mut self, end: i64) -> Result<(), Reject> {
        let Kept { due, last_end, .. } = self.kept;
        if end < due || end > last_end {
            self.keep(Kept { due: due.min(end), last_end: last_end.max(end), ..self.kept })?;
        }
        Ok(())
    }

    /// The watermark, where a window may be due, with the number that may be given now; `now` is the host's time in a tick.
    #[inline]
    pub(super) fn due(&mut self, now: Option<i64>) -> Result<Option<(i64, usize)>, Reject> {
        self.refresh()?;
        if let Some(now) = now {
            self.tick(now)?;
        }
        if self.kept.due > self.kept.watermark || self.left == 0 {
            return Ok(None);
        }
        let most = if now.is_some() { self.left } else { self.left.min(super::FLUSH_RECORD_MAX) };
        Ok(Some((self.kept.watermark, most)))
    }

    /// So many windows were given, and none that is kept ends before `due`.
    pub(super) fn gave(&mut self, windows: usize, due: i64) -> Result<(), Reject> {
        self.left -= windows.min(self.left);
        self.keep(Kept { due, ..self.kept })
    }

    /// Where the partition has been quiet for long enough, everything is due.
    fn tick(&mut self, now: i64) -> Result<(), Reject> {
        let Some(idle) = self.idle.filter(|_| self.kept.last_end > self.kept.watermark) else { return Ok(()) };
        if self.kept.quiet == BUSY {
            self.keep(Kept { quiet: now, ..self.kept })?;
        }
        let watched = self.watched.entry(call::partition()).or_insert((self.kept.quiet, now));
        if watched.0 != self.kept.quiet {
            *watched = (self.kept.quiet, now);
        }
        if now.saturating_sub(watched.1) >= idle {
            self.keep(Kept { watermark: self.kept.last_end, ..self.kept })?;
        }
        Ok(())
    }

    /// The watermark.
    pub(super) fn watermark(&mut self) -> Result<Option<i64>, Reject> {
        self.refresh()?;
        Ok(Some(self.kept.watermark).filter(|watermark| *watermark > i64::MIN))
    }
}
