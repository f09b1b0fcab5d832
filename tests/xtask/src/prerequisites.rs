//! What this machine must have, each with how to see that it is there, and how to get it.
//!
//! Must never: hold something that no command needs.

use crate::command::{program, root};
use std::path::PathBuf;

/// Who needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// Building and running Bulkhead.
    Building,
    /// The tests, the benchmarks and the rest.
    Everything,
}

/// Something that must be there.
pub(crate) struct Prerequisite {
    /// As a person would call it.
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    /// What goes wrong without it.
    pub(crate) why: &'static str,
    /// Whether it is there.
    pub(crate) present: fn() -> bool,
    pub(crate) remedy: Remedy,
}

/// How to get what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// rustup arguments; run without asking, since rustup puts it beside the toolchain only.
    Rustup(&'static [&'static str]),
    /// Debian packages that change nothing of what others use, and are installed without asking where that is allowed.
    HarmlessPackages(&'static str),
    /// Debian packages that a person should choose to install.
    Packages(&'static str),
}

/// The oldest Java that Kafka's brokers and the peers' classes run on.
const JAVA_VERSION_MIN: u32 = 17;

/// The oldest PostgreSQL whose databases can sort as a language does, which the tests' does.
const POSTGRES_VERSION_MIN: u32 = 15;

/// All of them. Rust itself is not here: this program was built with it, as rust-toolchain.toml says.
pub(crate) const ALL: &[Prerequisite] = &[
    Prerequisite {
        name: "the Rust target wasm32-wasip2",
        needs: Needs::Building,
        why: "stages are built for it",
        present: || in_toolchain("lib/rustlib/wasm32-wasip2/lib"),
        remedy: Remedy::Rustup(&["target", "add", "wasm32-wasip2"]),
    },
    Prerequisite {
        name: "clippy",
        needs: Needs::Everything,
        why: "the tests begin with it",
        present: || in_toolchain("bin/cargo-clippy"),
        remedy: Remedy::Rustup(&["component", "add", "clippy"]),
    },
    Prerequisite {
        name: "rustfmt",
        needs: Needs::Everything,
        why: "the tests begin with it",
        present: || in_toolchain("bin/rustfmt"),
        remedy: Remedy::Rustup(&["component", "add", "rustfmt"]),
    },
    Prerequisite {
        name: "a C and a C++ compiler",
        needs: Needs::Building,
        why: "librdkafka and SQLite are built from source",
        present: || program("cc").arg("--version").succeeds() && program("c++").arg("--version").succeeds(),
        remedy: Remedy::Packages("build-essential"),
    },
    Prerequisite {
        name: "make",
        needs: Needs::Building,
        why: "librdkafka is built with it",
        present: || program("make").arg("--version").succeeds(),
        remedy: Remedy::HarmlessPackages("make"),
    },
    Prerequisite {
        name: "pkg-config",
        needs: Needs::Building,
        why: "OpenSSL's headers are found with it",
        present: || program("pkg-config").arg("--version").succeeds(),
        remedy: Remedy::HarmlessPackages("pkg-config"),
    },
    Prerequisite {
        name: "OpenSSL's headers",
        needs: Needs::Building,
        why: "librdkafka logs in to Kafka with them",
        // Without pkg-config nobody can tell; then both packages are asked for at once.
        present: || program("pkg-config").args(["--exists", "openssl"]).succeeds(),
        remedy: Remedy::HarmlessPackages("libssl-dev"),
    },
    Prerequisite {
        name: "Java 17 or later",
        needs: Needs::Everything,
        why: "the tests start real Kafka brokers",
        present: || java_version().is_some_and(|version| version >= JAVA_VERSION_MIN),
        remedy: Remedy::Packages("openjdk-17-jdk-headless"),
    },
    Prerequisite {
        name: "Maven",
        needs: Needs::Everything,
        why: "it fetches Kafka and Keycloak",
        present: || program("mvn").arg("--version").succeeds(),
        remedy: Remedy::Packages("maven"),
    },
    Prerequisite {
        name: "Go 1.24 or later",
        needs: Needs::Everything,
        why: "it builds the S3 server of the tests",
        present: || program("go").arg("version").succeeds(),
        remedy: Remedy::Packages("golang"),
    },
    Prerequisite {
        name: "PostgreSQL 15 or later",
        needs: Needs::Everything,
        why: "the tests keep metadata in it too",
        present: postgres,
        remedy: Remedy::Packages("postgresql"),
    },
    Prerequisite {
        name: "Chromium",
        needs: Needs::Everything,
        why: "the tests log in with it",
        present: || program("chromium").arg("--version").succeeds(),
        remedy: Remedy::HarmlessPackages("chromium"),
    },
    Prerequisite {
        name: "Chromium's driver",
        needs: Needs::Everything,
        why: "the tests use the browser through it",
        present: || program("chromedriver").arg("--version").succeeds(),
        remedy: Remedy::HarmlessPackages("chromium-driver"),
    },
    Prerequisite {
        name: "Python 3 with pip and venv",
        needs: Needs::Everything,
        why: "it fetches the real input of the tests, and the tool that makes up requests",
        present: || program("python3").args(["-c", "import pip, venv, ensurepip"]).succeeds(),
        remedy: Remedy::Packages("python3-pip python3-venv"),
    },
];

fn in_toolchain(path: &str) -> bool {
    sysroot().is_some_and(|sysroot| sysroot.join(path).exists())
}

fn sysroot() -> Option<PathBuf> {
    let said = program("rustc").folder(&root()).args(["--print", "sysroot"]).says()?;
    Some(PathBuf::from(said.trim()))
}

fn postgres() -> bool {
    std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().any(|release| {
        let number = release.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        number.is_some_and(|number| number >= POSTGRES_VERSION_MIN) && release.path().join("bin/initdb").exists()
    })
}

fn java_version() -> Option<u32> {
    major_version(&program("java").arg("-version").says()?)
}

/// The number in `openjdk version "17.0.15" …`, or in `"1.8.0"`, which is Java 8 but old enough as 1.
fn major_version(said: &str) -> Option<u32> {
    let (_, quoted) = said.split_once("version \"")?;
    quoted.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_number_is_read_from_what_it_says() {
        assert_eq!(major_version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major_version("java version \"1.8.0_292\""), Some(1));
        assert_eq!(major_version("openjdk version \"26\" 2026-03-17"), Some(26));
        assert_eq!(major_version("command not found"), None);
    }
}
