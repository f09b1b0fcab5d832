//! What `cargo xtask fuzz` can be told.
//!
//! Must never: change what a target is, only how much of it is run.

use anyhow::{Context, Result, bail, ensure};

/// Printed by `cargo xtask fuzz --help`.
pub(super) const HELP: &str = "\
cargo xtask fuzz [OPTIONS] [TARGET [FILE]]

  --runs N       this many inputs of each target
  --seconds N    this many seconds of each target (60)
  TARGET         this one alone: a file of tests/fuzz/fuzz_targets
  FILE           this input alone";

/// How much of each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// Inputs.
    Runs(u64),
    /// Seconds.
    Seconds(u64),
}

/// The options, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) amount: Amount,
    pub(super) target: Option<String>,
    pub(super) input: Option<String>,
}

/// Reads the arguments; `None` where help was asked for.
///
/// # Errors
/// Where one is not understood.
pub(super) fn parse(arguments: &[&str], targets: &[String]) -> Result<Option<Options>> {
    let mut options = Options { amount: Amount::Seconds(60), target: None, input: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--help" | "-h" | "help" => return Ok(None),
            "--runs" | "--seconds" => {
                let number = rest.next().with_context(|| format!("{argument} needs a number"))?;
                let number = number.parse().with_context(|| format!("{argument}: `{number}` is no number"))?;
                options.amount = if *argument == "--runs" { Amount::Runs(number) } else { Amount::Seconds(number) };
            }
            name if options.target.is_none() => {
                let known = targets.iter().any(|target| target == name);
                ensure!(known, "there is no target `{name}`; there are {}", targets.join(", "));
                options.target = Some(name.to_owned());
            }
            file if options.input.is_none() && !file.starts_with('-') => options.input = Some(file.to_owned()),
            other => bail!("`{other}` is not understood; `cargo xtask fuzz --help`"),
        }
    }
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order_and_the_rest_is_refused() {
        let targets = ["columns".to_owned(), "module".to_owned()];
        let read = |text: &str| parse(&text.split_whitespace().collect::<Vec<_>>(), &targets);
        let asked = Options { amount: Amount::Runs(5), target: Some("module".to_owned()), input: None };
        assert_eq!(read("module --runs 5").unwrap(), Some(asked.clone()));
        assert_eq!(read("--runs 5 module").unwrap(), Some(asked));
        assert_eq!(read("").unwrap().unwrap().amount, Amount::Seconds(60));
        assert_eq!(read("columns a/b").unwrap().unwrap().input.as_deref(), Some("a/b"));
        assert_eq!(read("--help").unwrap(), None);
        for bad in ["nothing", "--runs", "--runs x", "--speed 5", "columns a b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
