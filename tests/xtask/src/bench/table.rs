//! What bench.py measured, and the table that shows it.
//!
//! Must never: show a run whose outputs are not those of the work.

use super::engine::Engine;
use anyhow::{Context, Result, ensure};

/// Outputs of the work for inputs whose size is known; found by other means than the engines.
const OUTPUTS: [(u64, u64); 2] = [(1_000_000, 800_234), (4_000_000, 3_199_289)];

/// One run of one engine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) engine: Engine,
    pub(crate) outputs: u64,
    pub(crate) cpu_s_per_million: f64,
    pub(crate) records_per_s: f64,
    pub(crate) first_commit_s: f64,
    pub(crate) rss_mb: f64,
}

impl Run {
    /// Reads the line that bench.py prints.
    ///
    /// # Errors
    /// Where a figure is missing: then the run was too short or did not end.
    pub(crate) fn parse(engine: Engine, line: &str) -> Result<Run> {
        let value: serde_json::Value = serde_json::from_str(line).context("bench.py did not print JSON")?;
        let figure = |name: &str| {
            value[name].as_f64().with_context(|| format!("{} gave no `{name}`: it printed {line}", engine.name()))
        };
        Ok(Run {
            engine,
            outputs: value["outputs"].as_u64().with_context(|| format!("no outputs were counted: {line}"))?,
            cpu_s_per_million: figure("cpu_s_per_million")?,
            records_per_s: figure("records_per_s")?,
            first_commit_s: figure("first_commit_s")?,
            rss_mb: figure("rss_mb")?,
        })
    }
}

/// Checks that each run wrote what the work writes: the known number, or for other sizes the same as all others.
///
/// # Errors
/// Names the first run that did not.
pub(crate) fn check_outputs(runs: &[Run], records: u64) -> Result<()> {
    let known = OUTPUTS.iter().find(|(inputs, _)| *inputs == records).map(|(_, outputs)| *outputs);
    let Some(expected) = known.or(runs.first().map(|run| run.outputs)) else { return Ok(()) };
    for run in runs {
        ensure!(
            run.outputs == expected,
            "{} wrote {} records where {expected} are right: what it measured does not count",
            run.engine.name(),
            run.outputs
        );
    }
    Ok(())
}

/// A line for each engine with the medians of its runs.
pub(crate) fn table(runs: &[Run]) -> String {
    let native = median(runs, Engine::Native, |run| run.cpu_s_per_million);
    let mut text = String::from(
        "engine     CPU s per million   ratio to native   records/s   first commit s   peak RSS MB     outputs\n",
    );
    for engine in Engine::ALL {
        let of = |figure: fn(&Run) -> f64| median(runs, engine, figure);
        let Some(cpu) = of(|run| run.cpu_s_per_million) else { continue };
        let ratio = native.map_or("-".to_owned(), |native| format!("{:.2}", cpu / native));
        text += &format!(
            "{:<9}{cpu:>19.2}{ratio:>18}{:>12.0}{:>17.1}{:>14.0}{:>12.0}\n",
            engine.name(),
            of(|run| run.records_per_s).unwrap_or_default(),
            of(|run| run.first_commit_s).unwrap_or_default(),
            of(|run| run.rss_mb).unwrap_or_default(),
            of(|run| run.outputs as f64).unwrap_or_default(),
        );
    }
    text
}

fn median(runs: &[Run], engine: Engine, figure: fn(&Run) -> f64) -> Option<f64> {
    let mut figures: Vec<f64> = runs.iter().filter(|run| run.engine == engine).map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"name": "native", "records": 1000000, "outputs": 800234, "total_s": 5.0, "first_commit_s": 0.4,
        "rss_mb": 178, "cpu_total_s": 2.4, "records_per_s": 366745, "cpu_s_per_million": 2.0}"#;

    #[test]
    fn the_ratio_is_to_the_native_median() {
        let native = Run::parse(Engine::Native, LINE).unwrap();
        let slow = Run { cpu_s_per_million: 9.0, ..native.clone() };
        let bulkhead = Run { engine: Engine::Bulkhead, cpu_s_per_million: 2.5, ..native.clone() };
        let table = table(&[slow, native.clone(), native, bulkhead]);
        let line = table.lines().find(|line| line.starts_with("bulkhead")).unwrap();
        assert!(line.contains(" 1.25 ") && line.contains("800234"), "{table}");
    }

    #[test]
    fn a_run_that_lost_or_doubled_records_does_not_count() {
        let run = Run::parse(Engine::Flink, LINE).unwrap();
        assert!(check_outputs(std::slice::from_ref(&run), 1_000_000).is_ok());
        let lossy = Run { outputs: 800_233, ..run.clone() };
        assert!(check_outputs(std::slice::from_ref(&lossy), 1_000_000).is_err());
        assert!(check_outputs(&[run, lossy], 77).is_err());
    }

    #[test]
    fn a_run_without_figures_is_refused() {
        assert!(Run::parse(Engine::Native, r#"{"outputs": 1}"#).is_err());
        assert!(Run::parse(Engine::Native, "Traceback").is_err());
    }
}
