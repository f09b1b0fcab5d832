//! A secret's value in memory, and how control gives the values of one pipeline, and its keys, to a worker.
//!
//! A value prints nothing, is in no message, and is zeroed when it is dropped. It has one way into text, [`Lent`], which is for the worker's
//! authenticated connection alone.
//! Must never: get a `Display`, or be part of an assignment, a manifest or a bundle.

use crate::name::EntryName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretValue(Vec<u8>);

impl SecretValue {
    /// A value from bytes that nobody else keeps.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the guest that they were granted to.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// The secrets that a pipeline's stages are granted, by the project's name for them.
pub type Secrets = BTreeMap<EntryName, SecretValue>;

/// The secrets of one pipeline, as control gives them to a worker that runs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// By the project's name for them.
    pub secrets: BTreeMap<EntryName, LentSecret>,
    /// What seals its dead letters and its stages' state; `None` where it has neither to be sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<LentKeys>,
}

/// The keys of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LentKeys {
    /// The one for names, which stays.
    pub names: LentKey,
    /// Those for values, by version: the newest seals.
    pub versions: BTreeMap<u32, LentKey>,
}

/// One key of [`LentKeys`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LentKey {
    /// The key, in hex.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub key: SecretValue,
}

/// One secret of a [`Lent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LentSecret {
    /// Which value it is, as [`PipelineAssignment::secrets`](crate::assignment::PipelineAssignment::secrets) says it.
    pub stamp: String,
    /// The value, in hex.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub value: SecretValue,
}

fn to_hex<S: Serializer>(value: &SecretValue, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Zeroizing::new(hex::encode(value.expose())))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretValue, D::Error> {
    let text = Zeroizing::new(String::deserialize(deserializer)?);
    // The error of `hex` names a character of the text.
    hex::decode(&*text).map(SecretValue).map_err(|_| serde::de::Error::custom("a value that is not hex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_by_nothing_but_its_json_for_workers() {
        let lent = LentSecret { stamp: "shop/1.1".to_owned(), value: SecretValue::new(b"hunter2".to_vec()) };
        let shown = format!("{lent:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
        let json = serde_json::to_string(&lent).unwrap();
        assert_eq!(serde_json::from_str::<LentSecret>(&json).unwrap(), lent);
        let refused = serde_json::from_str::<LentSecret>(r#"{"stamp":"","value":"hunter2"}"#).unwrap_err();
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
