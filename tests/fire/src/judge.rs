//! Compares what was written with what should have been, record by record.
//!
//! A source record is known by its id, which travels in a header. Right is: every wanted output once, in its topic, on the partition
//! that its key chooses, with the same key, value and time; and, within each partition of each output topic, the outputs of one source
//! partition in the order of their sources. The partition is known without hashing: keys are hashed modulo the number of partitions, so
//! where an output topic's number divides the source topic's, it is the source's partition modulo that number.
//! Must never: be satisfied with counts.

use std::collections::HashMap;

/// Examples of each fault that are kept for people.
const EXAMPLES: usize = 5;

/// An output that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// An output that is there.
#[derive(Debug, Clone)]
pub struct Found {
    /// Id of its source, if it names one.
    pub id: Option<u64>,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// How many partitions the topic has; divides the source topic's number.
    pub partitions: i32,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Its time.
    pub timestamp: Option<i64>,
}

/// Where a source record stands.
#[derive(Debug, Clone, Copy)]
struct Source {
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
}

/// See the module's documentation.
pub struct Judge<W> {
    wanted: W,
    sources: HashMap<u64, Source>,
    seen: HashMap<(u64, String), u32>,
    last: HashMap<(String, i32, i32), i64>,
    verdict: Verdict,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Source records.
    pub sources: u64,
    /// Outputs that should be there.
    pub wanted: u64,
    /// Outputs that are there.
    pub found: u64,
    /// Wanted and not there.
    pub lost: u64,
    /// There more than once: every further time counts.
    pub doubled: u64,
    /// There and not wanted, or not as wanted.
    pub wrong: u64,
    /// Before an output whose source came earlier.
    pub disordered: u64,
    /// A few of each, for people.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.wrong + self.disordered == 0
    }
}

impl<W: Fn(u64) -> Vec<Wanted>> Judge<W> {
    /// A judge who asks `wanted` for the outputs of the source record with an id.
    pub fn new(wanted: W) -> Self {
        let (sources, seen, last) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { wanted, sources, seen, last, verdict: Verdict::default() }
    }

    /// A source record as it stands in its topic. An id that comes twice is wrong: the test itself would be unsound.
    pub fn source(&mut self, id: Option<u64>, partition: i32, offset: i64, timestamp: Option<i64>) {
        let Some(id) = id else { return self.wrong(format!("a source without an id at {partition}/{offset}")) };
        self.verdict.sources += 1;
        if self.sources.insert(id, Source { partition, offset, timestamp }).is_some() {
            self.wrong(format!("source {id} is there twice"));
        }
    }

    /// An output as it stands in its topic; those of one partition must come in offset order.
    pub fn output(&mut self, found: &Found) {
        self.verdict.found += 1;
        let Some((id, source)) = found.id.and_then(|id| Some((id, *self.sources.get(&id)?))) else {
            return self.wrong(format!("an output without a source: {found:?}"));
        };
        let matches =
            |wanted: &Wanted| wanted.topic == found.topic && wanted.key == found.key && wanted.value == found.value;
        if !(self.wanted)(id).iter().any(matches) {
            return self.wrong(format!("not wanted: {found:?}"));
        }
        if found.timestamp != source.timestamp || found.partition != source.partition % found.partitions {
            return self.wrong(format!("time or partition of {found:?}; its source is {source:?}"));
        }
        let times = self.seen.entry((id, found.topic.clone())).or_default();
        *times += 1;
        if *times > 1 {
            self.verdict.doubled += 1;
            let what = format!("doubled: source {id} in {}", found.topic);
            return self.example(what);
        }
        let last = self.last.entry((found.topic.clone(), found.partition, source.partition)).or_insert(-1);
        if *last >= source.offset {
            let what = format!("disorder in {}: source {id} at {source:?} after {last}", found.topic);
            self.verdict.disordered += 1;
            return self.example(what);
        }
        *last = source.offset;
    }

    /// The verdict, once all sources and outputs were shown.
    pub fn conclude(mut self) -> Verdict {
        let mut ids: Vec<u64> = self.sources.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            for wanted in (self.wanted)(id) {
                self.verdict.wanted += 1;
                let topic = wanted.topic.clone();
                if !self.seen.contains_key(&(id, wanted.topic)) {
                    self.verdict.lost += 1;
                    self.example(format!("lost: source {id} ({:?}) in {topic}", self.sources[&id]));
                }
            }
        }
        self.verdict
    }

    fn wrong(&mut self, what: String) {
        self.verdict.wrong += 1;
        self.example(what);
    }

    fn example(&mut self, what: String) {
        let kind = what.split([' ', ':']).next().unwrap_or_default();
        if self.verdict.examples.iter().filter(|example| example.starts_with(kind)).count() < EXAMPLES {
            self.verdict.examples.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(outputs: &[(u64, &str)]) -> Verdict {
        let mut judge = Judge::new(|id| vec![Wanted { topic: "out".into(), key: "k".into(), value: format!("v{id}") }]);
        for id in 0..3 {
            judge.source(Some(id), 0, id as i64 * 10, Some(5));
        }
        for (id, value) in outputs {
            judge.output(&Found {
                id: Some(*id),
                topic: "out".into(),
                partition: 0,
                partitions: 2,
                key: "k".into(),
                value: (*value).to_owned(),
                timestamp: Some(5),
            });
        }
        judge.conclude()
    }

    #[test]
    fn each_fault_is_found_and_named_apart() {
        let clean = judged(&[(0, "v0"), (1, "v1"), (2, "v2")]);
        assert!(clean.is_clean(), "{clean:?}");
        assert_eq!((clean.sources, clean.wanted, clean.found), (3, 3, 3));
        assert_eq!(judged(&[(0, "v0"), (2, "v2")]).lost, 1);
        assert_eq!(judged(&[(0, "v0"), (1, "v1"), (1, "v1"), (2, "v2")]).doubled, 1);
        assert_eq!(judged(&[(0, "v0"), (2, "v2"), (1, "v1")]).disordered, 1);
        let changed = judged(&[(0, "v0"), (1, "v1"), (2, "other")]);
        assert_eq!((changed.wrong, changed.lost), (1, 1));
        assert_eq!(judged(&[(0, "v0"), (1, "v1"), (2, "v2"), (9, "v9")]).wrong, 1);
    }
}
