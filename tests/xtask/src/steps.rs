//! A sequence of steps: each is announced, timed and remembered, and one that fails does not stop those that are still useful.
//!
//! Must never: lose a failure.

use anyhow::Result;
use std::time::{Duration, Instant};

/// What has been done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    failure: Option<String>,
}

impl Steps {
    /// Does a step. Returns what it gave, or `None` where it failed, after saying why.
    pub(crate) fn run<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        let failure = result.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("error: {failure}");
        }
        self.done.push(Step { name, took: start.elapsed(), failure });
        result.ok()
    }

    /// How many steps failed.
    pub(crate) fn failed(&self) -> usize {
        self.done.iter().filter(|step| step.failure.is_some()).count()
    }

    /// A line for each step: how long it took and whether it failed.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for step in &self.done {
            let verdict = step.failure.as_deref().map_or("ok".to_owned(), |failure| format!("FAILED: {failure}"));
            text += &format!("{:>8.1} s  {:<28} {verdict}\n", step.took.as_secs_f64(), step.name);
        }
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        text + &format!("{:>8.1} s  in all\n", total.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_failed_step_is_told_and_the_next_still_runs() {
        let mut steps = Steps::default();
        assert_eq!(steps.run::<()>("first", || bail!("no luck")), None);
        assert_eq!(steps.run("second", || Ok(7)), Some(7));
        assert_eq!(steps.failed(), 1);
        let summary = steps.summary();
        assert!(summary.contains("FAILED: no luck") && summary.contains("second"), "{summary}");
    }
}
