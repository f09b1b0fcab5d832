//! Every limit of a tenant, in one table: its name, its unit, what it is unasked, what it may be set to, and what happens there.
//!
//! A plan is a set of values for some of them ([`LimitValues`]); what a tenant may use ([`TenantLimits`]) is what its plan says, with the
//! tenant's own values over it. The table of `host/README.md`, the API's `GET …/limits` and the command line are made of
//! [`TenantLimits::ALL`]. To add one: a row here, and the place that keeps it.
//!
//! Must never: hold a limit that nothing keeps, or take a value outside of its range.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The largest whole number of its size that every reader of JSON keeps exactly.
const UNBOUNDED: u64 = 1_000_000_000_000_000_000;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Things.
    #[serde(rename = "count")]
    Count,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Bytes in a second.
    #[serde(rename = "bytes/s")]
    BytesPerSecond,
    /// Fuel in a second; a busy core burns some 1,000,000,000.
    #[serde(rename = "fuel/s")]
    FuelPerSecond,
    /// Fuel in a calendar month, in UTC.
    #[serde(rename = "fuel/month")]
    FuelPerMonth,
    /// Requests in a second.
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Seconds of a core in an hour.
    #[serde(rename = "s/h")]
    SecondsPerHour,
}

impl Unit {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::FuelPerSecond => "fuel/s",
            Self::FuelPerMonth => "fuel/month",
            Self::RequestsPerSecond => "requests/s",
            Self::Seconds => "s",
            Self::SecondsPerHour => "s/h",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct TenantLimit {
    /// Its name in plans, answers and pages, for instance `fuelPerSecond`.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// What it is where no plan says.
    pub default: u64,
    /// The least that it may be set to.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// What it limits, and what happens there.
    pub says: &'static str,
    get: fn(&TenantLimits) -> u64,
    set: fn(&mut TenantLimits, u64),
}

impl TenantLimit {
    /// The limit of this name.
    ///
    /// # Errors
    /// [`LimitError::Unknown`].
    pub fn find(name: &str) -> Result<&'static Self, LimitError> {
        TenantLimits::ALL.iter().find(|limit| limit.name == name).ok_or_else(|| LimitError::Unknown(name.to_owned()))
    }

    /// Its value.
    pub fn of(&self, limits: &TenantLimits) -> u64 {
        (self.get)(limits)
    }

    /// What a tenant is told who has come to it: how much may be, how much is, and `todo`, what it can do itself.
    pub fn reached(&self, used: u64, allowed: u64, todo: &str) -> String {
        let Self { name, unit, .. } = self;
        format!(
            "the limit `{name}` of this tenant allows {allowed} {unit}, and {used} are used; {todo}, or ask whoever runs \
             this Bulkhead for more"
        )
    }

    fn range(&self) -> RangeInclusive<u64> {
        self.min..=self.max
    }
}

/// Why a value was not taken for a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No limit is called that.
    #[error("there is no limit `{0}`")]
    Unknown(String),
    /// It is too small or too large.
    #[error("`{name}` is {min} to {max} {unit}, not {value}")]
    OutOfRange {
        /// The limit.
        name: &'static str,
        /// Its unit.
        unit: Unit,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What was given.
        value: u64,
    },
}

macro_rules! tenant_limits {
    ($($(#[doc = $doc:literal])* $field:ident = $name:literal, $unit:ident, $default:expr, $min:expr, $max:expr;)*) => {
        /// What one tenant may use and keep.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct TenantLimits {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Default for TenantLimits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl TenantLimits {
            /// Every limit, by name.
            pub const ALL: &'static [TenantLimit] = &[$(TenantLimit {
                name: $name,
                unit: Unit::$unit,
                default: $default,
                min: $min,
                max: $max,
                says: concat!($($doc),*),
                get: |limits| limits.$field,
                set: |limits, value| limits.$field = value,
            },)*];
        }
    };
}

// Sorted by name. What is said is read by operators, in a table.
tenant_limits! {
    /// Requests to the API at once after a rest.
    api_burst = "apiBurst", Count, 1_000, 1, 1_000_000;
    /// Requests to the API in a second, of all of a tenant's tokens; one of them may use four fifths. Above it a request is told when to come again.
    api_requests_per_second = "apiRequestsPerSecond", RequestsPerSecond, 500, 1, 1_000_000;
    /// How many seconds' worth of a rate may be used at once after a rest.
    burst_seconds = "burstSeconds", Seconds, 10, 1, 3_600;
    /// Bytes of records that a tenant's pipelines read in a second. Above it they slow down.
    bytes_in_per_second = "bytesInPerSecond", BytesPerSecond, 256 * MIB, 1_024, 1_024 * GIB;
    /// Bytes of records that a tenant's pipelines write in a second; as many may be written over HTTP. Above it pipelines slow down, and a request is told when to come again.
    bytes_out_per_second = "bytesOutPerSecond", BytesPerSecond, 256 * MIB, 1_024, 1_024 * GIB;
    /// Seconds of a core for compiling what is uploaded, in an hour. Above it an upload is told when to come again.
    compile_seconds_per_hour = "compileSecondsPerHour", SecondsPerHour, 1_200, 1, 36_000;
    /// Config entries and secrets together.
    entries = "entries", Count, 1_000, 0, 1_000_000;
    /// Fuel of a tenant's stages in a calendar month. At 80 % there is a notice in its logs; at 100 % its pipelines pause until the month ends or the limit is raised.
    fuel_per_month = "fuelPerMonth", FuelPerMonth, UNBOUNDED, 1, UNBOUNDED;
    /// Fuel of a tenant's stages in a second, on all workers together. Above it they slow down.
    fuel_per_second = "fuelPerSecond", FuelPerSecond, 64_000_000_000, 1_000_000, 1_000_000_000_000_000;
    /// Memory of a tenant's guests on one worker: each counts as much as its stage's manifest allows it. Above it guests wait for others to end.
    guest_memory_bytes = "guestMemoryBytes", Bytes, 16 * GIB, MIB, 1_024 * GIB;
    /// Instances of a tenant's stages on one worker. Above it they wait for others to end.
    instances = "instances", Count, 1_000, 1, 100_000;
    /// Bytes of lines in a tenant's logs. Above it the oldest go.
    log_bytes = "logBytes", Bytes, 32 * MIB, 0, 64 * GIB;
    /// Lines in a tenant's logs. Above it the oldest go.
    log_lines = "logLines", Count, 100_000, 0, 100_000_000;
    /// Bytes that one worker holds for a tenant: batches, outputs until their commit, log lines until control has them, and what its guests have taken. Above it its pipelines hold one batch each, and wait.
    memory_bytes = "memoryBytes", Bytes, GIB, MIB, 1_024 * GIB;
    /// Bytes of all modules.
    module_bytes = "moduleBytes", Bytes, 8 * GIB, 0, 1_024 * GIB;
    /// Modules.
    modules = "modules", Count, 1_000, 0, 1_000_000;
    /// Bytes of objects in a tenant's buckets, as seen once a minute. Above it pipelines pause.
    object_bytes = "objectBytes", Bytes, 1_024 * GIB, 0, 1_024 * 1_024 * GIB;
    /// Partitions of one topic.
    partitions = "partitions", Count, 128, 1, 10_000;
    /// Pipelines.
    pipelines = "pipelines", Count, 1_000, 0, 1_000_000;
    /// Projects.
    projects = "projects", Count, 1_000, 1, 100_000;
    /// Revisions of one pipeline that are kept, the newest; earlier ones are forgotten.
    revisions = "revisions", Count, 100, 1, 10_000;
    /// Role bindings.
    role_bindings = "roleBindings", Count, 10_000, 0, 1_000_000;
    /// Roles of the tenant's own.
    roles = "roles", Count, 100, 0, 10_000;
    /// Stages of all pipelines together.
    stages = "stages", Count, 4_000, 0, 1_000_000;
    /// Bytes of all stages' state, as its limit counts them. Above it pipelines pause.
    state_bytes = "stateBytes", Bytes, 256 * GIB, 0, 1_024 * 1_024 * GIB;
    /// Bytes of all records in a tenant's topics, hidden ones too, as the log reports them, seen once a minute: of Kafka the segments on disk, each replica's alike counted once. Above it pipelines pause and writing over HTTP is refused.
    topic_bytes = "topicBytes", Bytes, 1_024 * GIB, 0, 1_024 * 1_024 * GIB;
    /// Topics.
    topics = "topics", Count, 1_000, 0, 1_000_000;
    /// Bytes of one uploaded module, where the server takes that much.
    upload_bytes = "uploadBytes", Bytes, 64 * MIB, 1_024, GIB;
    /// What a tenant weighs where guests of several want more than a worker's cores: each has its share of them by weight. Who is alone has all.
    weight = "weight", Count, 100, 1, 10_000;
}

/// Values for some limits: what a plan says, or what one tenant has instead of it. Each is in its limit's range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u64>")]
pub struct LimitValues(BTreeMap<&'static str, u64>);

impl TryFrom<BTreeMap<String, u64>> for LimitValues {
    type Error = LimitError;
    fn try_from(given: BTreeMap<String, u64>) -> Result<Self, LimitError> {
        let mut values = Self::default();
        for (name, value) in given {
            values.set(&name, value)?;
        }
        Ok(values)
    }
}

impl LimitValues {
    /// Values that were taken once. What is no limit any more is left out, and what is outside of a range that was changed since
    /// is brought into it: an upgrade must not lose a tenant.
    pub fn kept(given: BTreeMap<String, u64>) -> Self {
        let found = given.into_iter().filter_map(|(name, value)| {
            let limit = TenantLimit::find(&name).ok()?;
            Some((limit.name, value.clamp(limit.min, limit.max)))
        });
        Self(found.collect())
    }

    /// Where one set of limits differs from the defaults.
    pub fn unlike_default(limits: &TenantLimits) -> Self {
        let values = TenantLimits::ALL.iter().map(|limit| (limit, limit.of(limits)));
        Self(
            values.filter(|(limit, value)| *value != limit.default).map(|(limit, value)| (limit.name, value)).collect(),
        )
    }

    /// Sets one.
    ///
    /// # Errors
    /// Where there is no such limit, or the value is outside of its range.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
        let limit = TenantLimit::find(name)?;
        if !limit.range().contains(&value) {
            let TenantLimit { name, unit, min, max, .. } = *limit;
            return Err(LimitError::OutOfRange { name, unit, min, max, value });
        }
        self.0.insert(limit.name, value);
        Ok(())
    }

    /// Takes one away.
    ///
    /// # Errors
    /// Where there is no such limit.
    pub fn unset(&mut self, name: &str) -> Result<(), LimitError> {
        self.0.remove(TenantLimit::find(name)?.name);
        Ok(())
    }

    /// Whether a limit has a value here.
    pub fn has(&self, limit: &TenantLimit) -> bool {
        self.0.contains_key(limit.name)
    }

    /// Each value by its limit's name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(name, value)| (*name, *value))
    }

    /// What these leave out is as in `base`.
    pub fn over(&self, mut base: TenantLimits) -> TenantLimits {
        for limit in TenantLimits::ALL {
            if let Some(value) = self.0.get(limit.name) {
                (limit.set)(&mut base, *value);
            }
        }
        base
    }
}

/// What of a tenant's limits a worker keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLimits {
    /// [`TenantLimits::fuel_per_second`].
    pub fuel_per_second: u64,
    /// [`TenantLimits::bytes_in_per_second`].
    pub bytes_in_per_second: u64,
    /// [`TenantLimits::bytes_out_per_second`].
    pub bytes_out_per_second: u64,
    /// [`TenantLimits::burst_seconds`].
    pub burst_seconds: u64,
    /// [`TenantLimits::instances`].
    pub instances: u64,
    /// [`TenantLimits::guest_memory_bytes`].
    pub guest_memory_bytes: u64,
    /// [`TenantLimits::memory_bytes`].
    #[serde(default = "usual_memory")]
    pub memory_bytes: u64,
    /// [`TenantLimits::weight`].
    #[serde(default = "usual_weight")]
    pub weight: u64,
}

/// Of assignments that were kept before tenants had a budget of memory.
fn usual_memory() -> u64 {
    TenantLimits::default().memory_bytes
}

/// What a tenant weighs where no plan says; of assignments, too, that were kept before tenants had a weight.
pub fn usual_weight() -> u64 {
    TenantLimits::default().weight
}

/// That a tenant is over a limit at which its pipelines pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The page that explains it.
    pub code: crate::code::Code,
    /// In words for the tenant: how much is used, how much may be, and what to do.
    pub message: String,
}

impl From<&TenantLimits> for WorkerLimits {
    fn from(limits: &TenantLimits) -> Self {
        Self {
            fuel_per_second: limits.fuel_per_second,
            bytes_in_per_second: limits.bytes_in_per_second,
            bytes_out_per_second: limits.bytes_out_per_second,
            burst_seconds: limits.burst_seconds,
            instances: limits.instances,
            guest_memory_bytes: limits.guest_memory_bytes,
            memory_bytes: limits.memory_bytes,
            weight: limits.weight,
        }
    }
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self::from(&TenantLimits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_default_is_in_its_range() {
        let names: Vec<_> = TenantLimits::ALL.iter().map(|limit| limit.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for limit in TenantLimits::ALL {
            assert!(limit.range().contains(&limit.default), "{}", limit.name);
            assert!(limit.max <= UNBOUNDED, "{} does not fit a database's whole numbers", limit.name);
            assert_eq!(limit.of(&TenantLimits::default()), limit.default);
            assert!(limit.says.len() > 5, "{}", limit.name);
        }
    }

    #[test]
    fn values_are_checked_and_lie_over_what_they_leave_out() {
        let read = |text: &str| serde_json::from_str::<LimitValues>(text).map_err(|error| error.to_string());
        let values = read(r#"{"topics": 5, "fuelPerSecond": 2000000}"#).unwrap();
        let limits = values.over(TenantLimits::default());
        assert_eq!((limits.topics, limits.fuel_per_second, limits.modules), (5, 2_000_000, 1_000));
        assert_eq!(LimitValues::unlike_default(&limits), values);
        assert!(read(r#"{"topcis": 5}"#).unwrap_err().contains("no limit `topcis`"));
        assert!(read(r#"{"partitions": 0}"#).unwrap_err().contains("1 to 10000 count, not 0"));
        assert!(read(r#"{"topics": -1}"#).is_err());
        let kept = LimitValues::kept(BTreeMap::from([("gone".to_owned(), 1), ("partitions".to_owned(), 0)]));
        assert_eq!(kept.iter().collect::<Vec<_>>(), [("partitions", 1)]);
    }
}
