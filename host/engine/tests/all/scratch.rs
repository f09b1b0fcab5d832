//! Scratch files, with real guests: what they can do, what they may hold, whom they cannot see, and that nothing is left.

use crate::support::*;
use bulkhead_core::code::Code;
use bulkhead_core::fault::{Fault, GuestFaultKind};
use bulkhead_core::limits::{
    SCRATCH_BYTES_MAX, SCRATCH_ENTRIES_MAX, SCRATCH_ENTRY_BYTES, SCRATCH_OPEN_MAX, StageLimits,
};
use bulkhead_core::name::ModuleDigest;
use bulkhead_engine::{Engine, EngineConfig, Instance, Mode, StageConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const KIB: u64 = 1 << 10;
/// What an instance of these tests may hold.
const MAX: u64 = 256 * KIB;

fn granted(bytes: u64) -> StageConfig {
    let limits = StageLimits { fuel_per_record: 10_000_000_000, ..StageLimits::default() };
    StageConfig { scratch: Some(bytes), limits, ..stage_config("scratch") }
}

async fn start(engine: &Engine, mode: Mode) -> Instance {
    stage_on(engine, "scratch", granted(MAX)).await.0.instantiate(mode).await.unwrap()
}

async fn started() -> Instance {
    start(engine(), Mode::Live).await
}

/// What came of each command.
async fn told(instance: &mut Instance, commands: &[&str]) -> Vec<String> {
    values(&instance.process(&batch(commands)).await.unwrap().outcome.outputs)
}

/// Commands, each with what must come of it.
async fn expect(instance: &mut Instance, steps: &[(&str, &str)]) {
    for (command, wanted) in steps {
        assert_eq!(told(instance, &[command]).await, [*wanted], "{command}");
    }
}

/// An engine with folders of its own.
fn apart(root: &Path) -> (Engine, PathBuf) {
    let folder = root.join("files");
    let config = EngineConfig { scratch_dir: Some(folder.clone()), ..config(Path::new(env!("CARGO_TARGET_TMPDIR"))) };
    (Engine::new(config).unwrap(), folder)
}

/// All files and folders below one.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| [vec![path.clone()], all_below(&path)].concat()).collect()
}

async fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
pub(crate) async fn scratch() {
    let steps = [
        ("!raw folders x", "/scratch"),
        ("!list /scratch", ""),
        ("!write /scratch/b hello", "done"),
        ("!read /scratch/b", "hello"),
        ("!mkdir /scratch/d", "done"),
        ("!fill /scratch/d/c 100000", "done"),
        ("!sum /scratch/d/c", "100000 100000"),
        ("!append /scratch/d/c 5", "done"),
        ("!size /scratch/d/c", "100005"),
        ("!rename /scratch/d/c /scratch/a", "done"),
        ("!rename /scratch/b /scratch/a", "done"),
        ("!read /scratch/a", "hello"),
        ("!list /scratch", "a d"),
        ("!rmdir /scratch/d", "done"),
        ("!remove /scratch/a", "done"),
        ("!read /scratch/a", "NotFound"),
        ("!list /scratch", ""),
    ];
    expect(&mut started().await, &steps).await;
}

#[tokio::test]
async fn without_the_grant_there_is_no_folder() {
    let mut instance =
        stage_on(engine(), "scratch", stage_config("scratch")).await.0.instantiate(CONFIRM).await.unwrap();
    assert_eq!(told(&mut instance, &["!raw folders x"]).await, [""]);
    assert_ne!(told(&mut instance, &["!write /scratch/a x"]).await, ["done"]);
}

#[tokio::test]
async fn no_way_of_writing_holds_more_than_the_limit() {
    let full = MAX - SCRATCH_ENTRY_BYTES;
    let (at_limit, over) = (full.to_string(), (full + 1).to_string());
    for way in ["fill /scratch/a", "append /scratch/a", "len /scratch/a"] {
        let mut instance = started().await;
        expect(&mut instance, &[(&format!("!{way} {over}"), "full")]).await;
        expect(&mut instance, &[("!remove /scratch/a", "done"), (&format!("!{way} {at_limit}"), "done")]).await;
        expect(&mut instance, &[("!write /scratch/b x", "full"), ("!mkdir /scratch/d", "full")]).await;
        // What is there may be written over.
        expect(&mut instance, &[(&format!("!over /scratch/a {at_limit}"), "done")]).await;
        expect(&mut instance, &[("!append /scratch/a 1", "full")]).await;
    }
    let last = (full - 1).to_string();
    let sparse = [
        (format!("!beyond /scratch/a {full}"), "full"),
        (format!("!raw write a {full}"), "insufficient-space"),
        ("!raw write a 18446744073709551615".to_owned(), "insufficient-space"),
        ("!len /scratch/a 9223372036854775807".to_owned(), "full"),
        ("!len /scratch/a 0".to_owned(), "done"),
        (format!("!beyond /scratch/a {last}"), "done"),
        ("!write /scratch/b x".to_owned(), "full"),
    ];
    let mut instance = started().await;
    for (command, wanted) in &sparse {
        let said = told(&mut instance, &[command]).await;
        assert_eq!(said, [*wanted], "{command}");
    }
    let zeroes = told(&mut started().await, &["!raw zeroes z 1000000"]).await;
    assert_eq!(zeroes, [format!("{full} insufficient-space")]);
}

#[tokio::test]
async fn what_shrinks_or_goes_makes_room() {
    let most = (MAX - 2 * SCRATCH_ENTRY_BYTES).to_string();
    let fill = format!("!fill /scratch/a {most}");
    let other = format!("!fill /scratch/b {most}");
    let steps = [
        (fill.as_str(), "done"),
        ("!write /scratch/b x", "full"),
        ("!len /scratch/a 0", "done"),
        (other.as_str(), "done"),
        ("!fill /scratch/a 1", "full"),
        ("!fill /scratch/b 0", "done"),
        (fill.as_str(), "done"),
        ("!rename /scratch/b /scratch/a", "done"),
        (other.as_str(), "done"),
        ("!clear /scratch/b", "NotADirectory"),
        ("!remove /scratch/b", "done"),
        (fill.as_str(), "done"),
    ];
    expect(&mut started().await, &steps).await;
}

#[tokio::test]
async fn a_file_that_is_removed_while_open_holds_its_bytes_until_it_is_closed() {
    let most = (MAX - SCRATCH_ENTRY_BYTES).to_string();
    let grow = format!("!grow {most}");
    let fill = format!("!fill /scratch/b {most}");
    for gone in ["!remove /scratch/a", "!rename /scratch/none /scratch/a"] {
        let mut instance = started().await;
        expect(&mut instance, &[("!hold /scratch/a", "done")]).await;
        if gone.contains("rename") {
            // Replaced is removed, too; the empty file takes an entry's room, which it gives back.
            expect(&mut instance, &[("!write /scratch/none ", "done"), (gone, "done")]).await;
            expect(&mut instance, &[("!remove /scratch/a", "done"), (&grow, "done")]).await;
        } else {
            expect(&mut instance, &[(gone, "done"), (&grow, "done")]).await;
        }
        expect(&mut instance, &[("!list /scratch", ""), ("!write /scratch/b x", "full")]).await;
        expect(&mut instance, &[("!close", "done"), (&fill, "done")]).await;
    }
}

#[tokio::test]
async fn files_and_handles_are_counted() {
    let (stage, _) = stage_on(engine(), "scratch", granted(SCRATCH_BYTES_MAX)).await;
    let mut instance = stage.instantiate(Mode::Live).await.unwrap();
    let files = format!("{SCRATCH_ENTRIES_MAX} full");
    expect(&mut instance, &[("!many /scratch 5000", &files), ("!mkdir /scratch/d", "full")]).await;
    expect(&mut instance, &[("!remove /scratch/7", "done"), ("!mkdir /scratch/d", "done")]).await;
    let opened = told(&mut instance, &["!opens /scratch/1 500"]).await.remove(0);
    let (count, kind) = opened.split_once(' ').unwrap_or_else(|| panic!("{opened}"));
    assert_eq!(kind, "OutOfMemory");
    assert!((10..=SCRATCH_OPEN_MAX).contains(&count.parse().unwrap()), "{opened}");
    expect(&mut instance, &[("!write /scratch/1 x", "OutOfMemory"), ("!close", "done")]).await;
    expect(&mut instance, &[("!write /scratch/1 x", "done")]).await;
    let streams = told(&mut instance, &["!raw streams 2 500"]).await.remove(0);
    assert!(streams.contains("insufficient-memory"), "{streams}");
    assert_eq!(told(&mut instance, &["!close", "!size /scratch/2"]).await[0], "done");
    // Empty files fill a small folder, too.
    let empty = told(&mut started().await, &["!many /scratch 5000"]).await;
    assert_eq!(empty, [format!("{} full", MAX / SCRATCH_ENTRY_BYTES)]);
}

#[tokio::test]
async fn there_is_no_way_out_of_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let (engine, folder) = apart(root.path());
    std::fs::write(root.path().join("secret"), "secret").unwrap();
    let mut instance = start(&engine, Mode::Live).await;
    let long = format!("{}x", "a/".repeat(600));
    let absolute = root.path().join("secret").display().to_string();
    expect(&mut instance, &[("!mkdir /scratch/d", "done"), ("!write /scratch/f x", "done")]).await;
    let (other, up) = (format!("{absolute}-new"), "../../../secret");
    let slashed = ["../", "d/../../", "..//", "./../", "d//..//../", "//etc/passwd", "../../../secret/", "f/../../"];
    let paths = [up, "../secret", "..", "d/../../../../secret", &absolute, "/", "/etc/passwd", "d/../..", "", &long];
    for path in paths.into_iter().chain(slashed) {
        for command in ["open", "create", "stat", "mkdir", "write"] {
            let said = told(&mut instance, &[&format!("!raw {command} {path} 0")]).await.remove(0);
            assert_ne!(said, "done", "{command} {path}");
        }
    }
    for target in ["../../secret", &other, "../up", "d/../../up", "../up/", "../", "d/../../up//"] {
        let said = told(&mut instance, &[&format!("!raw rename f {target}")]).await.remove(0);
        assert_ne!(said, "done", "{target}");
    }
    for link in [
        format!("!raw symlink s {absolute}"),
        "!raw symlink s f".to_owned(),
        "!raw symlink s ../../../secret".to_owned(),
    ] {
        assert_eq!(told(&mut instance, &[&link]).await, ["unsupported"], "{link}");
    }
    assert_eq!(told(&mut instance, &["!link /scratch/f /scratch/g"]).await, ["Unsupported"]);
    assert_eq!(told(&mut instance, &["!list /scratch"]).await, ["d f"]);
    assert_eq!(std::fs::read_to_string(root.path().join("secret")).unwrap(), "secret");
    let outside = std::fs::read_dir(root.path()).unwrap().count();
    assert_eq!((outside, all_below(&folder).len()), (2, 4), "only the two folders and what was made in them");
}

#[tokio::test]
async fn instances_do_not_see_each_others_files() {
    let (mut one, mut other) = (started().await, started().await);
    expect(&mut one, &[("!write /scratch/mine one", "done")]).await;
    expect(&mut other, &[("!list /scratch", ""), ("!write /scratch/mine other", "done")]).await;
    expect(&mut one, &[("!read /scratch/mine", "one")]).await;
    drop(one);
    expect(&mut other, &[("!read /scratch/mine", "other")]).await;
}

#[tokio::test]
async fn nothing_is_left_of_an_instance_however_it_ends() {
    let root = tempfile::tempdir().unwrap();
    let (engine, folder) = apart(root.path());
    let mut kept = start(&engine, Mode::Live).await;
    expect(&mut kept, &[("!write /scratch/kept x", "done")]).await;
    let before = all_below(&folder).len();
    let left = || all_below(&folder).len();

    let mut ended = start(&engine, Mode::Live).await;
    let name = "n".repeat(20);
    expect(&mut ended, &[(&format!("!raw nest {name} 60"), "done"), ("!write /scratch/a x", "done")]).await;
    assert!(left() > before + 50, "{}", left());
    drop(ended);
    wait_until("the ended one's files are gone", || left() == before).await;

    let mut trapped = start(&engine, Mode::Live).await;
    let failure = trapped.process(&batch(&["!write /scratch/a x", "!hold /scratch/b", "!trap"])).await.unwrap_err();
    assert_eq!(guest_fault(&failure).kind, GuestFaultKind::Trap);
    drop(trapped);
    wait_until("the trapped one's files are gone", || left() == before).await;

    let mut dropped = start(&engine, Mode::Live).await;
    let busy = batch(&["!many /scratch 50", "!fill /scratch/a 40000"]);
    let never = tokio::time::timeout(Duration::from_millis(1), dropped.process(&busy)).await;
    drop((never, dropped));
    wait_until("the dropped one's files are gone", || left() == before).await;

    expect(&mut kept, &[("!read /scratch/kept", "x")]).await;
    drop((kept, engine));
    wait_until("the engine's own folder is gone", || left() == 0).await;
}

#[tokio::test]
async fn a_run_is_repeated_to_the_same_answers_and_the_same_fuel() {
    let commands = [
        "!many /scratch 40",
        "!list /scratch",
        "!fill /scratch/a 20000",
        "!modified /scratch/a",
        "!sum /scratch/a",
        "!raw zeroes z 9000000",
    ];
    let run = async || start(engine(), CONFIRM).await.process(&batch(&commands)).await.unwrap();
    let (first, second) = (run().await, run().await);
    assert_eq!(first, second);
    let said = values(&first.outcome.outputs);
    assert!(said[3].contains("tv_sec: 0") || !said[3].contains("tv_sec"), "no real time: {}", said[3]);
    let mut sorted: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    sorted.sort();
    assert_eq!(said[1], sorted.join(" "));
}

#[tokio::test]
async fn bytes_and_calls_cost_fuel() {
    let fuel = async |command: &str| {
        let mut instance = start(engine(), CONFIRM).await;
        told(&mut instance, &["!fill /scratch/a 100000"]).await;
        instance.process(&batch(&[command])).await.unwrap().fuel
    };
    let (look, read, write) =
        (fuel("!size /scratch/a").await, fuel("!sum /scratch/a").await, fuel("!fill /scratch/b 100000").await);
    assert!(look > 10_000, "{look}");
    assert!(read > look + 100_000 && write > look + 100_000, "{look}, {read}, {write}");
    let limits = StageLimits { fuel_per_record: 200_000, ..StageLimits::default() };
    let config = StageConfig { limits, ..granted(MAX) };
    let mut poor = stage_on(engine(), "scratch", config).await.0.instantiate(CONFIRM).await.unwrap();
    let failure = poor.process(&batch(&["!write /scratch/a x", "!fill /scratch/b 200000"])).await.unwrap_err();
    assert_eq!((guest_fault(&failure).kind, failure.record), (GuestFaultKind::OutOfFuel, Some(1)));
}

#[tokio::test]
async fn a_host_without_room_is_no_fault_of_the_guest() {
    let root = tempfile::tempdir().unwrap();
    let settings = EngineConfig { scratch_bytes_max: MAX, ..config(Path::new(env!("CARGO_TARGET_TMPDIR"))) };
    let engine =
        Engine::new(EngineConfig { scratch_dir: Some(root.path().join("files")), ..settings.clone() }).unwrap();
    let (stage, _) = stage_on(&engine, "scratch", granted(MAX)).await;
    let first = stage.instantiate(Mode::Live).await.unwrap();
    let refused = |failure: bulkhead_engine::Failure| matches!(failure.fault, Fault::Host(fault) if fault.code == Code::ScratchUnavailable);
    assert!(refused(stage.instantiate(Mode::Live).await.unwrap_err()));
    drop(first);
    let end = Instant::now() + Duration::from_secs(30);
    while stage.instantiate(Mode::Live).await.is_err() {
        assert!(Instant::now() < end, "what was lent did not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(root.path().join("file"), "in the way").unwrap();
    let blocked = Engine::new(EngineConfig { scratch_dir: Some(root.path().join("file")), ..settings }).unwrap();
    let (stage, _) = stage_on(&blocked, "scratch", granted(MAX)).await;
    assert!(refused(stage.instantiate(Mode::Live).await.unwrap_err()));
    let module = bulkhead_test_guests::wasm("scratch");
    let module = blocked.load(ModuleDigest::of(module), async || Ok(module.into())).await.unwrap();
    let too_much = module.stage(granted(SCRATCH_BYTES_MAX + 1), Arc::new(Lines::default())).unwrap_err();
    assert!(matches!(too_much, Fault::Host(fault) if fault.code == Code::LimitExceeded));
}
