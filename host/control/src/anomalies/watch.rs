//! When one signal of a pipeline is unusual, and when no longer.
//!
//! It learns for [`WARM_UP`] windows. From then on a window is odd that is [`ENTER`] spreads and a difference that matters away from the
//! median (three, as far as chance in the window's own count is what spreads it); so many odd ones in a row as the signal says make it unusual, [`CALM`] in a row within [`LEAVE`] spreads end that.
//! What is unusual is not learned; where it stays so for [`ACCEPT`] windows, it is what is usual from then on. So is it where the
//! pipeline has had nothing to measure for [`ACCEPT`] minutes.
//! Lag that falls is not odd, however much there is: it is being dealt with.
//! Must never: begin twice without an end between, or learn from what it calls unusual.

use super::history::History;
use super::signal::{Measured, Signal};

/// Windows that are learned from before anything is called odd.
pub(super) const WARM_UP: usize = 30;
/// Spreads from the median at which a window is odd.
const ENTER: f32 = 6.0;
/// The same of what is chance alone, which three windows in a row do not share.
const ENTER_CHANCE: f32 = 3.0;
/// Spreads within which it is calm again.
const LEAVE: f32 = 3.0;
/// How much a logarithm must fall to have fallen: one per cent.
const FALL_MIN: f32 = 0.01;
/// Calm windows in a row that end it.
const CALM: usize = 5;
/// Windows after which what was unusual is usual.
const ACCEPT: usize = 60;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Watch {
    history: History,
    /// Odd windows in a row, not yet enough.
    odd: Vec<f32>,
    unusual: Option<Unusual>,
    calm: usize,
    /// Windows since it began.
    lasted: usize,
    /// The window before.
    last: f32,
}

/// That a signal is unusual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unusual {
    pub(super) since_ms: i64,
    pub(super) value: f64,
    pub(super) usual: f64,
}

/// What a window changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Change {
    Began(Unusual),
    Ended(Unusual),
    /// It has become what is usual.
    Accepted(Unusual),
}

impl Watch {
    /// What is unusual, if it is.
    pub(super) fn unusual(&self) -> Option<&Unusual> {
        self.unusual.as_ref()
    }

    /// Forgets what it has learned. Gives the end of what was unusual.
    pub(super) fn begin_anew(&mut self) -> Option<Change> {
        std::mem::take(self).unusual.map(Change::Ended)
    }

    /// Looks at a window's measure; `None` where there was too little to measure.
    pub(super) fn step(&mut self, signal: Signal, measured: Option<Measured>, now_ms: i64) -> Option<Change> {
        if self.unusual.is_some() {
            self.lasted += 1;
            if self.lasted >= ACCEPT {
                return std::mem::take(self).unusual.map(Change::Accepted);
            }
        }
        let measured = measured?;
        let falls = signal.is_well_when_it_falls() && measured.log < self.last - FALL_MIN;
        self.last = measured.log;
        if self.history.len() < WARM_UP {
            self.history.push(measured.log);
            return None;
        }
        let (middle, spread) = self.history.middle()?;
        let spread = spread.max(signal.spread_min());
        let away = measured.log - middle;
        let distance = if signal.is_two_sided() { away.abs() } else { away };
        if let Some(unusual) = &mut self.unusual {
            unusual.value = measured.value;
            let near = LEAVE * spread.hypot(measured.chance);
            self.calm = if distance < near || distance < signal.matters() / 2.0 { self.calm + 1 } else { 0 };
            return if self.calm >= CALM { self.end() } else { None };
        }
        let is_odd = distance >= (ENTER * spread).hypot(ENTER_CHANCE * measured.chance) && distance >= signal.matters();
        if !is_odd || falls {
            // What was odd for a moment is part of its past.
            self.odd.drain(..).for_each(|odd| self.history.push(odd));
            if !is_odd {
                self.history.push(measured.log);
            }
            return None;
        }
        self.odd.push(measured.log);
        if self.odd.len() < signal.confirmed_after() {
            return None;
        }
        self.odd.clear();
        (self.calm, self.lasted) = (0, 0);
        let unusual = Unusual { since_ms: now_ms, value: measured.value, usual: signal.value_of(middle) };
        self.unusual = Some(unusual);
        Some(Change::Began(unusual))
    }

    fn end(&mut self) -> Option<Change> {
        self.unusual.take().map(Change::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64) -> Option<Measured> {
        Some(Measured { value, log: (value + 1.0).ln() as f32, chance: 0.0 })
    }

    /// Steps through values, a minute each; gives at which of them something changed, and what.
    fn walk(watch: &mut Watch, values: impl Iterator<Item = f64>) -> Vec<(usize, Change)> {
        let steps = values.enumerate();
        steps.filter_map(|(at, value)| Some((at, watch.step(Signal::FuelPerRecord, measured(value), 0)?))).collect()
    }

    fn learned() -> Watch {
        let mut watch = Watch::default();
        assert_eq!(walk(&mut watch, (0..WARM_UP + 10).map(|at| 1_000.0 + (at % 7) as f64)), []);
        watch
    }

    #[test]
    fn three_odd_windows_begin_it_and_five_calm_ones_end_it() {
        let mut watch = learned();
        let began = walk(&mut watch, [2_000.0; 3].into_iter());
        let [(2, Change::Began(unusual))] = began[..] else { panic!("{began:?}") };
        assert!((unusual.value - 2_000.0).abs() < 1.0 && (unusual.usual - 1_003.0).abs() < 4.0, "{unusual:?}");
        assert_eq!(walk(&mut watch, [1_000.0, 1_000.0, 1_000.0, 1_000.0, 2_000.0, 1_000.0].into_iter()), []);
        let ended = walk(&mut watch, [1_000.0; 4].into_iter());
        assert!(matches!(ended[..], [(3, Change::Ended(_))]), "{ended:?}");
        assert_eq!(watch.unusual(), None);
    }

    #[test]
    fn two_odd_windows_a_little_more_and_a_first_half_hour_are_nothing() {
        let mut watch = learned();
        assert_eq!(walk(&mut watch, [9_000.0, 9_000.0, 1_000.0, 9_000.0, 9_000.0, 1_000.0].into_iter()), []);
        assert_eq!(walk(&mut watch, [1_400.0; 20].into_iter()), []);
        assert_eq!(walk(&mut Watch::default(), (0..WARM_UP).map(|at| (at * 1_000) as f64)), []);
    }

    #[test]
    fn less_than_usual_is_unusual_for_fuel_and_not_for_lag() {
        let mut watch = learned();
        assert_eq!(walk(&mut watch, [100.0; 3].into_iter()).len(), 1);
        let mut watch = learned();
        for _ in 0..50 {
            assert_eq!(watch.step(Signal::Lag, measured(1.0), 0), None);
        }
    }

    #[test]
    fn what_stays_so_becomes_usual() {
        let mut watch = learned();
        let changes = walk(&mut watch, [5_000.0; 300].into_iter());
        assert!(matches!(changes[..], [(2, Change::Began(_)), (62, Change::Accepted(_))]), "{changes:?}");
        assert_eq!(walk(&mut watch, [5_000.0; 10].into_iter()), []);
        let mut watch = learned();
        walk(&mut watch, [5_000.0; 3].into_iter());
        let silent = (0..ACCEPT).filter_map(|_| watch.step(Signal::FuelPerRecord, None, 0)).count();
        assert_eq!((silent, watch.unusual()), (1, None));
    }
}
