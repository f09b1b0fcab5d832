//! Capabilities that a stage needs a grant for: what imports one, and which field of the manifest grants it.
//!
//! A module may be uploaded with the import of any capability that the host has. Whether a stage may use it is checked when a manifest
//! is applied and again when a stage is linked, both by [`missing`]. Scratch files are not here: every Rust component imports WASI's
//! file system, used or not, so a stage without a grant has the import with nothing behind it.
//! Must never: grant what a manifest does not name.

use crate::manifest::StageSpec;
use std::collections::BTreeSet;

/// What a stage may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// A store of its own keys and values.
    State,
    /// Objects below granted prefixes of buckets.
    Buckets,
    /// Secrets of its project, by name.
    Secrets,
}

impl Capability {
    /// Every capability.
    pub const ALL: &'static [Capability] = &[Capability::State, Capability::Buckets, Capability::Secrets];

    /// The interface that a component imports to use it, without its version.
    pub fn import(self) -> &'static str {
        match self {
            Self::State => "bulkhead:stage/state",
            Self::Buckets => "bulkhead:stage/bucket",
            Self::Secrets => "bulkhead:stage/secrets",
        }
    }

    /// The field of a stage that grants it, as one would write it.
    pub fn field(self) -> &'static str {
        match self {
            Self::State => "state: {maxBytes: 67108864}",
            Self::Buckets => "buckets: {archive: {bucket: flights, prefix: 2013/, access: read}}",
            Self::Secrets => "secrets: [db-password]",
        }
    }
}

/// What a stage has been granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Capability>);

impl Grants {
    /// Whether this is granted.
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }
}

impl FromIterator<Capability> for Grants {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

impl<M> StageSpec<M> {
    /// What its manifest grants it.
    pub fn grants(&self) -> Grants {
        let granted = |capability: &Capability| match capability {
            Capability::State => self.state.is_some(),
            Capability::Buckets => !self.buckets.is_empty(),
            Capability::Secrets => !self.secrets.is_empty(),
        };
        Capability::ALL.iter().copied().filter(granted).collect()
    }
}

/// The capabilities that a component with these imports needs and that are not granted.
pub fn missing<'a>(imports: impl IntoIterator<Item = &'a str>, grants: &Grants) -> BTreeSet<Capability> {
    let name = |import: &'a str| import.split_once('@').map_or(import, |(name, _)| name);
    let needed =
        |import: &'a str| Capability::ALL.iter().copied().find(|capability| capability.import() == name(import));
    imports.into_iter().filter_map(needed).filter(|capability| !grants.has(*capability)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_needs_its_grant_whatever_its_version() {
        let imports = ["bulkhead:stage/host@0.1.0", "bulkhead:stage/state@0.1.0", "wasi:filesystem/types@0.2.6"];
        assert_eq!(missing(imports, &Grants::default()), BTreeSet::from([Capability::State]));
        assert_eq!(missing(imports, &Grants::from_iter([Capability::State])), BTreeSet::new());
        assert_eq!(missing(["bulkhead:stage/host@0.1.0"], &Grants::default()), BTreeSet::new());
        let both = ["bulkhead:stage/state@0.1.0", "bulkhead:stage/bucket@0.1.0"];
        let only_state = Grants::from_iter([Capability::State]);
        assert_eq!(missing(both, &only_state), BTreeSet::from([Capability::Buckets]));
    }
}
