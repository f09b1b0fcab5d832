//! Compares what the pipelines wrote with what was computed without them.
//!
//! Must never: be satisfied with counts.

use anyhow::bail;
use std::collections::BTreeMap;

/// A record as the demo compares it: topic, key and value.
type Seen = (String, String, String);

/// Counts of records that should be there and records that are.
#[derive(Default)]
pub(super) struct Check {
    balance: BTreeMap<Seen, i64>,
    expected: u64,
}

impl Check {
    /// A record that should be there.
    pub(super) fn expect(&mut self, topic: &str, key: &str, value: &str) {
        *self.balance.entry((topic.to_owned(), key.to_owned(), value.to_owned())).or_default() += 1;
        self.expected += 1;
    }

    /// A record that is there.
    pub(super) fn found(&mut self, topic: &str, key: &str, value: &str) {
        *self.balance.entry((topic.to_owned(), key.to_owned(), value.to_owned())).or_default() -= 1;
    }

    /// How many records were right.
    ///
    /// # Errors
    /// Where one is missing, too many, or another than it should be; with an example.
    pub(super) fn conclude(self) -> anyhow::Result<u64> {
        let mut wrong = self.balance.iter().filter(|(_, balance)| **balance != 0);
        if let Some(((topic, key, value), balance)) = wrong.next() {
            let what = if *balance > 0 { "missing" } else { "not expected" };
            bail!("{what} in `{topic}`: key {key}, value {value} ({} such differences)", wrong.count() + 1);
        }
        Ok(self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_doubled_and_a_changed_record_are_found() {
        let check = |found: &[(&str, &str)]| {
            let mut check = Check::default();
            check.expect("t", "a", "1");
            check.expect("t", "b", "2");
            found.iter().for_each(|(key, value)| check.found("t", key, value));
            check.conclude()
        };
        assert_eq!(check(&[("b", "2"), ("a", "1")]).unwrap(), 2);
        assert!(check(&[("a", "1")]).is_err());
        assert!(check(&[("a", "1"), ("b", "2"), ("b", "2")]).is_err());
        assert!(check(&[("a", "1"), ("b", "3")]).is_err());
    }
}
