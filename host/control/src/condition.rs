//! What a request says must be true of a thing before it is changed: `If-Match` and `If-None-Match` (RFC 9110, 13.1).
//!
//! The store checks a condition inside the transaction that makes the change, so that of two who change what both have read, one
//! is told. A thing's tag is strong in this sense: it changes with whatever a request can set, not with how the thing fares.
//! Must never: be checked outside of that transaction, or treat a weak tag as a match.

use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, header};
use bulkhead_core::code::Code;

/// Both headers, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

#[derive(Debug, Clone)]
enum Tags {
    Any,
    Listed(Vec<String>),
}

impl Tags {
    /// `*`, or tags with commas between them.
    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut listed = Vec::new();
        for value in headers.get_all(name) {
            let malformed =
                || Problem::bad_request(format!("`{name}` is `*` or an `ETag` as it was given, quotes included"));
            for tag in value.to_str().map_err(|_| malformed())?.split(',').map(str::trim) {
                let opaque = tag.strip_prefix("W/").unwrap_or(tag);
                match tag {
                    "*" => return Ok(Some(Self::Any)),
                    _ if opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"') => {
                        listed.push(tag.to_owned());
                    }
                    _ => return Err(malformed()),
                }
            }
        }
        Ok((!listed.is_empty()).then_some(Self::Listed(listed)))
    }

    fn hold(&self, current: Option<&str>) -> bool {
        match (self, current) {
            (Self::Any, current) => current.is_some(),
            (Self::Listed(tags), Some(current)) => tags.iter().any(|tag| tag == current),
            (Self::Listed(_), None) => false,
        }
    }
}

impl Condition {
    /// Reads the headers of a request.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            matches: Tags::read(headers, &header::IF_MATCH)?,
            matches_none: Tags::read(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Whether a thing with this tag, or one that is not there, may be changed.
    ///
    /// # Errors
    /// [`Code::PreconditionFailed`].
    pub(crate) fn check(&self, current: Option<&str>) -> Result<(), Problem> {
        let detail = match current {
            _ if self.matches.as_ref().is_some_and(|tags| !tags.hold(current)) => match current {
                Some(_) => "it was changed since you read it; read it again and decide anew",
                None => "it is not there, or no longer; read it again and decide anew",
            },
            _ if self.matches_none.as_ref().is_some_and(|tags| tags.hold(current)) => {
                "it is there already, and the request said to make it only where it is not"
            }
            _ => return Ok(()),
        };
        Err(Problem::new(Code::PreconditionFailed, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn passes(name: HeaderName, value: &'static str, current: Option<&str>) -> bool {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        Condition::read(&headers).unwrap().check(current).is_ok()
    }

    #[test]
    fn a_change_needs_the_tag_that_was_read() {
        let current = Some("\"a.1\"");
        assert!(passes(header::IF_MATCH, "\"a.1\"", current));
        assert!(passes(header::IF_MATCH, "\"b\", \"a.1\"", current));
        assert!(passes(header::IF_MATCH, "*", current));
        assert!(!passes(header::IF_MATCH, "*", None));
        assert!(!passes(header::IF_MATCH, "\"a.2\"", current));
        assert!(!passes(header::IF_MATCH, "W/\"a.1\"", current), "a weak tag matches nothing");
        assert!(passes(header::IF_NONE_MATCH, "*", None));
        assert!(!passes(header::IF_NONE_MATCH, "*", current));
        assert!(Condition::default().check(current).is_ok());
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for bad in ["a.1", "\"a", "", "\"a\" \"b", "\""] {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(bad))]);
            assert!(Condition::read(&headers).is_err(), "{bad:?}");
        }
    }
}
