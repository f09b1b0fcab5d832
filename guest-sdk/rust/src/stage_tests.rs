//! How a stage is run: state that lasts, retries that stop, words that reach the report.

use crate::prelude::*;
use crate::testing::Case;
use crate::{Outputs, Stage};

/// Numbers its records; says `retry` and `dead` of those that say so, panics where told to.
enum Counter {}

impl Stage for Counter {
    type State = u32;

    fn init(config: &Config) -> Result<u32, InitError> {
        config.output("out")?;
        log::info(format_args!("{} starts at {}", config.stage(), config.settings::<u32>()?));
        config.settings()
    }

    fn process(count: &mut u32, record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
        match record.text()? {
            "retry" => return Err(Reject::retry("not yet")),
            "dead" => return Err(Reject::dead_letter("never")),
            _ => out.to("out").value(count.to_string()),
        }
        *count += 1;
        Ok(())
    }
}

#[test]
fn state_lasts_from_batch_to_batch() {
    let report = Case::new().settings(7).records(["a", "b", "c"]).batch_records(2).run::<Counter>();
    assert_eq!(report.texts("out"), ["7", "8", "9"]);
    assert_eq!(report.logs, [(log::Level::Info, "stage starts at 7".to_owned())]);
}

#[test]
fn a_dead_letter_stops_nothing_and_a_retry_stops_the_batch() {
    let report = Case::new().settings(0).records(["a", "dead", "b", "retry", "c"]).run::<Counter>();
    assert_eq!(report.texts("out"), ["0", "1"]);
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.record, r.retry, r.reason.as_str())).collect();
    assert_eq!(rejected, [(1, false, "never"), (3, true, "not yet")]);
}

#[test]
fn what_init_refuses_has_a_sentence() {
    let error = Case::new().outputs(["o"]).settings(1).try_run::<Counter>().expect_err("no output `out`");
    assert_eq!(error.reason(), "the manifest declares no output `out` for this stage; it declares: o");
    let error = Case::new().settings("\"x\"").try_run::<Counter>().expect_err("no number");
    assert!(error.reason().starts_with("the stage's `config` is not as expected: invalid type"), "{}", error.reason());
}

#[test]
fn an_output_by_a_wrong_name_panics_with_the_right_ones() {
    enum Wrong {}
    impl Stage for Wrong {
        type State = ();
        fn init(_: &Config) -> Result<(), InitError> {
            Ok(())
        }
        fn process(_: &mut (), _: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
            out.to("outt").value("");
            Ok(())
        }
    }
    let panic = std::panic::catch_unwind(|| Case::new().records([""]).run::<Wrong>()).expect_err("a panic");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert_eq!(message, "the manifest declares no output `outt` for this stage; it declares: out");
}

#[test]
fn a_record_shows_all_that_the_host_sent() {
    enum Show {}
    impl Stage for Show {
        type State = ();
        fn init(_: &Config) -> Result<(), InitError> {
            Ok(())
        }
        fn process(_: &mut (), record: Record<'_>, out: &mut Outputs<'_>) -> StageResult {
            let headers: Vec<_> = record.headers().map(|header| (header.name, header.value)).collect();
            let lines = format!(
                "{}/{}@{} {:?} {:?} {:?} {headers:?} {:?}",
                record.input(),
                record.partition(),
                record.offset(),
                record.timestamp(),
                record.key_text(),
                record.value(),
                record.header("h"),
            );
            out.to("out").value(lines);
            Ok(())
        }
    }
    use crate::testing::Input;
    let full = Input::new("v").key("k").header("h", "1").header("h", "2").timestamp(5).offset(40).partition(3).input(1);
    let bare = Input { timestamp: -1, ..Input::tombstone() };
    let report = Case::new().inputs(["x", "y"]).records([full, bare]).run::<Show>();
    assert_eq!(
        report.texts("out"),
        [
            "y/3@40 Some(5) Some(\"k\") Some([118]) [([104], Some([49])), ([104], Some([50]))] Some([50])",
            "x/0@1 None None None [] None",
        ]
    );
}
