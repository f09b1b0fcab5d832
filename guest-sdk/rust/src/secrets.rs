//! Secrets of the stage's project: passwords, keys, tokens.
//!
//! Needs the manifest's grant `secrets` (see `guest-sdk/README.md`), which names the secrets and what this stage calls them. They are in
//! reach everywhere, `init` included. A value stays the same as long as an instance lives: where it is changed, Bulkhead goes on with new
//! instances at the next batch, so what `init` makes of it needs no care.
//!
//! ```
//! use bulkhead_sdk::prelude::*;
//! use bulkhead_sdk::secrets;
//! use bulkhead_sdk::testing::Case;
//!
//! struct Gate {
//!     token: String,
//! }
//!
//! fn setup(_: &Config) -> Result<Gate, InitError> {
//!     Ok(Gate { token: secrets::text("token")? })
//! }
//!
//! #[stage(init = setup)]
//! fn gate(gate: &mut Gate, record: Record, out: &mut Outputs) -> StageResult {
//!     if record.key_text() == Some(gate.token.as_str()) {
//!         out.to("out").forward();
//!     }
//!     Ok(())
//! }
//!
//! let case = Case::new().secret("token", "t0ken").records([bulkhead_sdk::testing::Input::new("in").key("t0ken")]);
//! assert_eq!(case.run::<gate>().texts("out"), ["in"]);
//! ```
//!
//! What it promises: an error names the secret and nothing of its value.
//! Must never: log a value. A stage that puts one out or logs it shows it to whoever may read that.

use std::fmt;

/// A secret that there is not. By `?` it becomes a dead letter, or in `init` the reason why the stage does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    name: String,
    why: &'static str,
}

impl Error {
    /// The stage's name for the secret.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret `{}` {}", self.name, self.why)
    }
}

impl std::error::Error for Error {}

/// The value that the manifest grants under this name.
///
/// # Errors
/// Where it grants none.
pub fn get(name: &str) -> Result<Vec<u8>, Error> {
    host::get(name).ok_or_else(|| Error { name: name.to_owned(), why: "is not granted to this stage" })
}

/// The same as text, without a line's end after it, which files so often have.
///
/// # Errors
/// Where the manifest grants none, or its value is not UTF-8.
pub fn text(name: &str) -> Result<String, Error> {
    let mut text =
        String::from_utf8(get(name)?).map_err(|_| Error { name: name.to_owned(), why: "is not UTF-8 text" })?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(target_family = "wasm")]
mod host {
    use crate::bindings::bulkhead::stage::secrets;

    pub(super) fn get(name: &str) -> Option<Vec<u8>> {
        secrets::get(name).ok()
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) mod host {
    //! The stand-in: what the case of a test lends, one set for each thread.
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static LENT: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Lends these instead of those before.
    pub(crate) fn lend(secrets: BTreeMap<String, Vec<u8>>) {
        LENT.set(secrets);
    }

    pub(super) fn get(name: &str) -> Option<Vec<u8>> {
        LENT.with_borrow(|lent| lent.get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn text_has_no_line_end_and_an_error_has_no_value() {
        host::lend(BTreeMap::from([
            ("a".to_owned(), b"hunter2\r\n".to_vec()),
            ("b".to_owned(), b"hunter2\xff".to_vec()),
        ]));
        assert_eq!(text("a").unwrap(), "hunter2");
        assert_eq!(get("a").unwrap(), b"hunter2\r\n");
        for name in ["b", "c"] {
            let error = text(name).unwrap_err();
            assert!(error.to_string().contains(name) && !error.to_string().contains("hunter2"), "{error}");
        }
    }
}
