//! A day of 100 pipelines, minute by minute, through the code that runs in control, with ten things gone wrong.
//!
//! Each has a rhythm of the day, noise, bursts that it falls behind in and catches up with, records of two kinds, workers that start
//! anew, and revisions that cost and write something else. What goes wrong is in [`INJECTED`]. `BULKHEAD_ANOMALY_DAYS` days are simulated,
//! each with another seed; one in the test, more in `cargo xtask bench anomalies`, which shows the table.
//! Must never: tell the detector anything that a worker's report does not say.

use super::*;
use bulkhead_core::assignment::Phase;
use std::collections::BTreeMap;
use std::f64::consts::TAU;

const PIPELINES: usize = 100;
const MINUTES: i64 = 1_440;
/// Minutes after its end within which what went wrong still counts as found.
const GRACE: i64 = 10;

/// What goes wrong, and for how many minutes.
const INJECTED: [(Signal, Wrong, i64); 10] = [
    (Signal::FuelPerRecord, Wrong::Fuel(2.0), 30),
    (Signal::FuelPerRecord, Wrong::Fuel(4.0), 15),
    (Signal::FuelPerRecord, Wrong::Fuel(0.4), 45),
    (Signal::ErrorRate, Wrong::Errors(0.03), 30),
    (Signal::ErrorRate, Wrong::Errors(0.08), 20),
    (Signal::ErrorRate, Wrong::Errors(0.25), 10),
    (Signal::Lag, Wrong::Capacity(0.0), 25),
    (Signal::Lag, Wrong::Capacity(0.3), 60),
    (Signal::OutputRatio, Wrong::Output(0.3), 30),
    (Signal::OutputRatio, Wrong::Output(2.0), 40),
];

/// What becomes of a pipeline.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// Times its fuel per record.
    Fuel(f64),
    /// Its share of dead letters beside what it has anyway.
    Errors(f64),
    /// Times what it can do.
    Capacity(f64),
    /// Times its output per record.
    Output(f64),
}

/// What was found in one day.
#[derive(Debug, Default)]
struct Found {
    found: Vec<(Signal, i64)>,
    missed: Vec<(Signal, Wrong)>,
    false_alarms: Vec<(usize, Signal, i64)>,
}

/// xorshift64*, since a simulation must be the same with every release of a crate.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    /// Between two bounds, each order of magnitude as likely.
    fn scale(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.share().max(1e-12).ln()).sqrt() * (TAU * self.share()).cos()
    }

    /// How many of `n` where each is with this chance.
    fn of(&mut self, n: f64, chance: f64) -> f64 {
        let mean = n * chance;
        if mean > 30.0 {
            return (mean + self.normal() * (mean * (1.0 - chance.min(1.0))).sqrt())
                .round()
                .clamp(0.0, n * chance.max(1.0));
        }
        // Knuth's way to a Poisson number.
        let (limit, mut product, mut count) = ((-mean).exp(), self.share(), 0.0);
        while product > limit {
            product *= self.share();
            count += 1.0;
        }
        count
    }
}

/// A simulated pipeline.
struct Simulated {
    rate: f64,
    phase: f64,
    capacity: f64,
    fuel: f64,
    /// How many times as much the second kind of record costs, and how many records are of it.
    kinds: (f64, f64),
    errors: f64,
    output: f64,
    burst: (f64, i64),
    waiting: f64,
    revision: u64,
    boot: u64,
    totals: Totals,
}

impl Simulated {
    fn new(dice: &mut Dice) -> Self {
        let rate = dice.scale(30.0, 20_000.0);
        Self {
            rate,
            phase: dice.share(),
            capacity: rate * dice.between(2.5, 8.0),
            fuel: dice.scale(1e3, 1e7),
            kinds: (dice.between(1.0, 5.0), dice.between(0.0, 0.4)),
            errors: if dice.share() < 0.6 { 0.0 } else { dice.scale(1e-4, 1e-2) },
            output: dice.scale(0.02, 3.0),
            burst: (1.0, 0),
            waiting: 0.0,
            revision: 1,
            boot: 1,
            totals: Totals::default(),
        }
    }

    /// What the operator and the world do to it.
    fn live(&mut self, dice: &mut Dice) {
        self.burst.1 -= 1;
        if self.burst.1 < 0 && dice.share() < 1.0 / 300.0 {
            self.burst = (dice.between(2.0, 4.0), dice.between(3.0, 8.0) as i64);
        }
        if dice.share() < 1.5 / MINUTES as f64 {
            self.revision += 1;
            self.fuel *= dice.scale(0.5, 2.0);
            self.output *= dice.scale(0.6, 1.6);
        }
        if dice.share() < 3.0 / MINUTES as f64 {
            self.boot += 1;
            self.totals = Totals::default();
        }
    }

    /// A minute of it.
    fn run(&mut self, minute: i64, wrong: Option<Wrong>, dice: &mut Dice) {
        self.live(dice);
        let day = 1.0 + 0.7 * (TAU * (minute as f64 / MINUTES as f64 + self.phase)).sin();
        let burst = if self.burst.1 >= 0 { self.burst.0 } else { 1.0 };
        let arrived = (self.rate * day * burst * (1.0 + 0.15 * dice.normal())).max(0.0);
        let mut output = self.output * (1.0 + 0.1 * (TAU * minute as f64 / 700.0).sin());
        let (mut fuel, mut errors, mut capacity) = (self.fuel, self.errors, self.capacity);
        // A bad minute now and then: a few records that nobody can read.
        if self.errors > 0.0 && dice.share() < 0.01 {
            errors *= 5.0;
        }
        match wrong {
            Some(Wrong::Fuel(times)) => fuel *= times,
            Some(Wrong::Errors(more)) => errors += more,
            Some(Wrong::Capacity(times)) => capacity = self.rate * day * times,
            Some(Wrong::Output(times)) => output *= times,
            None => {}
        }
        let done = (self.waiting + arrived).min(capacity).floor();
        self.waiting += arrived - done;
        let dear = dice.of(done, self.kinds.1);
        let dead = dice.of(done, errors).min(done);
        let cost = fuel * (1.0 + 0.04 * dice.normal()) * ((done - dear) + dear * self.kinds.0);
        self.totals += Totals {
            records_in: done as u64,
            records_out: dice.of(done - dead, output) as u64,
            bytes_in: 0,
            bytes_out: 0,
            dead_letters: dead as u64,
            fuel: cost.max(0.0) as u64,
        };
    }

    fn report(&self, at: usize) -> PipelineReport {
        PipelineReport {
            key: key(at),
            incarnation: String::new(),
            starts: 0,
            revision: self.revision,
            phase: Phase::Running,
            parked: false,
            standby: false,
            code: None,
            message: None,
            lag: Some(self.waiting as i64),
            partitions: 4,
            totals: self.totals,
            state_bytes: 0,
            memory_bytes: 0,
            slowed: None,
            stages: BTreeMap::new(),
            initialised: BTreeMap::new(),
            uses: Vec::new(),
        }
    }
}

fn key(at: usize) -> PipelineKey {
    PipelineKey {
        tenant: format!("t{}", at % 10).parse().unwrap(),
        project: "default".parse().unwrap(),
        pipeline: format!("p{at}").parse().unwrap(),
    }
}

fn anomalies() -> Anomalies {
    Anomalies::new(Series::new(&prometheus::Registry::new()).unwrap())
}

/// Simulates a day: each pipeline has a worker of its own. Gives what was found.
fn day(seed: u64) -> Found {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let anomalies = anomalies();
    let mut pipelines: Vec<_> = (0..PIPELINES).map(|_| Simulated::new(&mut dice)).collect();
    // What goes wrong, at ten pipelines that are busy enough to be measured each minute.
    let busy: Vec<usize> = (0..PIPELINES).filter(|at| pipelines[*at].rate > 1_000.0).collect();
    let wrongs: Vec<_> = INJECTED
        .iter()
        .enumerate()
        .map(|(i, (signal, wrong, lasts))| {
            let at = busy[i * busy.len() / INJECTED.len()];
            (at, *signal, *wrong, dice.between(180.0, (MINUTES - 120) as f64) as i64, *lasts)
        })
        .collect();
    let (mut result, mut found) = (Found::default(), vec![false; wrongs.len()]);
    for minute in 0..MINUTES {
        for (at, pipeline) in pipelines.iter_mut().enumerate() {
            let now =
                wrongs.iter().find(|(which, .., from, lasts)| *which == at && (*from..from + lasts).contains(&minute));
            pipeline.run(minute, now.map(|(_, _, wrong, ..)| *wrong), &mut dice);
            let (worker, boot) = (format!("w{at}"), pipeline.boot.to_string());
            let report = WorkerReport {
                worker,
                boot,
                generation: 1,
                settled: 1,
                partial: false,
                pipelines: vec![pipeline.report(at)],
                tenants: BTreeMap::new(),
            };
            for line in anomalies.hear(&report, minute * WINDOW_MS).iter().filter(|line| line.level == LogLevel::Warn) {
                let signal = Signal::ALL.into_iter().find(|signal| line.code == Some(signal.code())).unwrap();
                let meant = |(which, what, _, from, lasts): &(usize, Signal, Wrong, i64, i64)| {
                    *which == at && *what == signal && (*from..from + lasts + GRACE).contains(&minute)
                };
                match wrongs.iter().position(meant) {
                    Some(which) if !found[which] => {
                        found[which] = true;
                        result.found.push((signal, minute - wrongs[which].3));
                    }
                    Some(_) => {}
                    None => result.false_alarms.push((at, signal, minute)),
                }
            }
        }
    }
    let missed = wrongs.iter().zip(found).filter(|(_, found)| !found);
    result.missed = missed.map(|((_, signal, wrong, ..), _)| (*signal, *wrong)).collect();
    result
}

/// The summary of several days.
fn table(days: &[Found]) -> String {
    let mut text = format!(
        "{:<18}{:>10}{:>8}{:>8}{:>24}{:>14}\n",
        "signal", "injected", "found", "missed", "minutes until (median)", "false alarms"
    );
    for signal in Signal::ALL {
        let injected = INJECTED.iter().filter(|(of, ..)| *of == signal).count() * days.len();
        let mut after: Vec<_> =
            days.iter().flat_map(|day| &day.found).filter(|(of, _)| *of == signal).map(|(_, after)| *after).collect();
        after.sort_unstable();
        let missed = days.iter().flat_map(|day| &day.missed).filter(|(of, _)| *of == signal).count();
        let alarms = days.iter().flat_map(|day| &day.false_alarms).filter(|(_, of, _)| *of == signal).count();
        let median = after.get(after.len() / 2).map_or("-".to_owned(), ToString::to_string);
        text += &format!("{:<18}{injected:>10}{:>8}{missed:>8}{median:>24}{alarms:>14}\n", signal.name(), after.len());
    }
    text + &format!(
        "{} days of {PIPELINES} pipelines, {} checks\n",
        days.len(),
        days.len() * PIPELINES * MINUTES as usize * 4
    )
}

#[test]
fn ten_things_that_go_wrong_in_a_day_are_found_and_little_else_is() {
    let days = std::env::var("BULKHEAD_ANOMALY_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(1);
    let days: Vec<_> = (1..=days).map(day).collect();
    println!("{}", table(&days));
    for (number, day) in days.iter().enumerate() {
        println!("day {}: missed {:?}, false alarms {:?}", number + 1, day.missed, day.false_alarms);
    }
    let missed: usize = days.iter().map(|day| day.missed.len()).sum();
    let alarms: usize = days.iter().map(|day| day.false_alarms.len()).sum();
    assert!(missed <= days.len(), "{missed} of {} were missed", days.len() * INJECTED.len());
    assert!(alarms <= 2 * days.len(), "{alarms} false alarms in {} days of 100 pipelines", days.len());
}

/// One pipeline's reports by two workers.
fn said(anomalies: &Anomalies, worker: &str, boot: &str, minute: i64, fuel: u64, records: u64) -> Vec<LogLine> {
    let mut pipeline = Simulated::new(&mut Dice(1)).report(1);
    pipeline.totals = Totals { records_in: records, records_out: records, fuel, ..Totals::default() };
    let (worker, boot) = (worker.to_owned(), boot.to_owned());
    let report = WorkerReport {
        worker,
        boot,
        generation: 1,
        settled: 1,
        pipelines: vec![pipeline],
        partial: false,
        tenants: BTreeMap::new(),
    };
    anomalies.hear(&report, minute * WINDOW_MS)
}

#[test]
fn two_workers_are_one_pipeline_and_a_worker_that_starts_anew_is_no_news() {
    let anomalies = anomalies();
    for minute in 1..=40_i64 {
        let done = minute.cast_unsigned() * 1_000;
        assert_eq!(said(&anomalies, "a", "1", minute, done * 50, done), []);
        // It began long before it was heard of, and starts anew at minute 20.
        let (boot, done) = if minute < 20 { ("1", done + 5_000_000) } else { ("2", done - 19_000) };
        assert_eq!(said(&anomalies, "b", boot, minute, done * 70, done), []);
    }
    assert!(anomalies.of(&key(1)).is_empty());
    let mut lines = Vec::new();
    for minute in 41..=44_i64 {
        let done = (minute - 40).cast_unsigned() * 1_000;
        lines.extend(said(&anomalies, "a", "1", minute, 40_000 * 50 + done * 300, 40_000 + done));
        lines.extend(said(&anomalies, "b", "2", minute, 21_000 * 70 + done * 300, 21_000 + done));
    }
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.message.starts_with("fuel per record is 3") && line.message.contains("usually "), "{line:?}");
    let unusual = anomalies.of(&key(1));
    assert_eq!((unusual.len(), unusual[0].signal, unusual[0].code), (1, "fuel-per-record", "BH0021"));
    assert!(anomalies.of(&key(2)).is_empty());
    // Nobody speaks of it any more.
    let nothing = WorkerReport {
        worker: "a".into(),
        boot: "1".into(),
        generation: 1,
        settled: 1,
        partial: false,
        pipelines: Vec::new(),
        tenants: BTreeMap::new(),
    };
    anomalies.hear(&nothing, 60 * WINDOW_MS);
    assert!(anomalies.pipelines.lock().is_empty() && anomalies.of(&key(1)).is_empty());
}
