//! A stage that reaches buckets: natively and in the sandbox it sees and leaves the same objects.

use archive_stage::archive;
use bulkhead_core::code::Code;
use bulkhead_core::fault::Fault;
use bulkhead_harness::{Case, Sandbox};
use bulkhead_sdk::testing::Access;
use std::sync::OnceLock;

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/archive");
    SANDBOX.get_or_init(|| Sandbox::of_crate(folder).expect("the stage builds and the host takes it"))
}

fn case(access: Access, commands: &[&str]) -> Case {
    Case::new()
        .bucket("archive", access, [("a/1", "one"), ("a/2", "two"), ("b", "three")])
        .records(commands.iter().copied())
}

#[test]
fn objects_are_the_same_natively_and_in_the_sandbox() {
    let commands = [
        ("get a/1", "one"),
        ("find a/2", "two"),
        ("find c", "nothing"),
        ("range b", "hr"),
        ("info b", "b 5 3"),
        ("list  ", "a/1 a/2"),
        ("list a/ a/1", "a/2"),
        ("put c new", "c 3 4"),
        ("try absent c more", "! the object `c` is not as the put requires"),
        ("absent d first", "d 5 5"),
        ("again d second", "d 6 6"),
        ("try stale d third", "! the object `d` is not as the put requires"),
        ("delete b", "deleted"),
        ("delete b", "deleted"),
        ("try get b", "! there is no object `b`"),
        ("try huge e", "! the object `e` has more than 8388608 bytes"),
        ("upload big end", "8388611"),
        ("try get big", "! the object `big` has more than 8388608 bytes"),
        ("give-up never x", "given up"),
    ];
    let (given, expected): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    for batch_records in [1, 100] {
        let run = sandbox().assert_agrees::<archive>(&case(Access::ReadWrite, &given).batch_records(batch_records));
        assert_eq!(run.report.texts("out"), expected);
        let keys: Vec<&str> = run.report.buckets["archive"].keys().map(String::as_str).collect();
        assert_eq!(keys, ["a/1", "a/2", "big", "c", "d"]);
    }
}

#[test]
fn an_error_is_a_dead_letter_that_names_its_key() {
    let run = sandbox().run(&case(Access::ReadWrite, &["get x", "put ../x y", "try put /x y", "list x"])).unwrap();
    let reasons: Vec<&str> = run.report.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(reasons[0], "there is no object `x`");
    assert!(reasons[1].starts_with("the key `../x` is refused: "), "{}", reasons[1]);
    let native = case(Access::ReadWrite, &["put ../x y", "try put /x y", "list x"]).run::<archive>();
    assert_eq!(native.rejected.len(), 3);
}

#[test]
fn what_the_case_does_not_lend_stops_the_stage() {
    for case in [case(Access::Write, &["get b"]), case(Access::Read, &["put b x"]), Case::new().records(["get b"])] {
        let stopped = sandbox().run(&case).unwrap_err();
        let Fault::Guest(fault) = &stopped.fault else { panic!("{stopped}") };
        assert_eq!(fault.kind.code(), Code::BucketNotGranted);
        let native = std::panic::catch_unwind(|| case.run::<archive>());
        assert!(native.is_err(), "natively it went on");
    }
}

#[test]
fn a_stage_that_reaches_buckets_imports_them_and_nothing_that_it_does_not_use() {
    let imports = sandbox().imports();
    assert!(imports.iter().any(|import| import.starts_with("bulkhead:stage/bucket@")), "{imports:?}");
    assert!(!imports.iter().any(|import| import.starts_with("bulkhead:stage/state@")), "{imports:?}");
}
