//! Pipeline manifests: from YAML or JSON to a type whose values are known to make sense.
//!
//! Two steps: `raw` is the manifest as written; [`parse`] turns it into a [`PipelineSpec`], reporting all that is wrong at once.
//! Whether modules and topics exist is for the caller, who has them; [`PipelineSpec::resolve`] and
//! [`PipelineSpec::topics`] are made for that.
//! Must never: give a [`PipelineSpec`] with a cycle, a dangling edge or a limit above its maximum.

mod bound;
mod buckets;
mod entries;
mod graph;
mod raw;
mod start;
#[cfg(test)]
mod tests;

use crate::bucket::{BucketGrant, BucketOutput};
use crate::code::Code;
use crate::limits::{self, BatchLimits, StageLimits};
use crate::name::{EntryName, ModuleDigest, ModuleName, PipelineName, PortName, StageName, TopicName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub use start::StartError;

/// The only `apiVersion` there is.
pub const API_VERSION: &str = "bulkhead/v1";

/// A pipeline, checked. `M` is how stages name their module: [`ModuleRef`] as written, [`ModuleDigest`] once resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineSpec<M = ModuleDigest> {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The topics it reads, in the order written. At least one.
    pub inputs: Vec<InputSpec>,
    /// Its stages, each before those that it feeds. At least one.
    pub stages: Vec<StageSpec<M>>,
    /// Where records go that a stage could not handle.
    pub dead_letter: TopicName,
    /// Whether they are sealed under the tenant's key where the log does not seal what it keeps. A manifest's default is that they are; of
    /// a pipeline that was applied before there was this choice, they stay as its readers know them until it is applied again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead_letter_sealed: bool,
    /// How records are grouped.
    pub batch: BatchLimits,
}

/// A topic that a pipeline reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// The topic.
    pub topic: TopicName,
    /// Where to begin where the pipeline has no committed position yet.
    pub start: Start,
    /// Indexes of the stages that get its records.
    pub to: Vec<usize>,
}

/// Where a pipeline begins at its first start. A manifest's default is `earliest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// The oldest record kept.
    Earliest,
    /// Only what is written after the start.
    Latest,
    /// This offset in each partition, or the nearest one kept.
    Offset(i64),
    /// The first record at or after this time, in milliseconds since the epoch; the end where there is none.
    TimeMs(i64),
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSpec<M = ModuleDigest> {
    /// Its name in the pipeline.
    pub name: StageName,
    /// Its code.
    pub module: M,
    /// The manifest's `config`, as JSON text; `null` where it has none.
    pub settings: String,
    /// What it may use.
    pub limits: StageLimits,
    /// What feeds it, in the order of the `topic` index that it sees: topics first, then other stages' outputs.
    pub inputs: Vec<Feed>,
    /// Its outputs, in the order of the `to` index that it returns: by name.
    pub outputs: Vec<OutputSpec>,
    /// The grant of a store of its own keys and values; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSpec>,
    /// Milliseconds between two ticks; `None` is [`limits::TICK_MS`]. Control refuses it for a module that does not tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_ms: Option<u64>,
    /// The parts of buckets that it may reach by itself, in the order of the names under which it opens them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketGrant>,
    /// The grant of a folder of its own; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSpec>,
    /// The secrets that it may read, in the order of its own names for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<EntryGrant>,
    /// The config entries that are added to `settings`. Empty once they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_from: Vec<EntryGrant>,
}

/// A secret or config entry of the project, or of one around it, that a stage is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryGrant {
    /// The stage's name for it.
    pub name: EntryName,
    /// The project's.
    pub entry: EntryName,
}

/// The grant of a stage's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSpec {
    /// Bytes at most in each source partition, counted as [`limits::STATE_ENTRY_BYTES`] says.
    pub max_bytes: u64,
}

/// The grant of a stage's scratch files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScratchSpec {
    /// Bytes at most in each instance's folder, counted as [`limits::SCRATCH_ENTRY_BYTES`] says.
    pub max_bytes: u64,
}

/// What feeds a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Feed {
    /// The pipeline's input with this index.
    Input(usize),
    /// An output of another stage: indexes of both.
    Output {
        /// Index of the stage.
        stage: usize,
        /// Index of its output.
        output: usize,
    },
}

/// One of a stage's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Its name.
    pub name: PortName,
    /// Where it leads.
    pub target: Target,
}

/// Where an output leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A topic.
    Topic(TopicName),
    /// Another stage, by index; always a later one.
    Stage(usize),
    /// Objects in a bucket, each row in exactly one.
    Bucket(Box<BucketOutput>),
}

/// How a manifest names a module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModuleRef {
    /// These very bytes.
    Digest(ModuleDigest),
    /// What the tag points at when the manifest is applied.
    Tag(ModuleName, ModuleName),
}

impl FromStr for ModuleRef {
    type Err = crate::name::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("sha256:") {
            return text.parse().map(ModuleRef::Digest);
        }
        let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
        Ok(ModuleRef::Tag(name.parse()?, tag.parse()?))
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModuleRef::Digest(digest) => digest.fmt(f),
            ModuleRef::Tag(name, tag) => write!(f, "{name}:{tag}"),
        }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestError {
    /// The page that explains it.
    pub code: Code,
    /// Where, for instance `stages[1].limits.memoryBytes`.
    pub field: String,
    /// What to do, in a sentence.
    pub detail: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.field, self.detail)
    }
}

impl<M> PipelineSpec<M> {
    /// The secrets that its stages are granted, by the project's name for them.
    pub fn secrets(&self) -> BTreeSet<&EntryName> {
        self.stages.iter().flat_map(|stage| &stage.secrets).map(|grant| &grant.entry).collect()
    }

    /// The config entries that its stages take, by the project's name for them. None once they were added to the settings.
    pub fn config_entries(&self) -> BTreeSet<&EntryName> {
        self.stages.iter().flat_map(|stage| &stage.config_from).map(|grant| &grant.entry).collect()
    }

    /// Adds the config entries that stages take to their settings, under what the stage's own `config` says: `find` gives an entry's value.
    ///
    /// # Errors
    /// One for each entry that `find` does not know, and for each stage whose settings cannot take them.
    pub fn merge_config(
        &mut self,
        mut find: impl FnMut(&EntryName) -> Option<serde_json::Value>,
    ) -> Vec<ManifestError> {
        let mut errors = Vec::new();
        self.stages.iter_mut().for_each(|stage| stage.merge_config(&mut find, &mut errors));
        errors
    }

    /// One error for each secret that a stage is granted and `is_there` does not know.
    pub fn missing_secrets(&self, is_there: impl Fn(&EntryName) -> bool) -> Vec<ManifestError> {
        let granted = self.stages.iter().flat_map(|stage| stage.secrets.iter().map(move |grant| (stage, grant)));
        let missing = granted.filter(|(_, grant)| !is_there(&grant.entry)).map(|(stage, grant)| ManifestError {
            code: Code::SecretMissing,
            field: format!("stages[{}].secrets.{}", stage.name, grant.name),
            detail: format!(
                "neither this project nor one around it has a secret `{}`; set it with `bulkhead secret set {0} --from-file FILE`",
                grant.entry
            ),
        });
        missing.collect()
    }

    /// Whether any of what it leaves in the log is to be sealed.
    pub fn seals(&self) -> bool {
        self.dead_letter_sealed || self.has_state()
    }

    /// Whether any stage is granted state.
    pub fn has_state(&self) -> bool {
        self.stages.iter().any(|stage| stage.state.is_some())
    }

    /// Every topic that the manifest names, with the field that names it: inputs, outputs and the dead-letter topic.
    pub fn topics(&self) -> Vec<(String, &TopicName)> {
        let mut topics: Vec<_> =
            self.inputs.iter().enumerate().map(|(i, input)| (format!("inputs[{i}].topic"), &input.topic)).collect();
        for stage in &self.stages {
            for output in &stage.outputs {
                if let Target::Topic(topic) = &output.target {
                    topics.push((format!("stages[{}].outputs.{}.topic", stage.name, output.name), topic));
                }
            }
        }
        topics.push(("deadLetter.topic".to_owned(), &self.dead_letter));
        topics
    }
}

impl StageSpec<ModuleRef> {
    fn with_module(self, module: ModuleDigest) -> StageSpec {
        let Self {
            name,
            module: _,
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
        } = self;
        StageSpec {
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
        }
    }
}

impl PipelineSpec<ModuleRef> {
    /// Replaces every module name by the digest that `find` gives.
    ///
    /// # Errors
    /// One error for each stage whose module `find` does not know.
    pub fn resolve(
        self,
        mut find: impl FnMut(&ModuleRef) -> Option<ModuleDigest>,
    ) -> Result<PipelineSpec, Vec<ManifestError>> {
        let mut errors = Vec::new();
        let mut stages = Vec::new();
        for stage in self.stages {
            let Some(module) = find(&stage.module) else {
                errors.push(ManifestError {
                    code: Code::ModuleMissing,
                    field: format!("stages[{}].module", stage.name),
                    detail: format!("there is no module `{}` in this project; upload it first", stage.module),
                });
                continue;
            };
            stages.push(stage.with_module(module));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let PipelineSpec { name, inputs, dead_letter, dead_letter_sealed, batch, .. } = self;
        Ok(PipelineSpec { name, inputs, stages, dead_letter, dead_letter_sealed, batch })
    }
}

/// Reads a manifest, in YAML or JSON (which is YAML).
///
/// # Errors
/// What is wrong with it, at least one and at most [`limits::MANIFEST_ERRORS_MAX`].
pub fn parse(text: &str) -> Result<PipelineSpec<ModuleRef>, Vec<ManifestError>> {
    let mut check = Check::default();
    if text.len() as u64 > limits::MANIFEST_BYTES_MAX {
        let detail = format!("a manifest has at most {} bytes", limits::MANIFEST_BYTES_MAX);
        check.error(Code::LimitExceeded, "(all)", detail);
        return Err(check.errors);
    }
    let raw = match bound::measure(text) {
        Ok(()) => serde_yaml_ng::from_str(text).map_err(bound::Unread::Broken),
        Err(unread) => Err(unread),
    };
    let spec = match raw {
        Ok(raw) => check.pipeline(raw),
        Err(unread) => {
            check.unread(&unread);
            None
        }
    };
    match spec {
        Some(spec) if check.errors.is_empty() => Ok(spec),
        _ => Err(check.errors),
    }
}

/// Collects everything that is wrong, so that a person need not apply a manifest ten times.
#[derive(Default)]
struct Check {
    errors: Vec<ManifestError>,
}

impl Check {
    fn error(&mut self, code: Code, field: impl AsRef<str>, detail: impl AsRef<str>) {
        if self.errors.len() < limits::MANIFEST_ERRORS_MAX {
            let (field, detail) = (bound::sentence(field.as_ref()), bound::sentence(detail.as_ref()));
            self.errors.push(ManifestError { code, field, detail });
        }
    }

    fn unread(&mut self, unread: &bound::Unread) {
        let error = match unread {
            bound::Unread::Broken(error) => error,
            bound::Unread::TooMuch => {
                let max = limits::MANIFEST_EXPANDED_BYTES_MAX;
                let detail = format!("its aliases (`*name`) make it more than {max} bytes; write less of it by alias");
                return self.error(Code::LimitExceeded, "(all)", detail);
            }
        };
        let detail = error.to_string();
        let code = if detail.contains("unknown field") { Code::UnknownField } else { Code::ManifestSyntax };
        let at = error.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        self.error(code, at.as_deref().unwrap_or("(all)"), detail);
    }

    fn name<T: FromStr<Err = crate::name::NameError>>(&mut self, field: impl AsRef<str>, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.error(Code::FieldInvalid, field, error.to_string())).ok()
    }

    /// A number with a default, at least one and at most `max`.
    fn limit<T: Copy + PartialOrd + From<u8> + fmt::Display>(
        &mut self,
        field: String,
        given: Option<T>,
        or: T,
        max: T,
    ) -> T {
        let value = given.unwrap_or(or);
        if value > max || value < T::from(1) {
            self.error(Code::LimitExceeded, field, format!("{value} is outside 1 to {max}"));
        }
        value
    }

    fn pipeline(&mut self, raw: raw::RawPipeline) -> Option<PipelineSpec<ModuleRef>> {
        if raw.api_version != API_VERSION {
            self.error(Code::FieldInvalid, "apiVersion", format!("must be `{API_VERSION}`"));
        }
        if raw.kind != "Pipeline" {
            self.error(Code::FieldInvalid, "kind", "must be `Pipeline`");
        }
        for (field, count, max) in
            [("inputs", raw.inputs.len(), limits::PORTS_MAX), ("stages", raw.stages.len(), limits::STAGES_MAX)]
        {
            if count == 0 || count > max {
                self.error(Code::LimitExceeded, field, format!("has {count} entries; must have 1 to {max}"));
            }
        }
        // What orders them takes time that rises faster than their number.
        if !self.errors.is_empty() && raw.stages.len() > limits::STAGES_MAX {
            return None;
        }
        let name = self.name("name", &raw.name);
        let dead_letter = self.name("deadLetter.topic", &raw.dead_letter.topic);
        let max = BatchLimits::MAX;
        let or = BatchLimits::default();
        let batch = BatchLimits {
            records: self.limit("batch.records".into(), raw.batch.records, or.records, max.records),
            bytes: self.limit("batch.bytes".into(), raw.batch.bytes, or.bytes, max.bytes),
            linger_ms: self.limit("batch.lingerMs".into(), raw.batch.linger_ms, or.linger_ms, max.linger_ms),
        };
        let (inputs, stages) = graph::build(self, raw.inputs, raw.stages)?;
        let dead_letter_sealed = raw.dead_letter.sealed.unwrap_or(true);
        Some(PipelineSpec { name: name?, inputs, stages, dead_letter: dead_letter?, dead_letter_sealed, batch })
    }

    fn start(&mut self, field: String, raw: Option<raw::RawStart>) -> Start {
        use raw::{RawStart, RawStartAt, RawStartWord};
        let found = match raw {
            None | Some(RawStart::Word(RawStartWord::Earliest)) => Ok(Start::Earliest),
            Some(RawStart::Word(RawStartWord::Latest)) => Ok(Start::Latest),
            Some(RawStart::At(RawStartAt { offset: Some(offset), time: None })) if offset >= 0 => {
                Ok(Start::Offset(offset))
            }
            Some(RawStart::At(RawStartAt { offset: Some(_), time: None })) => Err("an offset is 0 or more"),
            Some(RawStart::At(RawStartAt { offset: None, time: Some(text) })) => {
                crate::time::parse_rfc3339_ms(&text).map(Start::TimeMs).ok_or("write a time like 2026-01-31T12:00:00Z")
            }
            Some(RawStart::At(_)) => Err("name either an `offset` or a `time`"),
        };
        found.unwrap_or_else(|detail| {
            self.error(Code::FieldInvalid, field, detail);
            Start::Earliest
        })
    }

    fn limits(&mut self, at: &str, raw: &raw::RawLimits) -> StageLimits {
        let (or, max) = (StageLimits::default(), StageLimits::MAX);
        let field = |name: &str| format!("{at}.limits.{name}");
        StageLimits {
            fuel_per_record: self.limit(
                field("fuelPerRecord"),
                raw.fuel_per_record,
                or.fuel_per_record,
                max.fuel_per_record,
            ),
            memory_bytes: self.limit(field("memoryBytes"), raw.memory_bytes, or.memory_bytes, max.memory_bytes),
            deadline_ms: self.limit(field("deadlineMs"), raw.deadline_ms, or.deadline_ms, max.deadline_ms),
            output_bytes: self.limit(field("outputBytes"), raw.output_bytes, or.output_bytes, max.output_bytes),
            output_records: self.limit(
                field("outputRecords"),
                raw.output_records,
                or.output_records,
                max.output_records,
            ),
            retries: match raw.retries {
                Some(retries) if retries > max.retries => {
                    self.error(Code::LimitExceeded, field("retries"), format!("{retries} is above {}", max.retries));
                    retries
                }
                given => given.unwrap_or(or.retries),
            },
        }
    }

    fn state(&mut self, at: &str, raw: &raw::RawState) -> StateSpec {
        let (field, max) = (format!("{at}.state.maxBytes"), limits::STATE_BYTES_MAX);
        StateSpec { max_bytes: self.limit(field, raw.max_bytes, limits::STATE_BYTES, max) }
    }

    fn scratch(&mut self, at: &str, raw: &raw::RawScratch) -> ScratchSpec {
        let max_bytes = raw.max_bytes.unwrap_or(limits::SCRATCH_BYTES);
        let allowed = limits::SCRATCH_BYTES_MIN..=limits::SCRATCH_BYTES_MAX;
        if !allowed.contains(&max_bytes) {
            let detail = format!("{max_bytes} is outside {} to {}", allowed.start(), allowed.end());
            self.error(Code::LimitExceeded, format!("{at}.scratch.maxBytes"), detail);
        }
        ScratchSpec { max_bytes }
    }

    fn tick_ms(&mut self, at: &str, given: Option<u64>) -> Option<u64> {
        let allowed = limits::TICK_MS_MIN..=limits::TICK_MS_MAX;
        if let Some(ms) = given.filter(|ms| !allowed.contains(ms)) {
            let detail = format!("{ms} is outside {} to {}", limits::TICK_MS_MIN, limits::TICK_MS_MAX);
            self.error(Code::LimitExceeded, format!("{at}.tickMs"), detail);
        }
        given
    }

    /// Says which names stand twice.
    fn unique<'a>(&mut self, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.error(Code::FieldInvalid, what, format!("`{}` stands twice", bound::shown(name)));
            }
        }
    }
}

/// Index of each stage by name.
type Index = BTreeMap<String, usize>;
