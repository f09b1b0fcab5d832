//! Manifests: any text becomes a pipeline that runs, or a bounded number of sentences.
//!
//! Must never: look at how a manifest is written; only at what the host goes on with.

use bulkhead_core::limits::{
    BUCKET_GRANTS_MAX, BatchLimits, MANIFEST_ERRORS_MAX, PORTS_MAX, SETTINGS_BYTES_MAX, STAGE_ENTRIES_MAX, STAGES_MAX,
    StageLimits,
};
use bulkhead_core::manifest::{Feed, ManifestError, ModuleRef, PipelineSpec, StageSpec, Target, parse};
use bulkhead_core::name::ModuleDigest;

/// Bytes of all that is said of one manifest, at most: an answer of the API.
const ANSWER_BYTES_MAX: usize = 512 << 10;

/// See the module's documentation.
pub fn run(data: &[u8]) {
    match parse(&String::from_utf8_lossy(data)) {
        Ok(spec) => goes_on(spec),
        Err(errors) => is_told(&errors),
    }
}

fn is_told(errors: &[ManifestError]) {
    assert!((1..=MANIFEST_ERRORS_MAX).contains(&errors.len()), "{} mistakes", errors.len());
    let mut bytes = 0;
    for ManifestError { field, detail, .. } in errors {
        assert!(!field.is_empty() && !detail.is_empty());
        assert!(!field.contains(char::is_control) && !detail.contains(char::is_control), "{field}: {detail:?}");
        bytes += field.len() + detail.len();
    }
    assert!(bytes <= ANSWER_BYTES_MAX, "{bytes} bytes of mistakes");
}

fn goes_on(spec: PipelineSpec<ModuleRef>) {
    assert!((1..=STAGES_MAX).contains(&spec.stages.len()) && (1..=PORTS_MAX).contains(&spec.inputs.len()));
    let batch = &spec.batch;
    assert!(batch.records >= 1 && batch.records <= BatchLimits::MAX.records);
    assert!(batch.bytes >= 1 && batch.bytes <= BatchLimits::MAX.bytes && batch.linger_ms <= BatchLimits::MAX.linger_ms);
    for input in &spec.inputs {
        assert!(!input.to.is_empty() && input.to.iter().all(|to| *to < spec.stages.len()));
    }
    for (i, stage) in spec.stages.iter().enumerate() {
        runs(i, stage, &spec);
    }
    assert!(spec.topics().len() > spec.inputs.len(), "the dead letters' topic is one of them");
    spec.missing_secrets(|_| false);

    let mut resolved = spec.resolve(|name| Some(ModuleDigest::of(name.to_string().as_bytes()))).expect("all are there");
    let kept = serde_json::to_string(&resolved).expect("a specification is JSON");
    assert_eq!(serde_json::from_str::<PipelineSpec>(&kept).expect("it is read again"), resolved);
    let errors = resolved.merge_config(|name| (name.as_str().len() % 2 == 0).then(|| name.as_str().into()));
    if !errors.is_empty() {
        is_told(&errors);
    }
}

fn runs(i: usize, stage: &StageSpec<ModuleRef>, spec: &PipelineSpec<ModuleRef>) {
    let (limits, max) = (&stage.limits, StageLimits::MAX);
    assert!(limits.fuel_per_record >= 1 && limits.fuel_per_record <= max.fuel_per_record);
    assert!(limits.memory_bytes >= 1 && limits.memory_bytes <= max.memory_bytes);
    assert!(limits.deadline_ms >= 1 && limits.deadline_ms <= max.deadline_ms);
    assert!(limits.output_bytes <= max.output_bytes && limits.output_records <= max.output_records);
    assert!(limits.retries <= max.retries);
    assert!(stage.settings.len() <= SETTINGS_BYTES_MAX && stage.outputs.len() <= PORTS_MAX);
    assert!(stage.buckets.len() <= BUCKET_GRANTS_MAX);
    assert!(stage.secrets.len() <= STAGE_ENTRIES_MAX && stage.config_from.len() <= STAGE_ENTRIES_MAX);
    serde_json::from_str::<serde_json::Value>(&stage.settings).expect("settings are JSON");
    for output in &stage.outputs {
        if let Target::Stage(to) = output.target {
            assert!(to > i && to < spec.stages.len(), "a stage feeds a later one");
        }
    }
    assert!(!stage.inputs.is_empty(), "a stage is fed");
    for feed in &stage.inputs {
        match *feed {
            Feed::Input(input) => assert!(spec.inputs[input].to.contains(&i)),
            Feed::Output { stage, output } => assert_eq!(spec.stages[stage].outputs[output].target, Target::Stage(i)),
        }
    }
}
