//! Everything that it takes to run a dead letter's record again on another machine, as one piece of JSON.
//!
//! Must never: hold a credential, or a setting of another tenant.

use crate::dead_letter::Letter;
use crate::manifest::PipelineSpec;
use crate::name::{ProjectId, TenantId, TopicName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A dead letter with its record and the pipeline that ran it. Modules are named by digest in `spec`; their bytes are fetched apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Whose it is.
    pub tenant: TenantId,
    /// In which project.
    pub project: ProjectId,
    /// The pipeline, with modules, settings and limits, as it ran.
    pub spec: PipelineSpec,
    /// What was found.
    pub letter: Letter,
    /// Milliseconds since the epoch of the record; its place in the log is in the letter.
    pub timestamp: i64,
    /// The record's key, in hex.
    #[serde(with = "cell")]
    pub key: Option<Vec<u8>>,
    /// The record's value, in hex.
    #[serde(with = "cell")]
    pub value: Option<Vec<u8>>,
    /// The record's own headers.
    pub headers: Vec<Header>,
    /// Bytes of one record that each topic takes which the pipeline writes.
    pub topic_limits: BTreeMap<TopicName, u64>,
}

/// A header of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name, in hex: a producer may write any bytes.
    #[serde(with = "cell")]
    pub name: Option<Vec<u8>>,
    /// Its value, in hex.
    #[serde(with = "cell")]
    pub value: Option<Vec<u8>>,
}

/// Bytes or null, as hex or null.
mod cell {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(cell: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match cell {
            Some(bytes) => serializer.serialize_str(&hex::encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| hex::decode(text).map_err(serde::de::Error::custom)).transpose()
    }
}
