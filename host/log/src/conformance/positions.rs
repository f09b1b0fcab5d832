//! Where groups begin, go on, pause and seek.

use super::member::{Member, source};
use super::names::{Bench, COMMIT, PATIENCE, WATCH, numbered};
use super::rows::START_MS;
use crate::{CommitOutcome, Event, LogError};
use bulkhead_core::code::Code;
use bulkhead_core::manifest::Start;
use std::time::{Duration, Instant};

/// A group without positions begins where its start policy says, and that is durable when the assignment is reported.
pub fn groups_start_where_asked_and_that_is_durable(bench: &Bench) {
    let input = bench.make("in", 2);
    // Timestamps are a millisecond apart.
    bench.append(&input, 0, numbered("v", 0..6));
    let starts = [
        Start::Earliest,
        Start::Latest,
        Start::Offset(2),
        Start::TimeMs(*START_MS + 4),
        Start::TimeMs(*START_MS + 1_000_000),
    ];
    let expected = [[0, 0], [6, 0], [2, 0], [4, 0], [6, 0]];
    for (n, (start, expected)) in starts.into_iter().zip(expected).enumerate() {
        let group = format!("g{n}");
        let mut spec = bench.spec(&group, &[&input]);
        spec.inputs[0].start = start;
        let member = Member::join(&*bench.log, spec).owning(2);
        let positions: Vec<_> = member.owned.values().map(|(_, position)| *position).collect();
        assert_eq!(positions, expected, "{start:?}");
        assert_eq!(bench.committed(&group, &input), expected.map(Some), "{start:?}: durable");
        member.close();
        // Another policy does not move a position that is there.
        let member = bench.join(&group, &[&input]).owning(2);
        let positions: Vec<_> = member.owned.values().map(|(_, position)| *position).collect();
        assert_eq!(positions, expected, "{start:?} after a restart");
    }
}

/// An offset outside of what is kept means the nearest that is.
pub fn a_start_offset_is_clamped(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..3));
    for (group, offset, position) in [("low", -5, 0), ("high", 99, 3)] {
        let mut spec = bench.spec(group, &[&input]);
        spec.inputs[0].start = Start::Offset(offset);
        let member = Member::join(&*bench.log, spec).owning(1);
        assert_eq!(member.owned[&source(0)].1, position);
    }
}

/// A member that starts again reads from the committed position, not from what the one before it had read.
pub fn a_restart_goes_on_from_the_committed_position(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..4));
    let mut member = bench.join("g", &[&input]).owning(1);
    member.read_values(4);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    assert_eq!(writer.commit(&[member.positions()], COMMIT), CommitOutcome::Committed);
    bench.append(&input, 0, numbered("v", 4..8));
    member.read_values(8);
    member.close();
    let mut spec = bench.spec("g", &[&input]);
    spec.inputs[0].initialised = [0].into();
    let mut again = Member::join(&*bench.log, spec).owning(1);
    assert_eq!(again.owned[&source(0)].1, 4);
    again.read_values(4);
    assert_eq!(again.read[&source(0)], numbered("v", 4..8));
}

/// A partition that had a position and has none any more is an error, never a silent start from somewhere.
pub fn a_lost_position_is_an_error(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..3));
    bench.join("g", &[&input]).owning(1).close();
    bench.log.delete_group(&bench.group("g")).expect("deleted");
    let mut spec = bench.spec("g", &[&input]);
    spec.inputs[0].initialised = [0].into();
    let mut member = Member::join(&*bench.log, spec);
    assert_eq!(fails(&mut member).code, Code::OffsetLost);
    assert_eq!(bench.committed("g", &input), [None], "nothing was reset");
}

/// Polls until an error comes.
pub(super) fn fails(member: &mut Member) -> LogError {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match member.try_poll(Duration::from_millis(100)) {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    panic!("no error within {PATIENCE:?}");
}

/// A paused partition gives nothing while the others go on, and then goes on where it was.
pub fn a_paused_partition_is_silent_until_resumed(bench: &Bench) {
    let input = bench.make("in", 2);
    bench.append(&input, 0, numbered("a", 0..3));
    let mut member = bench.join("g", &[&input]).owning(2);
    member.read_values(3);
    member.reader.pause(&[source(0)]).expect("paused");
    bench.append(&input, 0, numbered("a", 3..6));
    bench.append(&input, 1, numbered("b", 0..3));
    member.read_values(6);
    assert_eq!(member.read[&source(1)], numbered("b", 0..3));
    member.stays_silent(WATCH);
    member.reader.resume(&[source(0)]).expect("resumed");
    member.read_values(9);
    assert_eq!(member.read[&source(0)], numbered("a", 0..6), "nothing lost, nothing doubled");
}

/// After a seek, the partition is read from there, paused or not.
pub fn seeking_reads_again(bench: &Bench) {
    let input = bench.make("in", 2);
    bench.append(&input, 0, numbered("v", 0..6));
    bench.append(&input, 1, numbered("w", 0..2));
    let mut member = bench.join("g", &[&input]).owning(2);
    member.read_values(8);
    for pause in [false, true] {
        if pause {
            member.reader.pause(&[source(0)]).expect("paused");
        }
        member.read.clear();
        member.owned.get_mut(&source(0)).expect("owned").1 = 2;
        member.reader.seek(source(0), 2).expect("sought");
        if pause {
            member.stays_silent(WATCH);
            member.reader.resume(&[source(0)]).expect("resumed");
        }
        member.read_values(4);
        assert_eq!(member.read[&source(0)], numbered("v", 2..6));
        assert!(!member.read.contains_key(&source(1)), "the other partition stays where it is");
    }
}

/// A group with members is not deleted; an empty one forgets its positions; one that never was is no error.
pub fn a_group_is_deleted_when_empty(bench: &Bench) {
    let input = bench.make("in", 1);
    bench.append(&input, 0, numbered("v", 0..3));
    let mut spec = bench.spec("g", &[&input]);
    spec.inputs[0].start = Start::Latest;
    let member = Member::join(&*bench.log, spec).owning(1);
    assert_eq!(bench.log.delete_group(&bench.group("g")).unwrap_err().code, Code::Conflict);
    member.close();
    bench.log.delete_group(&bench.group("g")).expect("deleted");
    bench.log.delete_group(&bench.group("g")).expect("deleting what is not there is no error");
    assert_eq!(bench.committed("g", &input), [None]);
    let mut member = bench.join("g", &[&input]).owning(1);
    assert_eq!(member.owned[&source(0)].1, 0, "a new group of that name starts afresh");
    assert!(!matches!(member.poll(), Event::Revoke { .. }));
}

/// Many groups are asked at once, each for what it has where it reads, and none is given what is another's.
pub fn positions_of_many_groups_are_told_at_once(bench: &Bench) {
    let (one, two) = (bench.make("one", 2), bench.make("two", 1));
    bench.append(&one, 1, numbered("v", 0..3));
    let mut spec = bench.spec("both", &[&one, &two]);
    spec.inputs[0].start = Start::Latest;
    Member::join(&*bench.log, spec).owning(3).close();
    bench.join("other", &[&two]).owning(1).close();
    let topics = [one, two];
    let asked = ["both", "other", "nobody"].map(|group| (bench.group(group), topics.to_vec()));
    let told = bench.log.positions(&asked).expect("positions");
    let of = |positions: &[(i32, i64)]| positions.iter().copied().collect::<std::collections::BTreeMap<_, _>>();
    assert_eq!(told[0], Some(vec![of(&[(0, 0), (1, 3)]), of(&[(0, 0)])]));
    assert_eq!(told[1], Some(vec![of(&[]), of(&[(0, 0)])]));
    assert_eq!(told[2], Some(vec![of(&[]), of(&[])]), "a group that never was");
}
