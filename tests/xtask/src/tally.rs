//! Adds up what `cargo test` reports.
//!
//! Must never: count a test program that ended without a result as a success.

use anyhow::Result;
use std::io::{BufRead, BufReader};
use std::ops::Add;
use std::process::Command;

/// How the line begins that ends what a test program says.
const RESULT: &str = "test result: ";

/// Tests over all test programs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// When what a `cargo test` says is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// At once.
    Lines,
    /// Each test program's when it has ended, so that another run's may be shown meanwhile.
    Programs,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

impl Tally {
    /// Runs a `cargo test`, shows what it says and adds up its results.
    ///
    /// # Errors
    /// Where it cannot be run. Failing tests are no error here: they are counted.
    pub(crate) fn of(mut command: Command, show: Show) -> Result<Tally> {
        let (reader, writer) = std::io::pipe()?;
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // It holds this process's ends of the pipe, which else would never end.
        drop(command);
        let mut tally = Tally::default();
        let mut kept = String::new();
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            tally.add_line(&line);
            kept = kept + &line + "\n";
            if show == Show::Lines || line.starts_with(RESULT) {
                print!("{}", std::mem::take(&mut kept));
            }
        }
        print!("{kept}");
        Ok(tally.settle(child.wait()?.success()))
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`; other lines count nothing.
    fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix(RESULT).and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u64>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// A run that failed without a failed test had a program that crashed or did not build: that is a failure too.
    fn settle(mut self, success: bool) -> Tally {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str], success: bool) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add_line(line));
        tally.settle(success)
    }

    #[test]
    fn results_of_all_programs_add_up() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 15 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ];
        assert_eq!(tally(&lines, false), Tally { passed: 13, failed: 2 });
    }

    #[test]
    fn a_program_that_crashed_counts_as_a_failure() {
        assert_eq!(tally(&["test result: ok. 3 passed; 0 failed;"], false), Tally { passed: 3, failed: 1 });
        assert_eq!(tally(&["test result: ok. 3 passed; 0 failed;"], true), Tally { passed: 3, failed: 0 });
    }
}
