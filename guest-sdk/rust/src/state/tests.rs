//! State does what the contract says whatever the batches: a model in plain maps says what should be there.

use super::native;
use crate::prelude::*;
use crate::state::{self, Counters, Map, Value};
use crate::testing::{Case, Input};
use crate::{Outputs, Stage};
use std::collections::BTreeMap;

/// A record is a list of commands, one a line; what reads say goes out.
enum Shell {}

impl Stage for Shell {
    type State = ();

    fn init(_: &Config) -> Result<(), InitError> {
        Ok(())
    }

    fn process(_: &mut (), record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
        for line in record.text()?.lines() {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            match word() {
                "set" => state::set(word(), word())?,
                "delete" => state::delete(word())?,
                "get" => out.to("out").value(format!("{:?}", state::get(word())?.map(text))),
                "scan" => {
                    let (start, end, limit) = (word(), word(), word().parse()?);
                    let end = (end != "-").then_some(end.as_bytes());
                    let found = state::scan(start, end, limit).into_iter().map(|(key, value)| (text(key), text(value)));
                    out.to("out").value(format!("{:?}", found.collect::<Vec<_>>()));
                }
                _ => return Err(Reject::dead_letter("as it says")),
            }
        }
        Ok(())
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn model(scripts: &[String]) -> (Vec<String>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let (mut store, mut said) = (BTreeMap::<String, String>::new(), Vec::new());
    for script in scripts {
        let before = (store.clone(), said.len());
        for line in script.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match *words {
                ["set", key, value] => drop(store.insert(key.to_owned(), value.to_owned())),
                ["delete", key] => drop(store.remove(key)),
                ["get", key] => said.push(format!("{:?}", store.get(key))),
                ["scan", start, end, limit] => {
                    let all =
                        store.iter().filter(|(key, _)| key.as_str() >= start && (end == "-" || key.as_str() < end));
                    said.push(format!("{:?}", all.take(limit.parse().expect("a limit")).collect::<Vec<_>>()));
                }
                _ => {
                    store = before.0.clone();
                    said.truncate(before.1);
                    break;
                }
            }
        }
    }
    (said, store.into_iter().map(|(key, value)| (key.into_bytes(), value.into_bytes())).collect())
}

/// A stream of numbers for a seed.
pub(crate) fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn script(random: &mut impl FnMut(u64) -> u64) -> String {
    let key = |n: u64| ["a", "ab", "b", "ba", "c", "d"][n as usize];
    let lines = (0..1 + random(6)).map(|_| match random(20) {
        0 => "fail".to_owned(),
        1..=8 => format!("set {} {}", key(random(6)), "x".repeat(random(5) as usize)),
        9..=11 => format!("delete {}", key(random(6))),
        12..=15 => format!("get {}", key(random(6))),
        16..=17 => format!("scan {} - {}", key(random(6)), random(5)),
        _ => format!("scan {} {} {}", key(random(6)), key(random(6)), random(5)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn reads_see_all_accepted_writes_and_nothing_of_a_rejected_record() {
    let mut rejected = 0;
    for seed in 0..1_500 {
        let mut random = random(seed);
        let scripts: Vec<String> = (0..random(30)).map(|_| script(&mut random)).collect();
        let (said, store) = model(&scripts);
        let mut case = Case::new().batch_records(1 + random(12) as usize);
        for script in scripts {
            case = case.records([script]);
            case = if random(10) == 0 { case.restart() } else { case };
        }
        let report = case.run::<Shell>();
        assert_eq!(report.texts("out"), said, "seed {seed}");
        assert_eq!(report.state.get(&(0, 0)).cloned().unwrap_or_default(), store, "seed {seed}");
        rejected += report.rejected.len();
    }
    assert!(rejected > 1_000, "only {rejected} records were rejected");
}

#[test]
fn partitions_have_stores_of_their_own() {
    let on = |partition, script: &str| Input::new(script).partition(partition);
    let report =
        Case::new().records([on(0, "set k 0"), on(1, "get k"), on(1, "set k 1"), on(0, "get k")]).run::<Shell>();
    assert_eq!(report.texts("out"), ["None", "Some(\"0\")"]);
    assert_eq!(report.state.len(), 2);
}

#[test]
fn keys_and_values_over_their_limits_are_dead_letters() {
    let long = "k".repeat(super::KEY_BYTES_MAX + 1);
    let large = "v".repeat(super::VALUE_BYTES_MAX + 1);
    let (longest, largest) = (&long[1..], &large[1..]);
    let scripts = [format!("set {long} v"), format!("get {long}"), "get ".into(), format!("set k {large}")];
    let fits = [format!("set {longest} {largest}"), "get k".into()];
    let report = Case::new().records(scripts).records(fits).run::<Shell>();
    let reasons: Vec<_> = report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    let key = |length| format!("a key of state has 1 to 1024 bytes, and this one has {length}");
    assert_eq!(reasons[..3], [key(1025), key(1025), key(0)]);
    assert!(reasons[3].starts_with("a value of state has at most 1048576 bytes"), "{}", reasons[3]);
    assert_eq!((reasons.len(), report.texts("out")), (4, vec!["None"]));
}

#[test]
fn a_counter_that_a_whole_batch_raises_is_read_and_written_once() {
    enum Count {}
    impl Stage for Count {
        type State = Counters;
        fn init(_: &Config) -> Result<Counters, InitError> {
            Ok(Counters::named("n"))
        }
        fn process(counters: &mut Counters, record: Record<'_>, _: &mut Outputs<'_>) -> StageResult {
            counters.add(record.bytes()?, 1)?;
            Ok(())
        }
    }
    let case = Case::new().records(["warm"]).records(vec!["k"; 60]).batch_records(61);
    let before = native::calls();
    let report = case.run::<Count>();
    // Read and written when it came to be; then, as it does not grow, once at the end. The other one likewise, but for its end.
    assert_eq!(native::calls() - before, 3 + 2);
    assert_eq!(
        report.state[&(0, 0)][b"n\0ck".as_slice()],
        [1, 120],
        "version 1, then 60 as postcard writes a signed number"
    );
}

#[test]
fn a_value_of_another_type_is_a_dead_letter_that_says_so() {
    enum Read {}
    impl Stage for Read {
        type State = (Map<String>, Map<(u64, u64)>, Value<u8>);
        fn init(_: &Config) -> Result<Self::State, InitError> {
            Ok((Map::named("m"), Map::named("m"), Value::named("m")))
        }
        fn process(state: &mut Self::State, record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
            match record.text()? {
                "write" => state.0.set("k", &"hello".to_owned()),
                "read" => {
                    out.to("out").value(format!("{:?} {:?}", state.0.get("k")?, state.2.get()?));
                    Ok(())
                }
                _ => state.1.get("k").map(drop),
            }
        }
    }
    let report = Case::new().records(["write", "read", "misread"]).run::<Read>();
    assert_eq!(report.texts("out"), ["Some(\"hello\") None"]);
    let reason = &report.rejected[0].reason;
    assert!(reason.contains("not of the type expected") && reason.contains("give its state a new name"), "{reason}");
}

#[test]
fn a_map_is_scanned_in_the_order_of_its_keys_and_no_further() {
    enum Scan {}
    impl Stage for Scan {
        type State = ();
        fn init(_: &Config) -> Result<(), InitError> {
            Ok(())
        }
        fn process(_: &mut (), _: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
            let (map, other) = (Map::<u32>::named("m"), Map::<u32>::named("n"));
            for n in 0..5_u32 {
                map.set([n as u8], &n)?;
            }
            other.set("x", &9)?;
            let numbers = |from: &[u8], limit| {
                Ok::<_, Reject>(map.scan(from, limit)?.into_iter().map(|e| e.1).collect::<Vec<_>>())
            };
            out.to("out").value(format!("{:?} {:?} {:?}", numbers(&[], 2)?, numbers(&[1, 0], 9)?, numbers(&[9], 9)?));
            Ok(())
        }
    }
    assert_eq!(Case::new().records([""]).run::<Scan>().texts("out"), ["[0, 1] [2, 3, 4] []"]);
}
