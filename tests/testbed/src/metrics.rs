//! `/metrics` as numbers.
//!
//! Must never: guess at a series that is not there; absent is 0 only in a sum.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// One look at a process's metrics.
#[derive(Debug, Clone, Default)]
pub struct Scrape(Vec<Sample>);

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Fetches from this URL.
    ///
    /// # Errors
    /// Where nothing answers there.
    pub fn of(url: &str) -> Result<Self> {
        let response = reqwest::blocking::get(url).with_context(|| format!("asking {url}"))?;
        ensure!(response.status().is_success(), "{url} answered {}", response.status());
        Ok(Self::parse(&response.text()?))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(parse_line).collect())
    }

    /// The sum of all series of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|(l, v)| sample.labels.get(*l).is_some_and(|have| have == v))
        };
        self.0.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// The sums of a series by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.0.iter().filter(|sample| sample.name == name) {
            if let Some(value) = sample.labels.get(label) {
                *sums.entry(value.clone()).or_default() += sample.value;
            }
        }
        sums
    }
}

/// `name{label="value",…} number`.
fn parse_line(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut pairs = BTreeMap::new();
    let mut rest = labels.strip_suffix('}')?;
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = after.find('"')?;
        pairs.insert(label.trim_start_matches(',').to_owned(), after[..end].to_owned());
        rest = &after[end + 1..];
    }
    Some(Sample { name: name.to_owned(), labels: pairs, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_over_the_labels_that_are_not_named() {
        let text = "# HELP x y\nx{a=\"1\",b=\"q r\"} 2\nx{a=\"2\",b=\"s\"} 3\ny 5\nx{a=\"1\",b=\"s\"} 4\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.sum("x", &[("a", "1")]), 6.0);
        assert_eq!(scrape.sum("x", &[("b", "q r")]), 2.0);
        assert_eq!(scrape.sum("y", &[]), 5.0);
        assert_eq!(scrape.by("x", "b"), BTreeMap::from([("q r".to_owned(), 2.0), ("s".to_owned(), 7.0)]));
    }
}
