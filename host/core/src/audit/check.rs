//! Checks the lines of one chain, as they come, and says what is wrong and where.
//!
//! Signatures are not its business: it is given [`Anchor`]s that somebody has checked. One of these says from where a pruned chain goes on,
//! or what a line was at some time: a chain that was cut off, or written anew with fitting hashes, contradicts it.
//! Must never: call a chain whole of which it has not seen each line from its beginning, or from a pruned one's anchor, to its last.

use super::{Link, NOTHING_BEFORE, hash};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is kept of what is wrong; more is only counted.
pub const FINDINGS_MAX: usize = 100;
/// Missing lines that are told one by one, so that one which turns up later is called out of order instead.
const GAP_MAX: u64 = 1_000;

/// A line whose place and hash somebody has vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Of which chain.
    pub chain: String,
    /// Which line; 0 stands for a chain without lines.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// Whether it and all before it were pruned.
    pub pruned: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// At which line; for what has no number, the last before it.
    pub seq: u64,
    /// What.
    pub wrong: Wrong,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is no line of an audit.
    Unreadable,
    /// It does not have the hash that it says.
    Changed,
    /// It is not there.
    Missing,
    /// It stands behind a later one.
    OutOfOrder,
    /// There are two of its number.
    Repeated,
    /// It follows another line than the one before it: one of the two was replaced, or lines between them were.
    Unconnected,
    /// It is of another chain.
    OtherChain,
    /// A checkpoint says that it was another.
    Rewritten,
    /// A checkpoint knows it, or one after it, and the chain ends before.
    CutOff,
}

impl Wrong {
    /// A word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::OutOfOrder => "out-of-order",
            Self::Repeated => "repeated",
            Self::Unconnected => "unconnected",
            Self::OtherChain => "other-chain",
            Self::Rewritten => "rewritten",
            Self::CutOff => "cut-off",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match self.wrong {
            Wrong::Unreadable => write!(f, "after line {seq} stands something that is no line of an audit"),
            Wrong::Changed => write!(f, "line {seq} was changed: it does not have the hash that it says"),
            Wrong::Missing => write!(f, "line {seq} is missing"),
            Wrong::OutOfOrder => write!(f, "line {seq} stands behind a later one"),
            Wrong::Repeated => write!(f, "line {seq} stands twice: one of them was inserted"),
            Wrong::Unconnected => {
                write!(
                    f,
                    "line {seq} does not follow line {}: one of them was replaced or inserted",
                    seq.saturating_sub(1)
                )
            }
            Wrong::OtherChain => write!(f, "line {seq} is of another chain"),
            Wrong::Rewritten => write!(f, "line {seq} is another than a checkpoint says: the chain was written anew"),
            Wrong::CutOff => {
                write!(f, "the chain ends before line {seq}, which a checkpoint knows: its end was cut off")
            }
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that were seen.
    pub lines: u64,
    /// The first and the last of them; `None` where there was none.
    pub range: Option<(u64, u64)>,
    /// The last line's hash.
    pub hash: String,
    /// Which chain it is; empty where there was neither line nor anchor.
    pub chain: String,
    /// Whether lines before the first were pruned.
    pub pruned: bool,
    /// What is wrong, by place; the first [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub wrong: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Checker {
    anchors: BTreeMap<u64, Vec<Anchor>>,
    chain: Option<String>,
    repeats: bool,
    first: Option<u64>,
    last: Option<Link>,
    lines: u64,
    missing: BTreeSet<u64>,
    findings: Vec<Finding>,
    wrong: u64,
}

impl Checker {
    /// A check against these anchors. With `repeats`, the very line that came before is passed over where it comes again, as a topic may
    /// deliver it.
    pub fn new(anchors: impl IntoIterator<Item = Anchor>, repeats: bool) -> Self {
        let mut by_seq: BTreeMap<u64, Vec<Anchor>> = BTreeMap::new();
        for anchor in anchors {
            by_seq.entry(anchor.seq).or_default().push(anchor);
        }
        Self {
            anchors: by_seq,
            chain: None,
            repeats,
            first: None,
            last: None,
            lines: 0,
            missing: BTreeSet::new(),
            findings: Vec::new(),
            wrong: 0,
        }
    }

    /// The next line.
    pub fn line(&mut self, line: &Value) {
        let read = line.as_object().and_then(|line| Some((line, Link::of(line)?)));
        let Some((line, link)) = read else {
            let seq = self.last.as_ref().map_or(0, |last| last.seq);
            return self.find(seq, Wrong::Unreadable);
        };
        if self.repeats && self.is_repeat(line, &link) {
            return;
        }
        self.lines += 1;
        if hash(line).ok().as_ref() != Some(&link.hash) {
            self.find(link.seq, Wrong::Changed);
        }
        if *self.chain.get_or_insert_with(|| link.chain.clone()) != link.chain {
            return self.find(link.seq, Wrong::OtherChain);
        }
        self.place(&link);
        let contradicted = |anchor: &Anchor| anchor.chain == link.chain && anchor.hash != link.hash;
        if self.anchors.get(&link.seq).is_some_and(|anchors| anchors.iter().any(contradicted)) {
            self.find(link.seq, Wrong::Rewritten);
        }
        if self.last.as_ref().is_none_or(|last| link.seq > last.seq) {
            self.last = Some(link);
        }
    }

    fn is_repeat(&self, line: &Map<String, Value>, link: &Link) -> bool {
        let known = self.last.as_ref().is_some_and(|last| link.chain == last.chain && link.seq <= last.seq);
        known && !self.missing.contains(&link.seq) && hash(line).ok().as_ref() == Some(&link.hash)
    }

    fn place(&mut self, link: &Link) {
        let Some(last) = &self.last else { return self.begin(link) };
        let (after, prev) = (last.seq.saturating_add(1), last.hash.clone());
        if link.seq >= after {
            if link.seq == after && link.prev != prev {
                self.find(link.seq, Wrong::Unconnected);
            }
            self.lack(after, link.seq);
        } else if self.missing.remove(&link.seq) {
            self.findings.retain(|finding| *finding != Finding { seq: link.seq, wrong: Wrong::Missing });
            self.wrong -= 1;
            self.find(link.seq, Wrong::OutOfOrder);
        } else {
            self.find(link.seq, Wrong::Repeated);
        }
    }

    /// The first line: the chain's own first, or the one after what was pruned.
    fn begin(&mut self, link: &Link) {
        self.first = Some(link.seq);
        if link.seq == 1 {
            if link.prev != NOTHING_BEFORE {
                self.find(1, Wrong::Unconnected);
            }
            return;
        }
        let pruned = |anchor: &&Anchor| anchor.pruned && anchor.chain == link.chain && anchor.seq < link.seq;
        match self.anchors.values().flatten().rev().find(pruned) {
            Some(anchor) if anchor.seq.saturating_add(1) == link.seq => {
                if anchor.hash != link.prev {
                    self.find(link.seq, Wrong::Unconnected);
                }
            }
            Some(anchor) => self.lack(anchor.seq.saturating_add(1), link.seq),
            None => self.lack(1, link.seq),
        }
    }

    /// Lines from here and before there are not there.
    fn lack(&mut self, from: u64, until: u64) {
        for seq in from..until.min(from.saturating_add(GAP_MAX)) {
            self.missing.insert(seq);
            self.find(seq, Wrong::Missing);
        }
        self.wrong += until.saturating_sub(from.saturating_add(GAP_MAX));
    }

    fn find(&mut self, seq: u64, wrong: Wrong) {
        self.wrong += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { seq, wrong });
        }
    }

    /// There are no more lines.
    pub fn end(mut self) -> Verdict {
        let known = |anchor: &&Anchor| self.chain.as_ref().is_none_or(|chain| *chain == anchor.chain);
        let anchors: Vec<Anchor> = self.anchors.values().flatten().filter(known).cloned().collect();
        let pruned = anchors.iter().filter(|anchor| anchor.pruned).map(|anchor| anchor.seq).max();
        let reached = self.last.as_ref().map_or(pruned.unwrap_or(0), |last| last.seq);
        if let Some(seq) = anchors.iter().map(|anchor| anchor.seq).filter(|seq| *seq > reached).max() {
            self.find(seq, Wrong::CutOff);
        }
        self.findings.sort_by_key(|finding| finding.seq);
        let chain = self.chain.or_else(|| anchors.first().map(|anchor| anchor.chain.clone())).unwrap_or_default();
        Verdict {
            lines: self.lines,
            range: self.first.zip(self.last.as_ref().map(|last| last.seq)),
            hash: self.last.map_or_else(String::new, |last| last.hash),
            chain,
            pruned: self.first.is_some_and(|first| first > 1) && pruned.is_some(),
            findings: self.findings,
            wrong: self.wrong,
        }
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
