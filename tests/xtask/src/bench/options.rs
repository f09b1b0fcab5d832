//! What `cargo xtask bench peers` can be told.
//!
//! Must never: change the work that is measured, only how much of it and by whom.

use super::engine::Engine;
use anyhow::{Context, Result, bail, ensure};

/// Printed by `cargo xtask bench peers --help`.
pub(crate) const HELP: &str = "\
cargo xtask bench peers [OPTIONS]

  --records N        records of the input topic (4000000; a JVM is still warming up below that)
  --partitions N     its partitions (4)
  --threads N        threads of each engine (2)
  --rounds N         how often each engine runs; the table has the medians (1)
  --engines A,B,…    of native, streams, flink and bulkhead, in the order in which they run (all)
  --profile ENGINE   afterwards, run this engine once more under perf and say where its time goes";

/// The options, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) records: u64,
    pub(crate) partitions: u32,
    pub(crate) threads: u32,
    pub(crate) rounds: u32,
    pub(crate) engines: Vec<Engine>,
    pub(crate) profile: Option<Engine>,
}

impl Default for Options {
    fn default() -> Self {
        let engines = Engine::ALL.to_vec();
        Self { records: 4_000_000, partitions: 4, threads: 2, rounds: 1, engines, profile: None }
    }
}

/// Reads the arguments; `None` where help was asked for.
///
/// # Errors
/// Where one is not understood.
pub(crate) fn parse(arguments: &[&str]) -> Result<Option<Options>> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        if matches!(*option, "--help" | "-h" | "help") {
            return Ok(None);
        }
        let value = rest.next().with_context(|| format!("`{option}` needs a value"))?;
        match *option {
            "--records" => options.records = number(option, value)?,
            "--partitions" => options.partitions = number(option, value)?,
            "--threads" => options.threads = number(option, value)?,
            "--rounds" => options.rounds = number(option, value)?,
            "--engines" => options.engines = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--profile" => options.profile = Some(value.parse()?),
            _ => bail!("there is no option `{option}`; `cargo xtask bench peers --help` lists them"),
        }
    }
    Ok(Some(options))
}

fn number<T: std::str::FromStr + PartialOrd + From<u8>>(option: &str, value: &str) -> Result<T> {
    let number = value.replace('_', "").parse().ok().with_context(|| format!("`{option}` needs a number"))?;
    ensure!(number >= T::from(1), "`{option}` needs a number of at least 1");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_change_what_they_name_and_nothing_else() {
        let given = parse(&["--records", "1_000_000", "--engines", "native,bulkhead"]).unwrap().unwrap();
        let engines = vec![Engine::Native, Engine::Bulkhead];
        assert_eq!(given, Options { records: 1_000_000, engines, ..Options::default() });
        assert_eq!(parse(&["--help"]).unwrap(), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in [&["--records"][..], &["--records", "0"], &["--engines", "spark"], &["--record", "5"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
