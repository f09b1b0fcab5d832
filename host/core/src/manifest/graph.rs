//! The graph of a manifest: names become indexes, stages are put in the order in which they run.
//!
//! Must never: return stages of which one feeds an earlier one.

use super::bound::shown;
use super::raw::{RawInput, RawOutput, RawStage};
use super::{Check, Feed, Index, InputSpec, ModuleRef, OutputSpec, StageSpec, Target};
use crate::code::Code;
use crate::limits;
use std::collections::BTreeSet;

/// Builds inputs and stages. `None` where something is so wrong that there is no graph; the reasons are in `check`.
pub(super) fn build(
    check: &mut Check,
    inputs: Vec<RawInput>,
    stages: Vec<RawStage>,
) -> Option<(Vec<InputSpec>, Vec<StageSpec<ModuleRef>>)> {
    check.unique("stages", stages.iter().map(|s| s.name.as_str()));
    check.unique("inputs", inputs.iter().map(|i| i.topic.as_str()));
    let first = stages.first()?.name.clone();
    let stages = in_running_order(check, stages)?;
    let index: Index = stages.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
    let specs: Vec<_> = stages.into_iter().map(|stage| build_stage(check, &index, stage)).collect();
    let inputs: Vec<_> = inputs.into_iter().map(|input| build_input(check, &index, &first, input)).collect();
    let mut specs = specs.into_iter().collect::<Option<Vec<_>>>()?;
    let inputs = inputs.into_iter().collect::<Option<Vec<_>>>()?;
    feed(check, &inputs, &mut specs);
    Some((inputs, specs))
}

fn targets(stage: &RawStage) -> impl Iterator<Item = &str> {
    stage.outputs.values().filter_map(|output| output.stage.as_deref())
}

/// Kahn's algorithm; of the stages that could come next, the one written first does.
fn in_running_order(check: &mut Check, mut waiting: Vec<RawStage>) -> Option<Vec<RawStage>> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let fed: BTreeSet<&str> = waiting.iter().flat_map(targets).collect();
        let Some(next) = waiting.iter().position(|stage| !fed.contains(stage.name.as_str())) else {
            let names: Vec<_> = waiting.iter().map(|s| format!("`{}`", shown(&s.name))).collect();
            check.error(
                Code::Cycle,
                "stages",
                format!("{} feed each other in a circle; remove one output", names.join(", ")),
            );
            return None;
        };
        ordered.push(waiting.remove(next));
    }
    Some(ordered)
}

fn build_stage(check: &mut Check, index: &Index, raw: RawStage) -> Option<StageSpec<ModuleRef>> {
    let at = format!("stages[{}]", shown(&raw.name));
    let name = check.name(format!("{at}.name"), &raw.name);
    let module = check.name(format!("{at}.module"), &raw.module);
    let limits = check.limits(&at, &raw.limits);
    let state = raw.state.as_ref().map(|state| check.state(&at, state));
    let tick_ms = check.tick_ms(&at, raw.tick_ms);
    let buckets = super::buckets::grants(check, &at, raw.buckets);
    let scratch = raw.scratch.as_ref().map(|scratch| check.scratch(&at, scratch));
    let secrets = super::entries::entries(check, &format!("{at}.secrets"), raw.secrets);
    let config_from = super::entries::entries(check, &format!("{at}.configFrom"), raw.config_from);
    let settings = raw.config.unwrap_or(serde_json::Value::Null).to_string();
    if settings.len() > limits::SETTINGS_BYTES_MAX {
        let detail =
            format!("has {} bytes as JSON; at most {} are allowed", settings.len(), limits::SETTINGS_BYTES_MAX);
        check.error(Code::LimitExceeded, format!("{at}.config"), detail);
    }
    if raw.outputs.len() > limits::PORTS_MAX {
        let detail = format!("has {} outputs; at most {} are allowed", raw.outputs.len(), limits::PORTS_MAX);
        check.error(Code::LimitExceeded, format!("{at}.outputs"), detail);
    }
    let outputs: Vec<_> =
        raw.outputs.into_iter().map(|(port, output)| build_output(check, index, &at, port, output)).collect();
    let outputs = outputs.into_iter().collect::<Option<Vec<_>>>()?;
    let (name, module, inputs, buckets) = (name?, module?, Vec::new(), buckets?);
    let (secrets, config_from) = (secrets?, config_from?);
    Some(StageSpec {
        name,
        module,
        settings,
        limits,
        inputs,
        outputs,
        state,
        tick_ms,
        buckets,
        scratch,
        secrets,
        config_from,
    })
}

fn build_output(check: &mut Check, index: &Index, stage: &str, port: String, raw: RawOutput) -> Option<OutputSpec> {
    let at = format!("{stage}.outputs.{}", shown(&port));
    let name = check.name(&at, &port);
    if raw.bucket.is_none()
        && (raw.prefix.is_some() || raw.format.is_some() || raw.columns.is_some() || raw.roll.is_some())
    {
        check.error(Code::FieldInvalid, &at, "`prefix`, `format`, `columns` and `roll` belong to a `bucket`");
    }
    let target = match (&raw.topic, &raw.stage, &raw.bucket) {
        (None, None, Some(_)) => super::buckets::output(check, &at, raw).map(|output| Target::Bucket(Box::new(output))),
        (Some(topic), None, None) => check.name(format!("{at}.topic"), topic).map(Target::Topic),
        (None, Some(stage), None) => match index.get(stage) {
            Some(to) => Some(Target::Stage(*to)),
            None => {
                check.error(
                    Code::OutputUndeclared,
                    format!("{at}.stage"),
                    format!("there is no stage `{}` in this pipeline", shown(stage)),
                );
                None
            }
        },
        _ => {
            check.error(Code::FieldInvalid, at, "name one of a `topic`, a `stage` or a `bucket`");
            None
        }
    };
    Some(OutputSpec { name: name?, target: target? })
}

fn build_input(check: &mut Check, index: &Index, first: &str, raw: RawInput) -> Option<InputSpec> {
    let at = format!("inputs[{}]", shown(&raw.topic));
    let topic = check.name(format!("{at}.topic"), &raw.topic);
    let start = check.start(format!("{at}.start"), raw.start);
    let names = raw.to.unwrap_or_else(|| vec![first.to_owned()]);
    if names.is_empty() {
        check.error(Code::FieldInvalid, format!("{at}.to"), "name at least one stage, or leave `to` out for the first");
    }
    let mut to = BTreeSet::new();
    for name in names {
        match index.get(&name) {
            Some(stage) => drop(to.insert(*stage)),
            None => check.error(
                Code::OutputUndeclared,
                format!("{at}.to"),
                format!("there is no stage `{}` in this pipeline", shown(&name)),
            ),
        }
    }
    Some(InputSpec { topic: topic?, start, to: to.into_iter().collect() })
}

/// Tells each stage what feeds it, and refuses a stage that nothing does.
fn feed(check: &mut Check, inputs: &[InputSpec], stages: &mut [StageSpec<ModuleRef>]) {
    for (i, input) in inputs.iter().enumerate() {
        for stage in &input.to {
            stages[*stage].inputs.push(Feed::Input(i));
        }
    }
    for from in 0..stages.len() {
        for output in 0..stages[from].outputs.len() {
            if let Target::Stage(to) = stages[from].outputs[output].target {
                stages[to].inputs.push(Feed::Output { stage: from, output });
            }
        }
    }
    for stage in stages.iter().filter(|stage| stage.inputs.is_empty()) {
        check.error(
            Code::FieldInvalid,
            format!("stages[{}]", stage.name),
            "nothing feeds this stage: name it in an input's `to` or an output's `stage`",
        );
    }
}
