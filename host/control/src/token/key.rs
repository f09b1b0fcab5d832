//! The issuer's key: made at first start, kept in one file that only its owner may read.
//!
//! Must never: be logged, be sent anywhere, or be used from a file that others can read.

use crate::folder::{OpenError, make_private_dir};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use rand::TryRngCore;
use rand::rngs::OsRng;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What stands before the 32 bytes of an Ed25519 seed in PKCS #8 (RFC 8410).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Reads the key file, making it first where there is none.
///
/// # Errors
/// Where the file cannot be read or made, or where group or others may read it.
pub(super) fn load_or_make(path: &Path) -> Result<Vec<u8>, OpenError> {
    let refused = |what: &str, error: io::Error| {
        OpenError::because(Code::ConfigInvalid, format!("cannot {what} the issuer's key `{}`", path.display()), error)
    };
    if !path.try_exists().map_err(|error| refused("find", error))? {
        make_private_dir(path.parent().unwrap_or(Path::new(".")))?;
        make(path).map_err(|error| refused("make", error))?;
    }
    let mode = fs::metadata(path).map_err(|error| refused("read", error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(OpenError::new(
            Code::ConfigInvalid,
            format!(
                "the issuer's key `{0}` has mode {1:03o}: others may have read it. Delete it and start again for a new key \
                 (tokens made so far end), or run `chmod 600 {0}` if you know that nobody has",
                path.display(),
                mode & 0o777
            ),
        ));
    }
    fs::read(path).map_err(|error| refused("read", error))
}

/// A new key, as PEM.
pub(super) fn fresh() -> io::Result<String> {
    let mut der = PKCS8_HEAD.to_vec();
    let mut seed = [0; 32];
    OsRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    der.extend_from_slice(&seed);
    Ok(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der)))
}

/// Writes a new key beside `path` and links it there, so that two processes that start together end up with one key and no
/// reader ever sees half of one.
fn make(path: &Path) -> io::Result<()> {
    let pem = fresh()?;
    let draft = path.with_extension(format!("{}.draft", uuid::Uuid::now_v7()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
