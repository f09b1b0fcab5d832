//! Every way in which a chain can be spoilt, by somebody who knows the format.

use super::*;
use crate::audit::seal;
use serde_json::json;

/// Lines 1 to `n`, each saying its number.
fn chain(n: u64) -> Vec<Value> {
    let (mut lines, mut prev) = (Vec::new(), NOTHING_BEFORE.to_owned());
    for seq in 1..=n {
        let line = seal(Map::from_iter([("says".to_owned(), json!(seq))]), "c", seq, &prev).unwrap();
        prev = line["hash"].as_str().unwrap().to_owned();
        lines.push(Value::Object(line));
    }
    lines
}

/// The same line with other words and a hash that fits them.
fn forged(line: &Value, says: &str) -> Value {
    let link = Link::of(line.as_object().unwrap()).unwrap();
    let says = Map::from_iter([("says".to_owned(), json!(says))]);
    Value::Object(seal(says, &link.chain, link.seq, &link.prev).unwrap())
}

fn anchor(line: &Value, pruned: bool) -> Anchor {
    let Link { chain, seq, hash, .. } = Link::of(line.as_object().unwrap()).unwrap();
    Anchor { chain, seq, hash, pruned }
}

fn check(lines: &[Value], anchors: &[Anchor]) -> Verdict {
    let mut checker = Checker::new(anchors.iter().cloned(), false);
    lines.iter().for_each(|line| checker.line(line));
    checker.end()
}

fn found(lines: &[Value], anchors: &[Anchor]) -> Vec<(u64, Wrong)> {
    check(lines, anchors).findings.into_iter().map(|finding| (finding.seq, finding.wrong)).collect()
}

#[test]
fn a_whole_chain_is_whole_and_so_is_an_empty_one() {
    let lines = chain(5);
    let verdict = check(&lines, &[anchor(&lines[2], false), anchor(&lines[4], false)]);
    assert_eq!((verdict.wrong, verdict.lines, verdict.range, verdict.chain.as_str()), (0, 5, Some((1, 5)), "c"));
    assert_eq!(check(&[], &[]).wrong, 0);
}

#[test]
fn what_was_changed_taken_moved_or_put_in_is_found_at_its_line() {
    let lines = chain(6);
    let spoilt = |spoil: &dyn Fn(&mut Vec<Value>)| {
        let mut lines = lines.clone();
        spoil(&mut lines);
        found(&lines, &[])
    };
    assert_eq!(spoilt(&|lines| lines[2]["says"] = json!("else")), [(3, Wrong::Changed)]);
    assert_eq!(spoilt(&|lines| drop(lines.remove(2))), [(3, Wrong::Missing)]);
    assert_eq!(spoilt(&|lines| drop(lines.drain(1..3))), [(2, Wrong::Missing), (3, Wrong::Missing)]);
    assert_eq!(spoilt(&|lines| lines.swap(2, 3)), [(3, Wrong::OutOfOrder)]);
    assert_eq!(spoilt(&|lines| lines.insert(3, forged(&lines[2], "more"))), [(3, Wrong::Repeated)]);
    assert_eq!(spoilt(&|lines| lines[2] = forged(&lines[2], "else")), [(4, Wrong::Unconnected)]);
    assert_eq!(spoilt(&|lines| drop(lines.remove(0))), [(1, Wrong::Missing)]);
    assert_eq!(spoilt(&|lines| lines[2] = json!({"says": 3})), [(2, Wrong::Unreadable), (3, Wrong::Missing)]);
    assert_eq!(spoilt(&|lines| lines[5]["hash"] = json!("0")), [(6, Wrong::Changed)]);
    let mut other = chain(6);
    other[3]["chain"] = json!("d");
    assert_eq!(found(&other, &[])[..2], [(4, Wrong::Changed), (4, Wrong::OtherChain)]);
}

#[test]
fn a_checkpoint_finds_what_the_hashes_alone_do_not() {
    let lines = chain(6);
    let end = anchor(&lines[5], false);
    // The end is cut off: what is left is a whole chain.
    assert_eq!(found(&lines[..4], &[]), []);
    assert_eq!(found(&lines[..4], std::slice::from_ref(&end)), [(6, Wrong::CutOff)]);
    assert_eq!(found(&[], std::slice::from_ref(&end)), [(6, Wrong::CutOff)]);
    // Everything from line 5 on is written anew, with hashes that fit.
    let mut anew = lines[..4].to_vec();
    anew.push(forged(&lines[4], "else"));
    let prev = anew[4]["hash"].as_str().unwrap().to_owned();
    anew.push(Value::Object(seal(Map::new(), "c", 6, &prev).unwrap()));
    assert_eq!(found(&anew, &[]), []);
    assert_eq!(found(&anew, &[end]), [(6, Wrong::Rewritten)]);
}

#[test]
fn a_pruned_chain_goes_on_from_its_anchor_and_from_nowhere_else() {
    let lines = chain(6);
    let pruned = anchor(&lines[2], true);
    let verdict = check(&lines[3..], std::slice::from_ref(&pruned));
    assert_eq!((verdict.wrong, verdict.range, verdict.pruned), (0, Some((4, 6)), true));
    assert_eq!(found(&lines[4..], std::slice::from_ref(&pruned)), [(4, Wrong::Missing)]);
    assert_eq!(found(&lines[3..], &[]).len(), 3, "without an anchor the beginning is missing");
    assert_eq!(found(&lines[3..], &[anchor(&lines[2], false)]).len(), 3, "a line that was seen was not pruned");
    let wrong = Anchor { hash: NOTHING_BEFORE.to_owned(), ..pruned.clone() };
    assert_eq!(found(&lines[3..], &[wrong]), [(4, Wrong::Unconnected)]);
    assert_eq!(found(&[], &[pruned]), [], "everything was pruned");
}

#[test]
fn repeats_are_passed_over_only_where_they_are_expected_and_only_the_very_line() {
    let lines = chain(4);
    let stutter = [&lines[0], &lines[1], &lines[0], &lines[1], &lines[2], &lines[2], &lines[3]].map(Value::clone);
    let mut checker = Checker::new([], true);
    stutter.iter().for_each(|line| checker.line(line));
    let verdict = checker.end();
    assert_eq!((verdict.wrong, verdict.lines), (0, 4));
    assert_eq!(check(&stutter, &[]).wrong, 3);
}

#[test]
fn what_is_kept_of_a_wreck_is_bounded() {
    let lines = chain(3);
    let mut far = lines.clone();
    far[2] = Value::Object(seal(Map::new(), "c", u64::MAX, "x").unwrap());
    let verdict = check(&far, &[]);
    assert_eq!(verdict.findings.len(), FINDINGS_MAX);
    assert!(verdict.wrong > 1 << 60, "{}", verdict.wrong);
}
