//! What control answered when it did not do what it was asked.
//!
//! Must never: hide a code or a status that a test may want to compare.

use serde_json::Value;
use std::fmt;

/// A refusal, or no answer.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The stable code, for instance `BH0104`; empty where the answer had none.
    pub code: String,
    /// The problem's sentence, or why there was no answer.
    pub detail: String,
    /// The whole answer; `null` where it was no JSON.
    pub body: Box<Value>,
}

impl Refused {
    pub(crate) fn answer(status: u16, text: &str) -> Self {
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let detail = if body.is_null() { text.to_owned() } else { field("detail") };
        Self { status, code: field("code"), detail, body: Box::new(body) }
    }

    pub(crate) fn no_answer(error: &reqwest::Error) -> Self {
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        Self { status: 0, code: String::new(), detail, body: Box::default() }
    }

    /// The codes of the single errors of a problem that has several, such as a manifest's.
    pub fn error_codes(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|error| error["code"].as_str()).collect()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)?;
        match self.body.get("errors") {
            Some(errors) => write!(f, " {errors}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_taken_apart_and_other_text_is_kept() {
        let problem = r#"{"code":"BH0201","detail":"several","errors":[{"code":"BH0203"},{"code":"BH0204"}]}"#;
        let refused = Refused::answer(422, problem);
        assert_eq!((refused.status, refused.code.as_str(), refused.detail.as_str()), (422, "BH0201", "several"));
        assert_eq!(refused.error_codes(), ["BH0203", "BH0204"]);
        assert_eq!(Refused::answer(502, "bad gateway").detail, "bad gateway");
    }
}
