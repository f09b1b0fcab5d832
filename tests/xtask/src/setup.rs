//! Sees that the machine has what the other commands need, and gets what may be got without asking.
//!
//! Quick and silent where all is there.
//! Must never: change the machine beyond rustup's own folders and the harmless Debian packages that it names first.

use crate::command::program;
pub(crate) use crate::prerequisites::Needs;
use crate::prerequisites::{ALL, Prerequisite, Remedy};
use anyhow::{Result, bail};

/// Looks for everything that `needs` covers.
///
/// # Errors
/// A sentence for each thing that is missing and could not be got.
pub(crate) fn run(needs: Needs) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    for prerequisite in &missing {
        if let Remedy::Rustup(arguments) = prerequisite.remedy {
            println!("adding {}", prerequisite.name);
            // The next look tells whether it helped.
            let _ = program("rustup").args(arguments).run();
        }
    }
    install(&missing);
    let missing = self::missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let sentences: Vec<_> = missing.iter().map(|prerequisite| sentence(prerequisite)).collect();
    bail!("this machine lacks something:\n  {}", sentences.join("\n  "))
}

fn missing(needs: Needs) -> Vec<&'static Prerequisite> {
    ALL.iter().filter(|prerequisite| prerequisite.needs <= needs && !(prerequisite.present)()).collect()
}

/// Installs harmless packages where this is Debian and nobody must be asked for a password.
fn install(missing: &[&Prerequisite]) {
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|prerequisite| match prerequisite.remedy {
            Remedy::HarmlessPackages(packages) => Some(packages),
            _ => None,
        })
        .collect();
    let Some(apt_get) = apt_get().filter(|_| !packages.is_empty()) else { return };
    println!("installing {}", packages.join(" "));
    let apt_get = |arguments: &[&str]| {
        let (first, rest) = apt_get.split_first().expect("it names a program");
        program(first).args(rest).args(arguments).env("DEBIAN_FRONTEND", "noninteractive")
    };
    let install = [&["install", "-y", "-q", "--no-install-recommends"], &packages[..]].concat();
    // A machine that never fetched its lists knows no package; one that has them need not wait for them.
    if !apt_get(&install).succeeds() {
        let _ = apt_get(&["update", "-q"]).run();
        let _ = apt_get(&install).run();
    }
}

fn apt_get() -> Option<Vec<&'static str>> {
    if !program("apt-get").arg("--version").succeeds() {
        return None;
    }
    if program("id").arg("-u").says().is_some_and(|id| id.trim() == "0") {
        return Some(vec!["apt-get"]);
    }
    program("sudo").args(["-n", "true"]).succeeds().then(|| vec!["sudo", "-n", "apt-get"])
}

fn sentence(prerequisite: &Prerequisite) -> String {
    let command = match prerequisite.remedy {
        Remedy::Rustup(arguments) => format!("rustup {}", arguments.join(" ")),
        Remedy::HarmlessPackages(packages) | Remedy::Packages(packages) => format!("sudo apt-get install {packages}"),
    };
    format!("{} ({}): on Debian, run `{command}`", prerequisite.name, prerequisite.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_that_gets_it() {
        for prerequisite in ALL {
            let sentence = sentence(prerequisite);
            assert!(sentence.contains(prerequisite.name) && sentence.contains("run `"), "{sentence}");
        }
    }

    #[test]
    fn building_needs_less_than_everything() {
        let building = ALL.iter().filter(|p| p.needs <= Needs::Building).count();
        assert!(building > 0 && building < ALL.len());
        assert!(ALL.iter().all(|p| p.needs <= Needs::Everything));
    }
}
