//! What is watched of a pipeline, how it is measured, and from when on a difference matters.
//!
//! Must never: call unusual what the number of records alone explains: each measure says how much chance is in it.

use bulkhead_core::assignment::Totals;
use bulkhead_core::code::Code;

/// Records that a window must have for what is told per record.
pub(super) const VOLUME_MIN: u64 = 100;
/// Added to shares before their logarithm is taken, so that none and next to none are about the same.
const OUTPUT_NONE: f64 = 0.01;
const ERROR_NONE: f64 = 0.002;
/// The same for lag, in records: below it, nobody waits.
const LAG_NONE: f64 = 1_000.0;

/// One thing that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Fuel for each source record.
    FuelPerRecord,
    /// Dead letters of each source record.
    ErrorRate,
    /// Records that wait.
    Lag,
    /// Records written for each source record.
    OutputRatio,
}

/// What happened within a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    records: u64,
    out: u64,
    dead: u64,
    fuel: u64,
}

impl Window {
    /// Adds what was done since `base`.
    pub(super) fn add(&mut self, now: &Totals, base: &Totals) {
        self.records += now.records_in.saturating_sub(base.records_in);
        self.out += now.records_out.saturating_sub(base.records_out);
        self.dead += now.dead_letters.saturating_sub(base.dead_letters);
        self.fuel += now.fuel.saturating_sub(base.fuel);
    }

    /// Whether it has records enough to be measured.
    pub(super) fn is_full(&self) -> bool {
        self.records >= VOLUME_MIN
    }
}

/// A window's measure of a signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// As people know it.
    pub(super) value: f64,
    /// The logarithm that is compared.
    pub(super) log: f32,
    /// The standard deviation that chance gives to that logarithm.
    pub(super) chance: f32,
}

impl Signal {
    pub(super) const ALL: [Signal; 4] = [Self::FuelPerRecord, Self::ErrorRate, Self::Lag, Self::OutputRatio];

    /// As programs know it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FuelPerRecord => "fuel-per-record",
            Self::ErrorRate => "error-rate",
            Self::Lag => "lag",
            Self::OutputRatio => "output-ratio",
        }
    }

    /// As a sentence begins.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::FuelPerRecord => "fuel per record",
            Self::ErrorRate => "the share of dead letters",
            Self::Lag => "lag",
            Self::OutputRatio => "output per record",
        }
    }

    /// Its page.
    pub(super) fn code(self) -> Code {
        match self {
            Self::FuelPerRecord => Code::FuelUnusual,
            Self::ErrorRate => Code::ErrorsUnusual,
            Self::Lag => Code::LagUnusual,
            Self::OutputRatio => Code::OutputUnusual,
        }
    }

    /// Whether another revision may well have another value.
    pub(super) fn is_of_revision(self) -> bool {
        matches!(self, Self::FuelPerRecord | Self::OutputRatio)
    }

    /// Whether less than usual is unusual too.
    pub(super) fn is_two_sided(self) -> bool {
        self.is_of_revision()
    }

    /// Whether a high value that falls is on its way back.
    pub(super) fn is_well_when_it_falls(self) -> bool {
        self == Self::Lag
    }

    /// How many windows in a row must be unusual.
    pub(super) fn confirmed_after(self) -> usize {
        // A burst that drains again is what a log is for.
        if self == Self::Lag { 10 } else { 3 }
    }

    /// The least difference of logarithms that matters to anybody: half as much again, three times the dead letters, four times the lag.
    pub(super) fn matters(self) -> f32 {
        let times: f32 = match self {
            Self::FuelPerRecord | Self::OutputRatio => 1.5,
            Self::ErrorRate => 3.0,
            Self::Lag => 4.0,
        };
        times.ln()
    }

    /// The least spread that a past is believed to have.
    pub(super) fn spread_min(self) -> f32 {
        match self {
            Self::FuelPerRecord | Self::OutputRatio => 0.05,
            Self::ErrorRate | Self::Lag => 0.2,
        }
    }

    /// Measures a window; `None` where there is too little to go by.
    pub(super) fn measure(self, window: &Window, lag: Option<i64>) -> Option<Measured> {
        let log = |value: f64| value.ln() as f32;
        if self == Self::Lag {
            let value = lag?.max(0) as f64;
            return Some(Measured { value, log: log(value + LAG_NONE), chance: 0.0 });
        }
        if !window.is_full() {
            return None;
        }
        let records = window.records as f64;
        let share = |count: u64, none: f64| {
            let value = count as f64 / records;
            // A count of n is off by about its root.
            let chance = (count as f64 + 1.0).sqrt() / records / (value + none);
            Measured { value, log: log(value + none), chance: chance as f32 }
        };
        match self {
            Self::OutputRatio => Some(share(window.out, OUTPUT_NONE)),
            Self::ErrorRate => Some(share(window.dead, ERROR_NONE)),
            _ => {
                let value = window.fuel as f64 / records;
                Some(Measured { value, log: log(value + 1.0), chance: 0.0 })
            }
        }
    }

    /// What a logarithm stood for.
    pub(super) fn value_of(self, log: f32) -> f64 {
        let none = match self {
            Self::FuelPerRecord => 1.0,
            Self::ErrorRate => ERROR_NONE,
            Self::Lag => LAG_NONE,
            Self::OutputRatio => OUTPUT_NONE,
        };
        (f64::from(log).exp() - none).max(0.0)
    }

    /// A value for people.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::FuelPerRecord | Self::Lag => format!("{value:.0}"),
            Self::ErrorRate => format!("{:.2} %", value * 100.0),
            Self::OutputRatio => format!("{value:.3}"),
        }
    }
}
