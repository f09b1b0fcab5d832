//! Names that people choose, each as a type of its own, checked where it enters.
//!
//! A name can be shown in a message and used in a URL; it is never used as a physical name: that is [`crate::scope`]'s work.
//! Must never: accept a character that Kafka, a file system, a URL or a metric label would treat specially.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest tenant, project, pipeline, stage or port name, in bytes: a DNS label, because a tenant becomes a namespace.
pub const NAME_BYTES_MAX: usize = 63;
/// Longest topic name a tenant may choose, in bytes. Kafka allows 249 for the physical name, which also holds the tenant's.
pub const TOPIC_BYTES_MAX: usize = 180;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    shown: String,
}

impl NameError {
    fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        let shown = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { what, rule, shown }
    }
}

/// Longest project name in bytes, the names of the projects around it included.
pub const PROJECT_BYTES_MAX: usize = 63;

const LABEL_RULE: &str = "use 1 to 63 of a-z, 0-9 and -, starting with a letter and not ending in -";
const PROJECT_RULE: &str =
    "use names of a-z, 0-9 and -, each starting with a letter and not ending in -, joined by dots, together 1 to 63";
const TOPIC_RULE: &str = "use 1 to 180 of a-z, A-Z, 0-9, ., _ and -, not starting with . or _";

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Labels joined by dots: each is a project in the one before it.
fn is_project(text: &str) -> bool {
    text.len() <= PROJECT_BYTES_MAX && text.split('.').all(is_label)
}

fn is_topic(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=TOPIC_BYTES_MAX).contains(&bytes.len())
        && !matches!(bytes[0], b'.' | b'_')
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) { Ok(Self(text.to_owned())) } else { Err(NameError::new($what, $rule, text)) }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The unit of isolation, quota, billing, audit and deletion.
    TenantId, "tenant name", is_label, LABEL_RULE
);
name!(
    /// A tenant's folder for modules, pipelines and configuration. Projects nest: `shop.eu` lies in `shop`.
    ProjectId, "project name", is_project, PROJECT_RULE
);
name!(
    /// A pipeline within a project.
    PipelineName, "pipeline name", is_label, LABEL_RULE
);
name!(
    /// A stage within a pipeline.
    StageName, "stage name", is_label, LABEL_RULE
);
name!(
    /// One of a stage's outputs, as the stage knows it.
    PortName, "output name", is_label, LABEL_RULE
);
name!(
    /// A module within a project; the part before the colon in `name:tag`.
    ModuleName, "module name", is_label, LABEL_RULE
);
name!(
    /// A bucket as its tenant knows it. The physical prefix also carries the tenant.
    BucketName, "bucket name", is_label, LABEL_RULE
);
name!(
    /// A granted part of a bucket, as the stage knows it.
    GrantName, "grant name", is_label, LABEL_RULE
);
name!(
    /// A secret or a config entry within a project, and the name under which a stage knows it.
    EntryName, "name of a secret or config entry", is_label, LABEL_RULE
);
name!(
    /// A tenant's own role: a name for a set of actions.
    RoleName, "role name", is_label, LABEL_RULE
);
name!(
    /// A plan: how much a tenant may keep.
    PlanName, "plan name", is_label, LABEL_RULE
);
name!(
    /// A topic as its tenant knows it. The physical name also carries the tenant.
    TopicName, "topic name", is_topic, TOPIC_RULE
);

impl ProjectId {
    /// The project around this one, if there is one.
    pub fn parent(&self) -> Option<ProjectId> {
        self.0.rsplit_once('.').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// This project and those around it, the nearest first.
    pub fn and_around(&self) -> impl Iterator<Item = ProjectId> + use<> {
        std::iter::successors(Some(self.clone()), ProjectId::parent)
    }
}

/// A module's identity: the SHA-256 of its bytes, shown as `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleDigest([u8; 32]);

impl ModuleDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere, for instance while streaming.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits, without the prefix.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ModuleDigest {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError::new("module digest", "use sha256: and 64 hex digits", text);
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:").ok_or_else(error)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ModuleDigest {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ModuleDigest> for String {
    fn from(digest: ModuleDigest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_other_systems_treat_specially() {
        for bad in ["", "Acme", "a_b", "-a", "a-", "1a", "a.b", "a/b", "ä", "a b", "a\n", &"a".repeat(64)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "acme", "team-7", &"a".repeat(63)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", ".", "..", ".a", "_a", "a/b", "a:b", "a b", "é", &"a".repeat(181)] {
            assert!(bad.parse::<TopicName>().is_err(), "{bad:?} was accepted");
        }
        assert!("orders.4000000.4".parse::<TopicName>().is_ok());
    }

    #[test]
    fn projects_nest_by_dots() {
        let eu: ProjectId = "shop.eu.west-1".parse().unwrap();
        assert_eq!(eu.parent().unwrap().as_str(), "shop.eu");
        assert_eq!(eu.parent().unwrap().parent().unwrap().parent(), None);
        for bad in ["", ".", "shop.", ".shop", "shop..eu", "shop.1", "shop.Eu", &format!("a.{}", "b".repeat(62))] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_name_error_shows_no_control_characters_and_is_short() {
        let error = format!("\u{1b}[31m{}", "x".repeat(10_000)).parse::<TenantId>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}') && error.len() < 300, "{error}");
    }

    #[test]
    fn a_digest_round_trips_and_refuses_the_rest() {
        let digest = ModuleDigest::of(b"abc");
        assert_eq!(digest.to_string(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse::<ModuleDigest>().unwrap(), digest);
        assert!("ba78".parse::<ModuleDigest>().is_err());
        assert!("sha256:zz".parse::<ModuleDigest>().is_err());
    }
}
