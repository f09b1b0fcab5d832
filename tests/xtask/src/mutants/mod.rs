//! Takes the tenant out of one place of the code at a time and sees who notices: the compiler, or the isolation matrix on SQLite or on
//! PostgreSQL, whose row-level security may also hold by itself what a query forgot.
//!
//! The mutants are [`list::MUTANTS`]. Each is made in a copy of the repository below `target`, whose control plane is then built and walked
//! by the matrix (`host/control/tests/all/matrix`); the copy's first build is from nothing, the others take what changed. A mutant that
//! nobody notices has survived, which is a failure, and so is one whose place is not in the code any more.
//! Must never: touch the files of the checkout.

mod list;

use self::list::{MUTANTS, Mutant};
use crate::command::{Program, cargo, program, root, target};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

/// Makes all mutants, or those whose name contains `filter`.
///
/// # Errors
/// Where one survives, or the code as it is does not pass.
pub(crate) fn run(filter: &str) -> Result<()> {
    let copy = Copy::make()?;
    println!("{:<66} {:<62} PostgreSQL", "without the tenant in", "SQLite");
    match copy.verdict()? {
        Verdict::Walked { sqlite: None, postgres: None } => {}
        other => bail!("the code as it is does not pass: {}", other.row()),
    }
    let chosen: Vec<_> = MUTANTS.iter().filter(|mutant| mutant.name.contains(filter)).collect();
    let mut survived = 0;
    for mutant in &chosen {
        let verdict = copy.with(mutant, || copy.verdict())?;
        survived += usize::from(!verdict.noticed());
        println!("{:<66} {}", mutant.name, verdict.row());
    }
    println!("{} mutants, {survived} survived", chosen.len());
    ensure!(survived == 0, "{survived} mutants survived");
    Ok(())
}

/// Who noticed a mutant.
enum Verdict {
    /// It cannot be built.
    Compiler,
    /// It was built: which test of the matrix failed on each database, and how many more.
    Walked { sqlite: Option<String>, postgres: Option<String> },
}

impl Verdict {
    fn noticed(&self) -> bool {
        !matches!(self, Self::Walked { sqlite: None, postgres: None })
    }

    fn row(&self) -> String {
        let Self::Walked { sqlite, postgres } = self else { return "the compiler refuses it".to_owned() };
        let held = if self.noticed() { "nothing passed its walls" } else { "SURVIVED" };
        format!("{:<62} {}", sqlite.as_deref().unwrap_or("-"), postgres.as_deref().unwrap_or(held))
    }
}

/// The repository once more.
struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn make() -> Result<Self> {
        let folder = target().join("mutants/code");
        // A file that is as it was keeps its time, so that Cargo builds only what changed.
        let listed = program("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
        for name in listed.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (root().join(name), folder.join(name));
            let Ok(bytes) = fs::read(&from) else { continue };
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::write(&to, bytes)?;
        }
        Ok(Self { folder })
    }

    /// Does something while the mutant is in the code.
    fn with<T>(&self, mutant: &Mutant, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.folder.join(mutant.file);
        let before = fs::read_to_string(&path).with_context(|| format!("reading {}", mutant.file))?;
        let places = before.matches(mutant.find).count();
        ensure!(places == 1, "`{}`: its place is {places} times in {}; mend mutants/list.rs", mutant.name, mutant.file);
        fs::write(&path, before.replace(mutant.find, mutant.replace))?;
        let result = work();
        fs::write(&path, before)?;
        result
    }

    fn verdict(&self) -> Result<Verdict> {
        if !self.tests(&["--test", "all", "--test", "postgres", "--no-run"]).succeeds() {
            return Ok(Verdict::Compiler);
        }
        Ok(Verdict::Walked { sqlite: self.walked("all")?, postgres: self.walked("postgres")? })
    }

    /// The first test of the matrix that fails in a test program.
    fn walked(&self, tests: &str) -> Result<Option<String>> {
        let walk = self.tests(&["--test", tests, "--quiet", "--", "matrix::"]);
        let output = walk.into_std().stderr(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed: Vec<&str> = said.lines().filter_map(failed_test).collect();
        Ok(match (output.status.success(), failed.as_slice()) {
            (true, _) => None,
            (false, []) => Some("all of it, before a test could say".to_owned()),
            (false, [only]) => Some((*only).to_owned()),
            (false, [first, rest @ ..]) => Some(format!("{first} and {} more", rest.len())),
        })
    }

    fn tests(&self, more: &[&str]) -> Program {
        // The whole workspace, for the features that all other commands build with; the other packages' tests hold none of the matrix.
        cargo(["test", "--workspace"])
            .args(more)
            .folder(&self.folder)
            .env("CARGO_TARGET_DIR", target().join("mutants/target"))
    }
}

/// The name in a line of the list of failures, which is indented.
fn failed_test(line: &str) -> Option<&str> {
    let name = line.strip_prefix("    matrix::")?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_failed_tests_are_found() {
        assert_eq!(failed_test("    matrix::walk::nobody_passes"), Some("walk::nobody_passes"));
        assert_eq!(failed_test("    left: 3"), None);
        assert_eq!(failed_test("---- matrix::walk::x stdout ----"), None);
    }

    #[test]
    fn every_mutant_is_still_in_the_code() {
        for mutant in MUTANTS {
            let code = fs::read_to_string(root().join(mutant.file)).expect(mutant.file);
            assert_eq!(code.matches(mutant.find).count(), 1, "{}", mutant.name);
            assert_ne!(mutant.find, mutant.replace, "{}", mutant.name);
        }
    }
}
