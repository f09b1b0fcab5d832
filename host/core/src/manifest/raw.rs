//! A manifest as written: only its form is checked here, and unknown fields are refused.
//!
//! Must never: be used for anything but [`super::parse`], or hold a default that the typed form does not name.

use crate::bucket::{Access, ColumnType, Format};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPipeline {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) inputs: Vec<RawInput>,
    pub(super) stages: Vec<RawStage>,
    pub(super) dead_letter: RawDeadLetter,
    #[serde(default)]
    pub(super) batch: RawBatch,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawDeadLetter {
    pub(super) topic: String,
    pub(super) sealed: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawInput {
    pub(super) topic: String,
    pub(super) to: Option<Vec<String>>,
    pub(super) start: Option<RawStart>,
}

/// `earliest`, `latest`, `{offset: 5}` or `{time: 2026-01-31T12:00:00Z}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawStart {
    Word(RawStartWord),
    At(RawStartAt),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum RawStartWord {
    Earliest,
    Latest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawStartAt {
    pub(super) offset: Option<i64>,
    pub(super) time: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawStage {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) config: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) config_from: RawEntries,
    #[serde(default)]
    pub(super) secrets: RawEntries,
    #[serde(default)]
    pub(super) outputs: BTreeMap<String, RawOutput>,
    #[serde(default)]
    pub(super) limits: RawLimits,
    pub(super) state: Option<RawState>,
    pub(super) tick_ms: Option<u64>,
    #[serde(default)]
    pub(super) buckets: BTreeMap<String, RawBucketGrant>,
    pub(super) scratch: Option<RawScratch>,
}

/// `[db-password]`, or `{password: db-password}` where the stage knows it under another name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawEntries {
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

impl Default for RawEntries {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawBucketGrant {
    pub(super) bucket: String,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) access: Access,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawState {
    pub(super) max_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawScratch {
    pub(super) max_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawOutput {
    pub(super) topic: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) format: Option<Format>,
    pub(super) columns: Option<Vec<RawColumn>>,
    pub(super) roll: Option<RawRoll>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: ColumnType,
    #[serde(default)]
    pub(super) nullable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawRoll {
    pub(super) records: Option<u32>,
    pub(super) bytes: Option<u64>,
    pub(super) every_ms: Option<u64>,
    pub(super) by: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawLimits {
    pub(super) fuel_per_record: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) deadline_ms: Option<u64>,
    pub(super) output_bytes: Option<u64>,
    pub(super) output_records: Option<u32>,
    pub(super) retries: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawBatch {
    pub(super) records: Option<u32>,
    pub(super) bytes: Option<u64>,
    pub(super) linger_ms: Option<u64>,
}
