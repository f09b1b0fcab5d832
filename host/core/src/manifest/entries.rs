//! The parts of a manifest that name a project's secrets and config entries.
//!
//! Must never: give a stage two entries under one name.

use super::bound::shown;
use super::raw::RawEntries;
use super::{Check, EntryGrant, ManifestError, StageSpec};
use crate::code::Code;
use crate::limits::{self, SETTINGS_BYTES_MAX};
use crate::name::EntryName;
use serde_json::Value;

/// What a stage is granted, in the order of its own names.
pub(super) fn entries(check: &mut Check, field: &str, raw: RawEntries) -> Option<Vec<EntryGrant>> {
    let pairs: Vec<(String, String)> = match raw {
        RawEntries::List(names) => names.into_iter().map(|name| (name.clone(), name)).collect(),
        RawEntries::Map(names) => names.into_iter().collect(),
    };
    if pairs.len() > limits::STAGE_ENTRIES_MAX {
        let detail = format!("has {} entries; at most {} are allowed", pairs.len(), limits::STAGE_ENTRIES_MAX);
        check.error(Code::LimitExceeded, field, detail);
    }
    check.unique(field, pairs.iter().map(|(name, _)| name.as_str()));
    let grants = pairs.into_iter().map(|(name, entry)| {
        let at = format!("{field}.{}", shown(&name));
        let (name, entry) = (check.name(&at, &name), check.name(&at, &entry));
        Some(EntryGrant { name: name?, entry: entry? })
    });
    // All of them are looked at, so that all mistakes are told.
    let mut grants: Vec<_> = grants.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
    grants.sort_by(|a, b| a.name.cmp(&b.name));
    Some(grants)
}

impl<M> StageSpec<M> {
    /// Adds the config entries that the stage takes to its settings, for good: `find` gives an entry's value. A key of the stage's own
    /// `config` stays as it is. What was added is no longer named.
    pub(super) fn merge_config(
        &mut self,
        mut find: impl FnMut(&EntryName) -> Option<Value>,
        errors: &mut Vec<ManifestError>,
    ) {
        let taken = std::mem::take(&mut self.config_from);
        if taken.is_empty() {
            return;
        }
        let field = format!("stages[{}].configFrom", self.name);
        let mut settings = match serde_json::from_str(&self.settings) {
            Ok(Value::Object(settings)) => settings,
            Ok(Value::Null) => serde_json::Map::new(),
            _ => {
                let detail = "the stage's own `config` is not an object, so nothing can be added to it".to_owned();
                return errors.push(ManifestError { code: Code::ConfigUnmergeable, field, detail });
            }
        };
        for EntryGrant { name, entry } in taken {
            if settings.contains_key(name.as_str()) {
                continue;
            }
            match find(&entry) {
                Some(value) => drop(settings.insert(name.into(), value)),
                None => errors.push(missing(&entry, field.clone())),
            }
        }
        self.settings = Value::Object(settings).to_string();
        if self.settings.len() > SETTINGS_BYTES_MAX {
            let bytes = self.settings.len();
            let detail =
                format!("with `config` it has {bytes} bytes as JSON; at most {SETTINGS_BYTES_MAX} are allowed");
            errors.push(ManifestError { code: Code::ConfigUnmergeable, field, detail });
        }
    }
}

fn missing(entry: &EntryName, field: String) -> ManifestError {
    let detail = format!(
        "neither this project nor one around it has a config entry `{entry}`; set it with `bulkhead config set {entry} VALUE`"
    );
    ManifestError { code: Code::ConfigMissing, field, detail }
}
