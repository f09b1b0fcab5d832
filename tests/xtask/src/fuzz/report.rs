//! What libFuzzer says at its end, as a line.
//!
//! Must never: take a fuzzer that ended early for one that was done.

use super::options::Amount;
use std::fmt;
use std::path::PathBuf;

/// One target's run.
#[derive(Debug)]
pub(super) struct Report {
    name: String,
    runs: u64,
    seconds: u64,
    /// Edges that were reached, and inputs that reached something new.
    edges: u64,
    corpus: u64,
    /// The file of the input that failed, as libFuzzer names it.
    failed: Option<String>,
    ended_well: bool,
    log: PathBuf,
}

impl Report {
    pub(super) const HEADER: &'static str = "target          inputs  seconds  inputs/s    edges   corpus  failed";

    /// Reads what a fuzzer wrote on standard error.
    pub(super) fn read(name: &str, said: &str, ended_well: bool, log: PathBuf) -> Self {
        let last = |start: &str| said.lines().rev().find_map(|line| line.split_once(start).map(|(_, rest)| rest));
        let number = |text: Option<&str>| {
            let digits: String =
                text.unwrap_or_default().trim_start().chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        };
        let done = last("Done ").unwrap_or_default();
        Self {
            name: name.to_owned(),
            runs: number(Some(done)),
            seconds: number(done.split_once(" in ").map(|(_, rest)| rest)),
            edges: number(last(" cov: ")),
            corpus: number(last(" corp: ")),
            failed: last("Test unit written to ").map(|file| file.trim().to_owned()),
            ended_well,
            log,
        }
    }

    /// Why this was not what was asked for.
    pub(super) fn failure(&self, asked: &Amount) -> Option<String> {
        if let Some(file) = &self.failed {
            return Some(format!("an input failed, {file}; what was said is in {}", self.log.display()));
        }
        let enough = match asked {
            Amount::Runs(runs) => self.runs >= *runs,
            Amount::Seconds(_) => self.runs > 0,
        };
        (!enough || !self.ended_well).then(|| format!("ended early; what was said is in {}", self.log.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, runs, seconds, edges, corpus, failed, .. } = self;
        let speed = runs / (*seconds).max(1);
        let failed = usize::from(failed.is_some());
        write!(f, "{name:<12} {runs:>9} {seconds:>8} {speed:>9} {edges:>8} {corpus:>8} {failed:>7}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = "\
#999\tpulse  cov: 41 ft: 90 corp: 12/3Kb lim: 80 exec/s: 300 rss: 50Mb
#1000\tDONE   cov: 42 ft: 99 corp: 13/3Kb lim: 80 exec/s: 300 rss: 50Mb
Done 1000 runs in 3 second(s)
stat::number_of_executed_units: 1000
";

    #[test]
    fn a_run_is_told_from_one_that_failed_or_ended_early() {
        let read = |said: &str, well| Report::read("columns", said, well, PathBuf::from("log"));
        let report = read(DONE, true);
        assert_eq!((report.runs, report.seconds, report.edges, report.corpus), (1_000, 3, 42, 13));
        assert_eq!(report.failure(&Amount::Runs(1_000)), None);
        assert!(report.failure(&Amount::Runs(1_001)).is_some());
        assert!(read(DONE, false).failure(&Amount::Seconds(3)).is_some());
        let crashed = "==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='x/'; Test unit written to x/crash-1\n";
        assert!(read(crashed, false).failure(&Amount::Seconds(3)).is_some_and(|why| why.contains("x/crash-1")));
    }
}
