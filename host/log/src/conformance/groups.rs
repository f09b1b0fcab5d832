//! Partitions move between members without a record lost or doubled.

use super::member::{Member, source};
use super::names::{Bench, COMMIT, PATIENCE, WATCH, numbered};
use super::rows::held;
use crate::{CommitOutcome, Event, Fenced, GroupPositions, Membership, Source, Writer};
use bulkhead_core::scope::PhysicalTopic;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Polls both until one is told to let go, and says what it is to let go of.
fn until_revoked(losing: &mut Member, other: &mut Member) -> Vec<Source> {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no revoke");
        other.poll();
        if let Event::Revoke { sources, lost } = losing.poll() {
            assert!(!lost, "an orderly revoke");
            return sources;
        }
    }
}

/// A partition goes to the next owner only after the present one has let go, and then at the position committed meanwhile.
pub fn a_revoke_holds_the_group_until_acknowledged(bench: &Bench) {
    let input = bench.make("in", 2);
    bench.append(&input, 0, numbered("a", 0..3));
    bench.append(&input, 1, numbered("b", 0..3));
    let mut first = bench.join("g", &[&input]).owning(2);
    first.read_values(6);
    let mut second = bench.join("g", &[&input]);
    let sources = until_revoked(&mut first, &mut second);
    assert_eq!(sources.len(), 1, "the newcomer takes one of two: {sources:?}");

    let until = Instant::now() + WATCH;
    while Instant::now() < until {
        second.poll();
        first.poll();
    }
    assert!(second.owned.is_empty(), "not before the acknowledgement");
    let (epoch, _) = first.owned[&sources[0]];
    assert!(first.reader.membership().owns(sources[0], epoch), "owned until then");
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[first.positions()], COMMIT), CommitOutcome::Committed, "batches may still commit");

    first.let_go(&sources);
    assert!(!first.reader.membership().owns(sources[0], epoch));
    let until = Instant::now() + PATIENCE;
    while second.owned.is_empty() {
        assert!(Instant::now() < until, "the newcomer gets nothing");
        second.poll();
        first.poll();
    }
    assert_eq!(second.owned.keys().copied().collect::<Vec<_>>(), sources);
    assert_eq!(second.owned[&sources[0]].1, 3, "it goes on where the other committed");
    bench.append(&input, sources[0].partition, numbered("new", 0..1));
    let until = Instant::now() + PATIENCE;
    while second.count() == 0 && Instant::now() < until {
        second.poll();
        first.poll();
    }
    assert_eq!(second.read[&sources[0]], numbered("new", 0..1));
    assert_eq!(first.count(), 6, "and the one before reads no more of it");
}

/// What was read before a revoke cannot commit after its acknowledgement, also where the partition comes back.
pub fn an_epoch_ends_with_its_acknowledgement(bench: &Bench) {
    let input = bench.make("in", 2);
    bench.append(&input, 0, numbered("a", 0..1));
    bench.append(&input, 1, numbered("b", 0..1));
    let mut first = bench.join("g", &[&input]).owning(2);
    first.read_values(2);
    let before = first.positions();
    let mut second = bench.join("g", &[&input]);
    let sources = until_revoked(&mut first, &mut second);
    first.let_go(&sources);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    let outcome = writer.commit(std::slice::from_ref(&before), COMMIT);
    assert_eq!(outcome, CommitOutcome::Fenced(Fenced::Groups(vec![0])));

    let until = Instant::now() + PATIENCE;
    while second.owned.is_empty() && Instant::now() < until {
        second.poll();
        first.poll();
    }
    second.close();
    first.until("the partition back", |member| member.owned.len() == 2);
    let old = before.positions.iter().find(|(source, ..)| *source == sources[0]).expect("was owned").1;
    assert_ne!(first.owned[&sources[0]].0, old, "a new epoch");
    writer.begin().expect("begin");
    let outcome = writer.commit(&[before], COMMIT);
    assert_eq!(outcome, CommitOutcome::Fenced(Fenced::Groups(vec![0])));
    assert_eq!(bench.committed("g", &input), [Some(0), Some(0)]);
}

/// Closing hands over at once; what the closed member read cannot commit.
pub fn a_closed_member_hands_over_and_is_fenced(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..2));
    let mut first = bench.join("g", &[&input]).owning(1);
    first.read_values(2);
    let stale = first.positions();
    first.close();
    let mut second = bench.join("g", &[&input]).owning(1);
    second.read_values(2);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[stale], COMMIT), CommitOutcome::Fenced(Fenced::Groups(vec![0])));
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[second.positions()], COMMIT), CommitOutcome::Committed);
}

const PARTITIONS: i32 = 4;
const RECORDS: usize = 400;

/// A worker of the flow in miniature: reads, writes each value to the output, commits.
struct Worker {
    member: Member,
    writer: Box<dyn Writer>,
    /// Read and not committed.
    pending: BTreeMap<Source, (u64, i64, Vec<String>)>,
}

impl Worker {
    fn new(bench: &Bench, input: &PhysicalTopic, lane: usize) -> Self {
        let mut spec = bench.spec("g", &[input]);
        spec.batch.records = 5;
        let member = Member::join(&*bench.log, spec);
        Self { member, writer: bench.writer(&format!("w{lane}")), pending: BTreeMap::new() }
    }

    fn step(&mut self, output: &PhysicalTopic) {
        match self.member.try_poll(Duration::from_millis(20)).expect("poll") {
            Event::Batch(fetched) => {
                let entry = self.pending.entry(fetched.source).or_insert((fetched.epoch, 0, Vec::new()));
                entry.1 = fetched.next;
                entry.2.extend(self.member.read.remove(&fetched.source).unwrap_or_default());
                if self.pending.values().map(|(_, _, values)| values.len()).sum::<usize>() >= 15 {
                    self.commit(output);
                }
            }
            Event::Revoke { sources, lost } => {
                if lost {
                    self.pending.retain(|source, _| !sources.contains(source));
                } else {
                    self.commit(output);
                }
                self.member.let_go(&sources);
            }
            Event::Assigned(_) => {}
            Event::Idle => self.commit(output),
        }
    }

    fn commit(&mut self, output: &PhysicalTopic) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let member: Arc<dyn Membership> = self.member.reader.membership();
        let positions = pending.iter().map(|(source, (epoch, next, _))| (*source, *epoch, *next)).collect();
        let positions = GroupPositions { member, positions };
        let until = Instant::now() + PATIENCE;
        loop {
            self.writer.begin().expect("begin");
            for (source, (_, _, values)) in &pending {
                self.writer.produce(0, &held(output, source.partition, values.clone())).expect("produce");
            }
            match self.writer.commit(std::slice::from_ref(&positions), COMMIT) {
                CommitOutcome::Committed => return,
                // The group may just go from one generation to the next, and nobody is to blame.
                CommitOutcome::Aborted { owner: None, .. } if Instant::now() < until => {}
                outcome => panic!("nobody takes over before an acknowledgement: {outcome:?}"),
            }
        }
    }
}

/// While members join and leave in good order, every record is written exactly once, and in order.
pub fn members_come_and_go_without_loss_or_double(bench: &Bench) {
    let (input, output) = (bench.make("in", PARTITIONS), bench.make("out", PARTITIONS));
    let mut workers = vec![Worker::new(bench, &input, 0)];
    let done = |bench: &Bench| bench.ends(&input).into_iter().map(Some).eq(bench.committed("g", &input));
    for round in 0..4_usize {
        for partition in 0..PARTITIONS {
            let first = round * RECORDS / 4;
            bench.append(&input, partition, numbered(&format!("p{partition}"), first..first + RECORDS / 4));
        }
        // In turn: join, join, leave without a word to the others, join again.
        match round {
            0 | 1 => workers.push(Worker::new(bench, &input, round + 1)),
            2 => drop(workers.remove(0)),
            _ => workers.push(Worker::new(bench, &input, 0)),
        }
        let until = Instant::now() + PATIENCE;
        loop {
            workers.iter_mut().for_each(|worker| worker.step(&output));
            let shared = workers.iter().all(|worker| !worker.member.owned.is_empty());
            if shared && done(bench) {
                break;
            }
            assert!(Instant::now() < until, "round {round}: {:?}", bench.committed("g", &input));
        }
    }
    for partition in 0..PARTITIONS {
        bench.shows(&output, partition, &numbered(&format!("p{partition}"), 0..RECORDS));
    }
    assert!(workers.iter().all(|worker| worker.member.owned.keys().all(|s| *s == source(s.partition))));
}
