//! Several workers on one pipeline, which come and go.

use crate::support::*;
use bulkhead_core::assignment::Phase;

/// One worker stays; the other comes and goes while records keep arriving.
#[test]
fn workers_that_come_and_go_lose_and_double_nothing() {
    let world = World::with_topics(6);
    let (stays, comes) = (world.worker("stays"), world.worker("comes"));
    let mut pipeline = simple("filter", "");
    pipeline.spec.batch.records = 7;
    stays.run(&pipeline);
    for round in 0..12 {
        world.append(ACME, "in", &numbers(6, 100 * round..100 * (round + 1)));
        if round % 2 == 0 {
            comes.run(&pipeline);
            until("it has its share", || {
                comes.report(&pipeline).partitions == 3 && stays.report(&pipeline).partitions == 3
            });
        } else {
            comes.stop(&pipeline);
        }
    }
    world.settled(&stays, &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
    assert!(stays.report(&pipeline).totals.records_in > 0);
}

/// Partitions move in the middle of batches that take long and of retries that wait.
#[test]
fn a_partition_moves_while_its_guest_runs() {
    let world = World::with_topics(4);
    let values = |i: u32| if i.is_multiple_of(5) { "3000000".to_owned() } else { i.to_string() };
    let records: Vec<_> = (0..400).map(|i| Record::new(i as i32 % 4, values(i))).collect();
    world.append(ACME, "in", &records);
    let workers = [world.worker("a"), world.worker("b"), world.worker("c")];
    let mut pipeline = simple("work", "");
    pipeline.spec.batch.records = 25;
    workers[0].run(&pipeline);
    for i in 0..9 {
        workers[(i + 1) % 3].run(&pipeline);
        until("it has a share", || workers[(i + 1) % 3].report(&pipeline).partitions > 0);
        workers[i % 3].stop(&pipeline);
    }
    world.settled(&workers[0], &pipeline);
    assert_eq!(world.values(ACME, "out"), world.values(ACME, "in"));
}

#[test]
fn a_worker_without_partitions_waits_without_complaint() {
    let world = World::with_topics(1);
    let (first, second) = (world.worker("a"), world.worker("b"));
    let pipeline = simple("passthrough", "");
    first.run(&pipeline);
    until("the first has the partition", || first.report(&pipeline).partitions == 1);
    second.run(&pipeline);
    until("the second runs", || second.report(&pipeline).phase == Phase::Running);
    world.append(ACME, "in", &texts(["a"]));
    world.settled(&first, &pipeline);
    first.stop(&pipeline);
    until("the second took over", || second.report(&pipeline).partitions == 1);
    world.append(ACME, "in", &texts(["b"]));
    world.settled(&second, &pipeline);
    assert_eq!(world.first(ACME, "out"), ["a", "b"]);
}
