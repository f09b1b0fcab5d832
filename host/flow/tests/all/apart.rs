//! Two tenants in one worker, with pipelines, stages and keys of the same names: what a stage calls reaches its own tenant's side.

use crate::support::*;
use bulkhead_core::assignment::PipelineAssignment;

const GLOBEX: &str = "globex";

fn counting(tenant: &str) -> PipelineAssignment {
    let text = "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{topic: in}]
stages:
  - name: keep
    module: stateful
    state: {maxBytes: 100000}
    outputs: {out: {topic: out}}
    tickMs: 3600000
deadLetter: {topic: dead}
";
    pipeline(tenant, text)
}

fn both(make: impl Fn(&str) -> PipelineAssignment) -> (World, [PipelineAssignment; 2]) {
    let world = World::with_topics(1);
    world.topics(GLOBEX, 1);
    (world, [ACME, GLOBEX].map(make))
}

/// Each function of `state`: `count` gets and sets, `scan` scans, `delete` deletes.
#[test]
fn no_call_on_the_state_reaches_another_tenants() {
    let (world, pipelines) = both(counting);
    let worker = world.worker("w");
    for pipeline in &pipelines {
        world.keep_state(pipeline, 1);
        worker.run(pipeline);
    }
    let step = |tenant: usize, commands: &[&str]| {
        let name = [ACME, GLOBEX][tenant];
        let before = world.first(name, "out").len();
        world.append(name, "in", &texts(commands.iter().copied()));
        world.settled(&worker, &pipelines[tenant]);
        world.first(name, "out").split_off(before)
    };
    assert_eq!(step(0, &["count k", "count k", "count only-acmes"]), ["k=1", "k=2", "only-acmes=1"]);
    assert_eq!(step(1, &["scan", "count k", "scan"]), ["", "k=1", "k=1"], "globex began with acme's state");
    assert_eq!(step(1, &["delete k", "delete only-acmes", "scan"]), [""]);
    assert_eq!(step(0, &["scan", "count k"]), ["k=2 only-acmes=1", "k=3"], "globex changed acme's state");
    assert_eq!(world.dead(), []);
}

#[test]
fn a_line_is_told_as_the_tenants_whose_stage_wrote_it() {
    let (world, [logs, passes]) =
        both(|tenant| simple_of(tenant, if tenant == ACME { "log_flood" } else { "passthrough" }, ""));
    let worker = world.worker("w");
    worker.run(&logs);
    worker.run(&passes);
    world.append(ACME, "in", &texts(["!3"]));
    world.append(GLOBEX, "in", &texts(["!3"]));
    world.settled(&worker, &logs);
    world.settled(&worker, &passes);
    assert!(worker.lines.of(ACME).iter().any(|line| line == "line 2"), "{:?}", worker.lines.of(ACME));
    assert_eq!(worker.lines.of(GLOBEX), Vec::<String>::new());
}

/// `mark` says on which record fuel is spent; a neighbour that spends much must not make another's records dearer.
#[test]
fn fuel_is_charged_to_the_tenant_whose_records_cost_it() {
    let fuel = |neighbour: &[&str]| {
        let (world, [ours, theirs]) = both(|tenant| simple_of(tenant, "work", ""));
        let worker = world.worker("w");
        world.append(ACME, "in", &texts(["8000", "16000"]));
        world.append(GLOBEX, "in", &texts(neighbour.iter().copied()));
        worker.run(&ours);
        worker.run(&theirs);
        world.settled(&worker, &ours);
        world.settled(&worker, &theirs);
        [&ours, &theirs].map(|pipeline| worker.report(pipeline).totals.fuel)
    };
    let [alone, nothing] = fuel(&[]);
    let [beside, much] = fuel(&["800000"; 20]);
    assert_eq!((alone, nothing), (beside, 0));
    assert!(much > 10 * beside, "the neighbour spent {much}, which is not much beside {beside}");
}
