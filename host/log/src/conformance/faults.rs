//! What goes wrong is said as it is.

use super::member::source;
use super::names::{Bench, COMMIT, PATIENCE, numbered};
use super::positions::fails;
use super::rows::held;
use crate::inject::{Fate, Injecting};
use crate::{CommitOutcome, Fenced, Log};
use bulkhead_core::code::Code;
use std::sync::Arc;
use std::time::Instant;

/// Of two writers with one transactional id, the later one goes on and the earlier one is told.
pub fn a_writer_is_fenced_by_the_next_of_its_name(bench: &Bench) {
    let output = bench.make("out", 1);
    let mut first = bench.writer("lane");
    first.begin().expect("begin");
    first.produce(0, &held(&output, 0, numbered("first", 0..3))).expect("produce");
    let mut second = bench.writer("lane");
    second.begin().expect("begin");
    second.produce(0, &held(&output, 0, numbered("second", 0..3))).expect("produce");
    // A log that cannot tell whether its last word was heard says so, with the code of the reason.
    let fenced = |outcome: &CommitOutcome| match outcome {
        CommitOutcome::Fenced(Fenced::Writer) => true,
        CommitOutcome::Unknown(error) => error.code == Code::Fenced,
        _ => false,
    };
    let outcome = first.commit(&[], COMMIT);
    assert!(fenced(&outcome), "{outcome:?}");
    assert_eq!(second.commit(&[], COMMIT), CommitOutcome::Committed);
    bench.shows(&output, 0, &numbered("second", 0..3));

    first.recover().expect("recovered");
    first.begin().expect("begin");
    first.produce(0, &held(&output, 0, numbered("third", 0..1))).expect("produce");
    assert_eq!(first.commit(&[], COMMIT), CommitOutcome::Committed);
    // The other learns of it when it begins, when it writes, or when it commits.
    match second.begin() {
        Err(error) => assert_eq!(error.code, Code::Fenced),
        Ok(()) => {
            let produced = second.produce(0, &held(&output, 0, numbered("fourth", 0..1)));
            let outcome = produced.err().unwrap_or_else(|| second.commit(&[], COMMIT));
            assert!(fenced(&outcome), "{outcome:?}");
        }
    }
    let expected = [numbered("second", 0..3), numbered("third", 0..1)].concat();
    bench.shows(&output, 0, &expected);
}

/// After an unknown outcome, recovery and the committed position tell which it was; doing it again where it was not makes it whole.
pub fn unknown_outcomes_are_settled_by_recovery(bench: &Bench) {
    for (fate, took_place) in [(Fate::UnknownCommitted, true), (Fate::UnknownAborted, false)] {
        let name = format!("{fate:?}").to_lowercase();
        let (input, output) = (bench.make(&format!("in.{name}"), 1), bench.make(&format!("out.{name}"), 1));
        bench.append(&input, 0, numbered("v", 0..5));
        let log = Injecting::new(Arc::clone(&bench.log), [fate.clone()]);
        let mut member = bench.join(&name, &[&input]).owning(1);
        member.read_values(5);
        let rows = held(&output, 0, member.read[&source(0)].clone());
        let mut writer = log.writer(&bench.lane(&name)).expect("a writer");
        writer.begin().expect("begin");
        writer.produce(0, &rows).expect("produce");
        let outcome = writer.commit(&[member.positions()], COMMIT);
        assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
        writer.recover().expect("recovered");
        let committed = bench.committed(&name, &input);
        assert_eq!(committed, [Some(if took_place { 5 } else { 0 })]);
        if !took_place {
            writer.begin().expect("begin");
            writer.produce(0, &rows).expect("produce");
            assert_eq!(writer.commit(&[member.positions()], COMMIT), CommitOutcome::Committed);
        }
        bench.shows(&output, 0, &numbered("v", 0..5));
    }
}

/// The outcomes that tests inject have the effect on the log that they claim.
pub fn injected_faults_leave_the_log_as_they_say(bench: &Bench) {
    let output = bench.make("out", 1);
    let fates = [Fate::Aborted { owner: Some(3) }, Fate::FencedGroups(vec![0]), Fate::FencedWriter, Fate::Real];
    let log = Injecting::new(Arc::clone(&bench.log), fates);
    let mut writer = log.writer(&bench.lane("a")).expect("a writer");
    let rows = held(&output, 0, numbered("v", 0..2));
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        writer.begin().expect("begin");
        writer.produce(3, &rows).expect("produce");
        outcomes.push(writer.commit(&[], COMMIT));
        if outcomes.last() == Some(&CommitOutcome::Fenced(Fenced::Writer)) {
            writer.recover().expect("recovered");
        }
    }
    assert!(matches!(outcomes[0], CommitOutcome::Aborted { owner: Some(3), .. }), "{outcomes:?}");
    assert_eq!(outcomes[1], CommitOutcome::Fenced(Fenced::Groups(vec![0])));
    assert_eq!(outcomes[2], CommitOutcome::Fenced(Fenced::Writer));
    assert_eq!(outcomes[3], CommitOutcome::Committed);
    bench.shows(&output, 0, &numbered("v", 0..2));
}

/// A topic that is deleted under a pipeline ends its reader, and a commit that writes to it names the owner and harms nobody else.
pub fn a_deleted_topic_ends_its_readers_and_names_its_owner(bench: &Bench) {
    let (doomed, good) = (bench.make("doomed", 1), bench.make("good", 1));
    bench.append(&doomed, 0, numbered("v", 0..2));
    let mut member = bench.join("g", &[&doomed]).owning(1);
    member.read_values(2);
    let mut writer = bench.writer("a");
    writer.begin().expect("begin");
    writer.produce(1, &held(&good, 0, numbered("g", 0..1))).expect("produce");
    writer.produce(2, &held(&doomed, 0, numbered("d", 0..1))).expect("produce");
    assert_eq!(writer.commit(&[], COMMIT), CommitOutcome::Committed);

    bench.log.delete_topic(&doomed).expect("deleted");
    assert_eq!(fails(&mut member).code, Code::TopicGone);
    member.close();
    writer.begin().expect("begin");
    let outcome = writer
        .produce(1, &held(&good, 0, numbered("g", 1..2)))
        .and_then(|()| writer.produce(2, &held(&doomed, 0, numbered("d", 1..2))));
    let outcome = outcome.err().unwrap_or_else(|| writer.commit(&[], COMMIT));
    let CommitOutcome::Aborted { owner: Some(2), error } = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.code, Code::TopicGone);

    // Without the culprit it goes through, on this writer or, where the log says so, on a recovered one.
    let until = Instant::now() + PATIENCE;
    if writer.abort().is_err() {
        writer.recover().expect("recovered");
    }
    loop {
        writer.begin().expect("begin");
        writer.produce(1, &held(&good, 0, numbered("g", 1..2))).expect("produce");
        match writer.commit(&[], COMMIT) {
            CommitOutcome::Committed => break,
            outcome => assert!(Instant::now() < until, "{outcome:?}"),
        }
    }
    bench.shows(&good, 0, &numbered("g", 0..2));
}
