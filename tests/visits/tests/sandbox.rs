//! Session windows in the sandbox: what they give natively, with the same state, whatever the batches and restarts.

use bulkhead_harness::{Case, Input, Report, Sandbox};
use visits_stage::{IDLE_MS, visits};

fn click(at: i64, page: &str) -> Input {
    Input::new(page).key("ann").timestamp(at)
}

/// A visit of which a late click joins two parts, one that is over by event time, one too late, and one that only a tick gives out.
fn story() -> Case {
    let together = [click(0, "a"), click(35_000, "b"), click(28_000, "c")];
    let after = [click(200_000, "d"), click(1_000, "e")];
    let last = IDLE_MS as i64;
    let case = Case::new().outputs(["visits", "late"]).records(together);
    case.restart().records(after).tick(0).tick(last - 1).tick(last)
}

/// Many visitors, in two partitions, out of order, over a restart.
fn crowd(batch: usize) -> Case {
    let click = |i: i64| {
        let at = i * 700 + (i * 7_919) % 9_000;
        let visitor = format!("visitor-{}", i * i % 53);
        Input::new(format!("page-{}", i % 7)).key(visitor).timestamp(at).partition((i / 100 % 2) as i32)
    };
    let case = Case::new().outputs(["visits", "late"]).batch_records(batch).records((0..900).map(click));
    let mut case = case.restart().records((900..1_500).map(click));
    for now in [0, IDLE_MS as i64] {
        case = case.tick_of(0, 0, now).tick_of(0, 1, now);
    }
    case
}

fn outputs(report: &Report) -> Vec<(i32, String, String)> {
    let own = |output: &str| -> Vec<_> {
        let all = report.to(output).into_iter();
        all.map(|emitted| (emitted.key.clone().unwrap_or_default(), emitted.text().to_owned())).collect()
    };
    let named = ["visits", "late"].into_iter().zip(0..);
    let all = named.flat_map(|(output, n)| own(output).into_iter().map(move |(key, text)| (n, key, text)));
    all.map(|(n, key, text)| (n, String::from_utf8_lossy(&key).into_owned(), text)).collect()
}

#[test]
fn visits_are_the_same_in_the_sandbox() {
    let sandbox = Sandbox::of_crate(env!("CARGO_MANIFEST_DIR")).expect("the stage builds and the host takes it");
    let run = sandbox.assert_agrees::<visits>(&story());
    let wanted = ["3 clicks on a b c in 65000 ms", "1 clicks on d in 30000 ms"];
    assert_eq!(run.report.texts("visits"), wanted);
    assert_eq!(run.report.texts("late"), ["e"]);
    assert!(run.report.to("visits")[1].by_tick);

    let once = sandbox.assert_agrees::<visits>(&crowd(1));
    let many = sandbox.assert_agrees::<visits>(&crowd(400));
    let sorted = |report: &Report| {
        let mut outputs = outputs(report);
        outputs.sort();
        outputs
    };
    assert!(once.report.texts("visits").len() > 500, "{} visits", once.report.texts("visits").len());
    assert_eq!(sorted(&once.report), sorted(&many.report));
    assert_eq!(once.report.state, many.report.state);
    assert!(many.report.state.values().all(|state| state.len() == 1), "only the clock is left of each partition");
}
