//! A start as one word, for queries and command lines: `earliest`, `latest`, `offset:5`, `time:2026-01-31T12:00:00Z`.
//!
//! Must never: differ in meaning from the `start` of a manifest.

use super::Start;
use crate::time::{format_rfc3339_ms, parse_rfc3339_ms};
use std::fmt;
use std::str::FromStr;

/// Why a text is no start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write `earliest`, `latest`, `offset:N` with N from 0, or `time:` and a time like 2026-01-31T12:00:00Z")]
pub struct StartError;

impl FromStr for Start {
    type Err = StartError;
    fn from_str(text: &str) -> Result<Self, StartError> {
        match text.split_once(':') {
            None if text == "earliest" => Ok(Self::Earliest),
            None if text == "latest" => Ok(Self::Latest),
            Some(("offset", offset)) => {
                offset.parse().ok().filter(|offset| *offset >= 0).map(Self::Offset).ok_or(StartError)
            }
            Some(("time", time)) => parse_rfc3339_ms(time).map(Self::TimeMs).ok_or(StartError),
            _ => Err(StartError),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "offset:{offset}"),
            Self::TimeMs(ms) => write!(f, "time:{}", format_rfc3339_ms(*ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_survive_their_own_text_and_the_rest_is_refused() {
        for text in ["earliest", "latest", "offset:0", "offset:9223372036854775807", "time:2026-01-31T12:00:00Z"] {
            assert_eq!(text.parse::<Start>().unwrap().to_string(), text);
        }
        for bad in ["", "Latest", "offset:", "offset:-1", "offset:1.5", "time:tomorrow", "earliest:1", "offset"] {
            assert_eq!(bad.parse::<Start>(), Err(StartError), "{bad:?}");
        }
    }
}
