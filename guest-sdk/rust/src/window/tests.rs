//! Windows are exact: a model that reads all records at once says what each window holds, which records are late, and in what
//! order results come; batches, restarts and bounded flushes may change none of it.

use super::{Closed, Placed, Sessions, Stats, Windows};
use crate::prelude::*;
use crate::state::tests::random;
use crate::testing::{Case, Input, Report};
use crate::{Outputs, Stage};
use std::collections::BTreeMap;
use std::time::Duration;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What a case asks for: size (or gap), hop (0: sessions), lateness, idle (0: never), most windows at a time.
type Plan = (u64, u64, u64, u64, usize);

enum Any {
    Fixed(Windows<Stats>),
    Session(Sessions<Stats>),
}

enum Gather {}

impl Gather {
    fn close(state: &mut Any, out: &mut Outputs<'_>) -> StageResult {
        match state {
            Any::Fixed(windows) => windows.close(out, emit),
            Any::Session(sessions) => sessions.close(out, emit),
        }
    }
}

fn emit(closed: Closed<'_, Stats>, out: &mut Outputs<'_>) -> StageResult {
    out.to("closed").key(closed.key).value(shown(closed.key, closed.start, closed.end, &closed.value));
    Ok(())
}

fn shown(key: &[u8], start: i64, end: i64, value: &Stats) -> String {
    format!("{} {start}..{end}: {} of {}", String::from_utf8_lossy(key), value.sum, value.count)
}

impl Stage for Gather {
    type State = Any;
    const TICKS: bool = true;

    fn init(config: &Config) -> Result<Any, InitError> {
        let (size, hop, lateness, idle, most): Plan = config.settings()?;
        if hop == 0 {
            let sessions = Sessions::new("s", ms(size))?.lateness(ms(lateness)).flush_max(most);
            return Ok(Any::Session(if idle == 0 { sessions } else { sessions.idle(ms(idle)) }));
        }
        let windows = Windows::hopping("w", ms(size), ms(hop))?.lateness(ms(lateness)).flush_max(most);
        Ok(Any::Fixed(if idle == 0 { windows } else { windows.idle(ms(idle)) }))
    }

    /// A record's value is its number, or `reject`, which is said after the record was added and windows were given.
    fn process(state: &mut Any, record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
        let key = record.key().or_dead_letter("no key")?;
        let number = record.text()?.parse();
        let gather = |stats: &mut Stats| stats.add(number.clone().unwrap_or(-1_000_000));
        let placed = match state {
            Any::Fixed(windows) => windows.add(record.timestamp(), key, gather)?,
            Any::Session(sessions) => sessions.add(record.timestamp(), key, gather)?,
        };
        if placed == Placed::Late {
            out.to("late").forward();
        }
        Self::close(state, out)?;
        number.map(drop).map_err(Reject::from)
    }

    fn tick(state: &mut Any, _: Tick, out: &mut Outputs<'_>) -> StageResult {
        Self::close(state, out)
    }
}

#[derive(Debug, Clone)]
struct Event {
    time: i64,
    key: &'static str,
    number: i64,
}

/// What windows should hold and who is late, from all events at once and one definition of a watermark.
fn model(events: &[Event], (size, hop, lateness, ..): Plan) -> (Vec<String>, Vec<i64>) {
    let (size, hop, lateness) = (size as i64, hop as i64, lateness as i64);
    let (mut watermark, mut late) = (i64::MIN, Vec::new());
    // By end, start and key; sessions keep their events' times beside.
    let mut windows: BTreeMap<(i64, i64, &str), Stats> = BTreeMap::new();
    for event in events {
        watermark = watermark.max(event.time - lateness);
        let mut placed = false;
        if hop == 0 {
            let (mut start, mut end) = (event.time, event.time + size);
            let touched: Vec<_> = windows
                .keys()
                .filter(|(e, s, key)| *key == event.key && *e > watermark && *s < end && start < *e)
                .copied()
                .collect();
            placed = !touched.is_empty() || end > watermark;
            if placed {
                let mut stats = Stats::default();
                for window in touched {
                    (start, end) = (start.min(window.1), end.max(window.0));
                    super::Merge::merge(&mut stats, windows.remove(&window).expect("it is there"));
                }
                stats.add(event.number);
                assert!(windows.insert((end, start, event.key), stats).is_none(), "two sessions in one place");
            }
        } else {
            // Every multiple of the hop, far and wide.
            for n in (event.time - size).div_euclid(hop) - 1..=event.time.div_euclid(hop) + 1 {
                let (start, end) = (n * hop, n * hop + size);
                if start <= event.time && event.time < end && end > watermark {
                    windows.entry((end, start, event.key)).or_default().add(event.number);
                    placed = true;
                }
            }
        }
        if !placed {
            late.push(event.number);
        }
    }
    // Sessions that end together come by key.
    let mut closed: Vec<_> = windows.into_iter().filter(|((end, ..), _)| *end <= watermark).collect();
    if hop == 0 {
        closed.sort_by_key(|((end, _, key), _)| (*end, *key));
    }
    (closed.iter().map(|((end, start, key), stats)| shown(key.as_bytes(), *start, *end, stats)).collect(), late)
}

/// Events, mostly in order, some far out of it.
fn events(random: &mut impl FnMut(u64) -> u64) -> Vec<Event> {
    let mut now = random(1_000) as i64;
    let count = random(120);
    let keys = ["a", "b", "b\0", "c"];
    (0..count as i64)
        .map(|number| {
            now += random(25) as i64;
            let back = if random(4) == 0 { random(150) as i64 } else { 0 };
            Event { time: (now - back).max(0), key: keys[random(4) as usize], number }
        })
        .collect()
}

fn plan(random: &mut impl FnMut(u64) -> u64) -> Plan {
    let size = 1 + random(80);
    let hop = match random(3) {
        0 => 0,
        1 => size,
        _ => 1 + random(size),
    };
    (size, hop, random(100), 0, [1, 3, 10_000][random(3) as usize])
}

fn input(event: &Event) -> Input {
    Input::new(event.number.to_string()).key(event.key).timestamp(event.time)
}

/// The case in batches, with restarts, with records between that are rejected after they were added, and ticks that find nothing idle.
fn case(events: &[Event], plan: Plan, random: &mut impl FnMut(u64) -> u64) -> Case {
    let settings = format!("[{},{},{},{},{}]", plan.0, plan.1, plan.2, plan.3, plan.4);
    let mut case = Case::new().outputs(["closed", "late"]).settings(settings).batch_records(1 + random(20) as usize);
    for event in events {
        if random(12) == 0 {
            let far = event.time + random(1_000) as i64;
            case = case.records([Input::new("reject").key("a").timestamp(far)]);
        }
        case = case.records([input(event)]);
        case = match random(16) {
            0 => case.restart(),
            1 => case.tick(event.time + 5_000_000),
            _ => case,
        };
    }
    case
}

fn late(report: &Report) -> Vec<i64> {
    report.texts("late").into_iter().map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn results_follow_from_the_records_and_their_order_alone() {
    let (mut closed, mut lates) = (0, 0);
    for seed in 0..1_500 {
        let mut random = random(seed);
        let (events, plan) = (events(&mut random), plan(&mut random));
        let (results, too_late) = model(&events, plan);
        let mut case = case(&events, plan, &mut random);
        // What a bounded flush left over comes with later ticks.
        for _ in 0..results.len() {
            case = case.tick(i64::MAX);
        }
        let report = case.run::<Gather>();
        assert_eq!(report.texts("closed"), results, "seed {seed}, {plan:?}, {events:?}");
        assert_eq!(late(&report), too_late, "seed {seed}, {plan:?}, {events:?}");
        assert!(report.rejected.iter().all(|rejected| rejected.reason == "invalid digit found in string"));
        closed += results.len();
        lates += too_late.len();
    }
    assert!(closed > 15_000 && lates > 3_000, "only {closed} windows and {lates} late records were compared");
}

#[test]
fn records_out_of_order_within_the_lateness_change_nothing() {
    for seed in 0..500 {
        let mut random = random(seed);
        let mut events = events(&mut random);
        let mut plan = plan(&mut random);
        events.sort_by_key(|event| event.time);
        let in_order = model(&events, plan);
        // Each may come up to its lateness after its time, and no more.
        let lateness = plan.2;
        events.sort_by_cached_key(|event| event.time + random(lateness + 1) as i64);
        let newest = events.iter().map(|event| event.time).max().unwrap_or_default();
        plan.4 = 10_000;
        let report = case(&events, plan, &mut random).run::<Gather>();
        assert_eq!((report.texts("closed").len(), late(&report)), (in_order.0.len(), vec![]), "seed {seed}, {plan:?}");
        assert_eq!(report.texts("closed"), in_order.0, "seed {seed}, {plan:?}, up to {newest}");
    }
}

#[test]
fn a_record_without_a_usable_time_is_a_dead_letter() {
    let times = [-1, 253_402_300_800_000, i64::MAX, 5];
    let records = times.map(|time| Input::new("1").key("k").timestamp(time));
    for plan in ["[10,10,0,0,1]", "[10,0,0,0,1]"] {
        let report = Case::new().outputs(["closed", "late"]).settings(plan).records(records.clone()).run::<Gather>();
        let reasons: Vec<_> = report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
        assert_eq!(reasons[0], "the record has no time, so it has no window");
        assert!(reasons[1].contains("253402300800000 ms, is not between"), "{}", reasons[1]);
        assert_eq!(reasons.len(), 3, "and neither moved the watermark: {reasons:?}");
    }
}

#[test]
fn a_quiet_partition_is_closed_by_ticks_and_only_after_its_time() {
    let at = |time: i64| Input::new("1").key("k").timestamp(time);
    let case = |plan: &str| Case::new().outputs(["closed", "late"]).settings(plan);
    for (plan, result) in [("[10,10,5,60,9]", "k 0..10: 2 of 2"), ("[10,0,5,60,9]", "k 3..14: 2 of 2")] {
        let busy = case(plan).records([at(3)]).tick(1_000).tick(1_059).records([at(4)]).tick(1_070).tick(1_129);
        assert!(busy.run::<Gather>().texts("closed").is_empty(), "a record began the wait anew");
        let report = busy.clone().tick(1_130).records([at(4)]).run::<Gather>();
        assert_eq!(report.texts("closed"), [result]);
        assert_eq!(report.to("late").len(), 1, "what is closed stays closed");
        let (closed, tick) = (report.to("closed")[0], 1_130);
        assert!(closed.by_tick && closed.key.as_deref() == Some(b"k") && closed.timestamp < tick, "{closed:?}");
        assert!(busy.restart().tick(5_000).run::<Gather>().texts("closed").is_empty(), "a new owner waits anew");
    }
    let never = case("[10,10,5,0,9]").records([at(3)]).tick(1).tick(i64::MAX);
    assert!(never.run::<Gather>().texts("closed").is_empty(), "nobody asked for it");
}

#[test]
fn a_result_takes_over_nothing_from_the_record_that_closed_it() {
    let last = Input::new("2").key("other").header("h", "1").timestamp(25);
    let records = [Input::new("1").key("k").timestamp(3), last];
    let report = Case::new().outputs(["closed", "late"]).settings("[10,10,0,0,9]").records(records).run::<Gather>();
    let closed = report.to("closed")[0];
    assert_eq!((closed.key.as_deref(), closed.timestamp, closed.headers.len()), (Some(b"k".as_slice()), 9, 0));
}

#[test]
fn a_flush_is_bounded_and_what_waits_is_closed_all_the_same() {
    let records = (0..1_500).map(|n| Input::new("1").key(format!("{n:04}")).timestamp(0));
    let at = |time: i64, key: &str| Input::new("7").key(key).timestamp(time);
    let case = Case::new().outputs(["closed", "late"]).settings("[10,10,0,0,100000]").records(records);
    let case = case.records([at(10, "x"), at(9, "1499"), at(10, "x")]);
    let report = case.run::<Gather>();
    let closed = report.to("closed");
    assert_eq!(closed.iter().filter(|closed| closed.record == 1_500).count(), 1_000);
    assert_eq!(closed.iter().filter(|closed| closed.record == 1_501).count(), 500);
    assert_eq!(closed[1_499].text(), "1499 0..10: 1 of 1");
    assert_eq!(report.to("late").len(), 1);
    assert_eq!(report.state[&(0, 0)].len(), 2, "the clock and the window of x: {:?}", report.state);
}

#[test]
fn sizes_that_make_no_sense_stop_the_pipeline() {
    for (size, hop) in [(0, 0), (10, 11), (100_000, 1)] {
        let error = Windows::<u64>::hopping("w", ms(size), ms(hop)).expect_err("no windows");
        assert!(error.reason().contains("window"), "{}", error.reason());
    }
    assert!(Windows::<u64>::tumbling("w", Duration::MAX).is_err());
    assert!(Sessions::<u64>::new("s", Duration::ZERO).is_err());
}
