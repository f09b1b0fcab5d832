//! What differs between two pipelines, as paths that read like the manifest's.
//!
//! Compared is what runs, defaults and resolved digests included, not the text: a comment is no change, and a tag that moved is one.
//! Fields are taken as they are serialised, so one that is new in a manifest shows here without more.
//! Must never: call two pipelines equal that run differently.

use crate::problem::Problem;
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::time::format_rfc3339_ms;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Change {
    /// Where, for instance `stages.first.limits.retries`.
    pub(crate) path: String,
    /// What it was; null where it was not there.
    pub(crate) from: Value,
    /// What it is; null where it is gone.
    pub(crate) to: Value,
}

/// What differs; all of it where there is no `from`.
pub(crate) fn changes(from: Option<&PipelineSpec>, to: &PipelineSpec) -> Result<Vec<Change>, Problem> {
    let from = from.map_or(Ok(Value::Object(Map::new())), readable)?;
    let mut found = Vec::new();
    compare("", &from, &readable(to)?, &mut found);
    Ok(found)
}

fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<Change>) {
    let (Value::Object(before), Value::Object(after)) = (from, to) else {
        if from != to {
            found.push(Change { path: path.to_owned(), from: from.clone(), to: to.clone() });
        }
        return;
    };
    for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
        let (was, is) = (before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null));
        compare(&join(path, key), was, is, found);
    }
}

/// `a.b`, or `a["b.c"]` where the name could be taken for two.
fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match (plain, path) {
        (true, "") => key.to_owned(),
        (true, path) => format!("{path}.{key}"),
        (false, path) => format!("{path}[{}]", Value::from(key)),
    }
}

/// The pipeline with names in place of indexes, in a manifest's words.
fn readable(spec: &PipelineSpec) -> Result<Value, Problem> {
    let mut value = serde_json::to_value(spec).map_err(Problem::internal)?;
    camel(&mut value);
    let stages: Vec<String> = spec.stages.iter().map(|stage| stage.name.to_string()).collect();
    if let Value::Object(pipeline) = &mut value {
        by_key(pipeline, "inputs", "topic", |input| {
            if let Some(Value::Array(to)) = input.get_mut("to") {
                to.iter_mut().for_each(|stage| named(stage, &stages));
            }
            if let Some(ms) = input.get("start").and_then(|start| start.get("timeMs")).and_then(Value::as_i64) {
                input.insert("start".to_owned(), serde_json::json!({"time": format_rfc3339_ms(ms)}));
            }
        });
        by_key(pipeline, "stages", "name", |stage| {
            // What feeds a stage is said by what feeds it.
            stage.remove("inputs");
            if let Some(Value::String(settings)) = stage.remove("settings") {
                stage.insert("config".to_owned(), serde_json::from_str(&settings).unwrap_or(Value::String(settings)));
            }
            by_key(stage, "buckets", "name", |_| {});
            by_key(stage, "outputs", "name", |output| {
                if let Some(Value::Object(mut target)) = output.remove("target") {
                    if let Some(stage) = target.get_mut("stage") {
                        named(stage, &stages);
                    }
                    output.append(&mut target);
                }
            });
        });
    }
    Ok(value)
}

fn named(stage: &mut Value, stages: &[String]) {
    if let Some(name) = stage.as_u64().and_then(|index| stages.get(usize::try_from(index).ok()?)) {
        *stage = Value::String(name.clone());
    }
}

/// Makes a list of things that have a name a map by that name.
fn by_key(of: &mut Map<String, Value>, field: &str, key: &str, mut each: impl FnMut(&mut Map<String, Value>)) {
    let Some(Value::Array(items)) = of.get_mut(field) else { return };
    let mut map = Map::new();
    for mut item in std::mem::take(items) {
        let Value::Object(fields) = &mut item else { continue };
        each(fields);
        if let Some(Value::String(name)) = fields.remove(key) {
            map.insert(name, item);
        }
    }
    of.insert(field.to_owned(), Value::Object(map));
}

/// Field names as manifests write them. A stage's settings are still one text here, so no name of a tenant's is touched.
fn camel(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(name, mut value)| {
                    camel(&mut value);
                    (camel_name(&name), value)
                })
                .collect();
        }
        Value::Array(items) => items.iter_mut().for_each(camel),
        _ => {}
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
