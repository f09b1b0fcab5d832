//! What is deleted with a pipeline and with a tenant, and what stays.

use super::*;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::scope::OutputPath;
use bulkhead_log::embedded::EmbeddedLog;
use bulkhead_log::{ReaderInput, ReaderSpec};
use std::collections::BTreeSet;

fn made<'a>(project: &'a ProjectId, pipeline: &'a PipelineName, incarnation: &'a str) -> PipelinePath<'a> {
    PipelinePath { project, pipeline, incarnation }
}

#[test]
fn the_outputs_of_one_making_of_one_pipeline_go_when_their_sinks_have_left() {
    let folder = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(folder.path()).unwrap();
    let [acme, other] = ["acme", "acme-2"].map(|name| TenantScope::assume(name.parse().unwrap()));
    let (project, nested, pipeline): (ProjectId, ProjectId, PipelineName) =
        ("default".parse().unwrap(), "default.eu".parse().unwrap(), "p".parse().unwrap());
    let (stage, output) = ("s".parse().unwrap(), "out".parse().unwrap());
    let spec = TopicSpec { partitions: 1, max_record_bytes: None, replicas: None, keep: Keep::UntilDeleted };
    let make = |scope: &TenantScope, pipeline| {
        let path = OutputPath { pipeline, stage: &stage, output: &output };
        let topics = [scope.rows_topic(&path, &[]), scope.manifests_topic(&path)];
        topics.iter().for_each(|topic| log.create_topic(topic, &spec).unwrap());
        (topics, scope.sink_group(&path))
    };
    let gone = made(&project, &pipeline, "1");
    let (topics, group) = make(&acme, gone);
    let mut stay = Vec::new();
    for (scope, path) in [
        (&acme, made(&project, &pipeline, "2")),
        (&acme, made(&nested, &pipeline, "1")),
        (&other, made(&project, &pipeline, "1")),
    ] {
        stay.extend(make(scope, path).0);
    }
    let declared = acme.topic(&"rows".parse().unwrap());
    log.create_topic(&declared, &spec).unwrap();
    let there = |topic: &_| log.describe(topic).unwrap().is_some();

    let input = |topic: &bulkhead_core::scope::PhysicalTopic| ReaderInput {
        topic: topic.clone(),
        start: Start::Earliest,
        initialised: BTreeSet::new(),
    };
    let inputs = topics.iter().map(input).collect();
    let spec = ReaderSpec { group: group.clone(), inputs, batch: BatchLimits::default(), queue_bytes: 1 << 20 };
    let mut sink = log.reader(spec).unwrap();
    sink.poll(Duration::from_secs(10)).unwrap();
    let prefixes = acme.output_topic_prefixes(&gone);
    assert_eq!(forget_topics(&log, &acme, &prefixes).unwrap_err().code, Code::Conflict);
    assert!(topics.iter().all(there), "its sink still reads them");
    sink.close();
    for _ in 0..2 {
        forget_topics(&log, &acme, &prefixes).unwrap();
        assert!(!topics.iter().any(there) && stay.iter().all(there) && there(&declared));
    }

    // With the tenant go those of all its pipelines, and nobody else's.
    forget_topics(&log, &acme, &acme.hidden_topic_prefixes()).unwrap();
    let left: Vec<_> = stay.iter().filter(|topic| there(topic)).collect();
    assert_eq!(left, stay[4..].iter().collect::<Vec<_>>());
    assert!(there(&declared));
}
