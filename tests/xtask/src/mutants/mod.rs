//! Breaks one place of the code at a time and sees who notices.
//!
//! Where it is the tenant that is taken out ([`list::MUTANTS`]), that is the compiler, or the isolation matrix on SQLite or on PostgreSQL, whose
//! row-level security may also hold by itself what a query forgot. Where it is a seal, a limit, a rate ([`guards::GUARDS`]) or a turn
//! ([`fairness::FAIRNESS`]), it is the test that is named beside it, and that passes without the mutant. Each is made in a copy of the repository below `target`, whose control plane is then built and walked
//! by the matrix (`host/control/tests/all/matrix`); the copy's first build is from nothing, the others take what changed. A mutant that
//! nobody notices has survived, which is a failure, and so is one whose place is not in the code any more.
//! Must never: touch the files of the checkout.

mod fairness;
mod guards;
mod list;

use self::fairness::FAIRNESS;
use self::guards::{GUARDS, Guard};
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
    let walls: Vec<_> = MUTANTS.iter().filter(|mutant| mutant.name.contains(filter)).collect();
    let guards: Vec<_> = GUARDS.iter().chain(FAIRNESS).filter(|guard| guard.mutant.name.contains(filter)).collect();
    let survived = without_tenants(&copy, &walls)? + without_guards(&copy, &guards)?;
    println!("{} mutants, {survived} survived", walls.len() + guards.len());
    ensure!(survived == 0, "{survived} mutants survived");
    Ok(())
}

/// How many of these nobody notices.
fn without_tenants(copy: &Copy, chosen: &[&Mutant]) -> Result<usize> {
    if chosen.is_empty() {
        return Ok(0);
    }
    println!("{:<66} {:<62} PostgreSQL", "without the tenant in", "SQLite");
    match copy.verdict()? {
        Verdict::Walked { sqlite: None, postgres: None } => {}
        other => bail!("the code as it is does not pass: {}", other.row()),
    }
    let mut survived = 0;
    for mutant in chosen {
        let verdict = copy.with(mutant, || copy.verdict())?;
        survived += usize::from(!verdict.noticed());
        println!("{:<66} {}", mutant.name, verdict.row());
    }
    Ok(survived)
}

/// How many of these pass the tests that are named for them.
fn without_guards(copy: &Copy, chosen: &[&Guard]) -> Result<usize> {
    for program in ["--lib", "--bins", "--test=all"] {
        let tests: Vec<_> = chosen.iter().filter(|guard| guard.program == program).map(|guard| guard.test).collect();
        if tests.is_empty() {
            continue;
        }
        if let Seen::By(who) = copy.tested(program, &tests)? {
            bail!("the code as it is does not pass: {who}");
        }
    }
    let mut survived = 0;
    for guard in chosen {
        let seen = copy.with(&guard.mutant, || copy.tested(guard.program, &[guard.test]))?;
        let who = match &seen {
            Seen::By(who) => who,
            Seen::ByNobody => "SURVIVED",
        };
        survived += usize::from(matches!(seen, Seen::ByNobody));
        println!("{:<66} {who}", guard.mutant.name);
    }
    Ok(survived)
}

/// Whether tests saw a mutant.
enum Seen {
    /// The first that failed, and how many more; or the compiler.
    By(String),
    ByNobody,
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
        failed(self.tests(&["--test", tests, "--quiet", "--", "matrix::"]), "matrix::")
    }

    /// What these tests say, on the real binary where they start it.
    fn tested(&self, program: &str, tests: &[&str]) -> Result<Seen> {
        // Of the binary and the compiler beside it nothing is to be older than the tests.
        let built = self.cargo(["build", "--workspace"]).succeeds() && self.tests(&[program, "--no-run"]).succeeds();
        if !built {
            return Ok(Seen::By("the compiler refuses it".to_owned()));
        }
        let binary = target().join("mutants/target/debug/bulkhead");
        let run = self.tests(&[&[program, "--quiet", "--no-fail-fast", "--"], tests].concat());
        Ok(failed(run.env("BULKHEAD_BIN", binary), "")?.map_or(Seen::ByNobody, Seen::By))
    }

    fn tests(&self, more: &[&str]) -> Program {
        // The whole workspace, for the features that all other commands build with; the other packages' tests hold none of the matrix.
        self.cargo(["test", "--workspace"]).args(more)
    }

    fn cargo<const N: usize>(&self, command: [&str; N]) -> Program {
        cargo(command).folder(&self.folder).env("CARGO_TARGET_DIR", target().join("mutants/target"))
    }
}

/// The first test that fails in a run, without what its name begins with.
fn failed(run: Program, begins: &str) -> Result<Option<String>> {
    let output = run.into_std().stderr(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = said.lines().filter_map(|line| failed_test(line, begins)).collect();
    Ok(match (output.status.success(), failed.as_slice()) {
        (true, _) => None,
        (false, []) => Some("all of it, before a test could say".to_owned()),
        (false, [only]) => Some((*only).to_owned()),
        (false, [first, rest @ ..]) => Some(format!("{first} and {} more", rest.len())),
    })
}

/// The name in a line of the list of failures, which is indented.
fn failed_test<'a>(line: &'a str, begins: &str) -> Option<&'a str> {
    let name = line.strip_prefix("    ")?.strip_prefix(begins)?;
    let is_path = name.contains("::") || !begins.is_empty();
    (is_path && name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_failed_tests_are_found() {
        assert_eq!(failed_test("    matrix::walk::nobody_passes", "matrix::"), Some("walk::nobody_passes"));
        assert_eq!(failed_test("    rates::a_token", ""), Some("rates::a_token"));
        for line in ["    left: 3", "---- matrix::walk::x stdout ----", "    other"] {
            assert_eq!(failed_test(line, ""), None, "{line}");
        }
    }

    #[test]
    fn every_mutant_is_still_in_the_code() {
        for mutant in MUTANTS.iter().chain(GUARDS.iter().chain(FAIRNESS).map(|guard| &guard.mutant)) {
            let code = fs::read_to_string(root().join(mutant.file)).expect(mutant.file);
            assert_eq!(code.matches(mutant.find).count(), 1, "{}", mutant.name);
            assert_ne!(mutant.find, mutant.replace, "{}", mutant.name);
        }
    }
}
