//! Stages that reach buckets by themselves: below their grants, in their tenant's own place, at least once.

use crate::support::*;
use bulkhead_core::assignment::PipelineAssignment;
use std::os::unix::fs::symlink;

/// A pipeline of a tenant whose stage may do all below `2013/` of the bucket `flights`, and look at all of it.
fn reaching(tenant: &str) -> PipelineAssignment {
    let text = "
apiVersion: bulkhead/v1
kind: Pipeline
name: p
inputs: [{topic: in}]
stages:
  - name: only
    module: bucketed
    buckets:
      all: {bucket: flights, prefix: 2013/, access: readWrite}
      look: {bucket: flights, access: read}
    outputs: {out: {topic: out}}
    tickMs: 3600000
deadLetter: {topic: dead}
";
    pipeline(tenant, text)
}

/// Runs these commands in order and gives what they came to.
fn told(world: &World, tenant: &str, commands: &[&str]) -> Vec<String> {
    let before = world.first(tenant, "out").len();
    world.append(tenant, "in", &texts(commands.iter().copied()));
    let pipeline = reaching(tenant);
    let worker = world.worker("w");
    worker.run(&pipeline);
    world.settled(&worker, &pipeline);
    world.first(tenant, "out").split_off(before)
}

#[test]
fn objects_are_read_and_written_below_the_grant() {
    let world = World::with_topics(1);
    let root = world.folder.path().join("buckets/acme/flights");
    std::fs::create_dir_all(root.join("2014")).unwrap();
    std::fs::write(root.join("2014/beside"), "beside").unwrap();
    let commands = [
        ("put|all|a/x|hello", "5"),
        ("get|all|a/x|1|2", "el"),
        ("list|all|||9", "a/x:5"),
        ("list|look|||9", "2013/a/x:5 2014/beside:6"),
        ("absent|all|a/x|again", "!condition"),
        ("upload|all|big|9|1048576", "9437184"),
        ("drop|all|never", "dropped"),
        ("info|look|2013/big", "9437184"),
        ("match|all|none|etag|x", "!condition"),
        ("delete|all|a/x", "deleted"),
        ("info|all|a/x", "!missing"),
        ("put|all|big/under|x", "!key: the bucket cannot hold this key beside those that it has"),
    ];
    let (given, expected): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    assert_eq!(told(&world, ACME, &given), expected);
    assert_eq!(std::fs::read_dir(root.join("2013")).unwrap().count(), 2, "the folder `a` and the object");
    assert_eq!(std::fs::read_dir(world.folder.path().join("buckets/_bulkhead.writing")).unwrap().count(), 0);
    assert_eq!(world.dead(), []);
}

#[test]
fn no_grant_and_no_key_reaches_another_tenant_not_even_by_a_link() {
    let world = World::with_topics(1);
    world.topics("globex", 1);
    assert_eq!(told(&world, "globex", &["put|all|secret|globex"]), ["6"]);
    let root = world.folder.path().join("buckets");
    assert_eq!(told(&world, ACME, &["put|all|own|acme!"]), ["5"]);
    symlink("../../../globex/flights/2013", root.join("acme/flights/2013/neighbour")).unwrap();
    symlink("../../../globex/flights/2013/secret", root.join("acme/flights/2013/file")).unwrap();
    let keys = [
        "../../../globex/flights/2013/secret",
        "../../globex/flights/2013/secret",
        "/globex/flights/2013/secret",
        "neighbour/secret",
        "file",
    ];
    for key in keys {
        let commands = ["get|all|K|0|9", "info|all|K", "list|all||K|9"].map(|command| command.replace('K', key));
        for told in told(&world, ACME, &commands.each_ref().map(String::as_str)) {
            assert!(told.starts_with("!key") || told == "own:5", "{key}: {told}");
        }
    }
    // A link in one's own folder is one's own to remove and to write over; what lies behind it is not.
    for key in &keys[..4] {
        for command in ["delete|all|K", "upload|all|K|1|4"] {
            let told = told(&world, ACME, &[&command.replace('K', key)]);
            assert!(told[0].starts_with("!key"), "{command} of {key}: {told:?}");
        }
    }
    assert_eq!(told(&world, ACME, &["put|all|neighbour/new|x"])[0].split(':').next(), Some("!key"));
    assert_eq!(
        told(&world, ACME, &["put|all|file|mine", "get|all|file|0|9", "list|all|||9"]),
        ["4", "mine", "file:4 own:5"]
    );
    let theirs = root.join("globex/flights/2013");
    assert_eq!(std::fs::read_to_string(theirs.join("secret")).unwrap(), "globex");
    assert_eq!(std::fs::read_dir(theirs).unwrap().count(), 1);
    assert_eq!(world.dead(), []);
}

#[test]
fn a_record_that_does_what_it_may_not_is_a_dead_letter_that_says_so() {
    let world = World::with_topics(1);
    let commands =
        ["put|all|a|1", "put|look|2013/a|2", "info|other|a", "fill|all|b|8388609", "trap|all|c|written", "info|all|a"];
    assert_eq!(told(&world, ACME, &commands), ["1", "1"]);
    let dead = world.dead();
    let codes: Vec<_> = dead.iter().map(|letter| letter.evidence("code")).collect();
    assert_eq!(codes, ["BH0323", "BH0323", "BH0324", "BH0301"]);
    assert!(dead[0].evidence("reason").contains("`look` is not granted to write"), "{}", dead[0].evidence("reason"));
    let folder = world.folder.path().join("buckets/acme/flights/2013");
    assert_eq!(std::fs::read_to_string(folder.join("a")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(folder.join("c")).unwrap(), "written", "a direct write is not taken back");
}
