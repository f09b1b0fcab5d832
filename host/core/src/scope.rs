//! Physical names: what the log, the buckets and the disk call a tenant's things.
//!
//! [`TenantScope`] is the only maker of them, and their types have no other constructor, so that a function that reaches a
//! tenant's data takes a proof of whose it is. A raw string for any of these does not compile.
//! Must never: let two different (tenant, name) pairs make the same physical name, or show a physical name to a tenant.
//!
//! ```compile_fail
//! let topic = bulkhead_core::scope::PhysicalTopic("other-tenant.orders".to_owned());
//! ```

use crate::bucket::{Column, KeyPrefix, ObjectKey};
use crate::name::{BucketName, ModuleDigest, PipelineName, PortName, ProjectId, StageName, TenantId, TopicName};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! physical {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name as the outer system knows it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

physical!(
    /// A topic as the log knows it: `tenant.topic`. A tenant name holds no dot, so the first dot ends it.
    PhysicalTopic
);
physical!(
    /// A consumer group as the log knows it, one for each pipeline. It begins with `_bulkhead.`, which no tenant's name or
    /// prefix ACL can, so a tenant's own clients cannot join the group that runs its pipeline.
    GroupId
);
physical!(
    /// A producer's transactional id, stable for a worker's slot so that a successor fences its predecessor at once.
    TransactionalId
);
physical!(
    /// The object key of a module's bytes: `modules/tenant/hex`.
    ModuleKey
);

physical!(
    /// Where the objects of a tenant's bucket lie: `tenant/bucket/`. It ends in a slash, and no tenant's name holds one.
    BucketPrefix
);
physical!(
    /// Where a bucket output's objects lie until they are published: below `_bulkhead.staged/`, which is no tenant's.
    StagingPrefix
);
physical!(
    /// One object as the store knows it.
    PhysicalKey
);

impl TransactionalId {
    /// One of the ids that belong to this one, for while it is held up: 0 is this id itself. No other id holds a tilde.
    pub fn spare(&self, turn: u32) -> Self {
        if turn == 0 { self.clone() } else { Self(format!("{}~{turn}", self.0)) }
    }
}

impl BucketPrefix {
    /// An object of the bucket, below a granted prefix.
    pub fn object(&self, prefix: &KeyPrefix, key: &ObjectKey) -> PhysicalKey {
        PhysicalKey(format!("{}{prefix}{key}", self.0))
    }

    /// What is listed below a granted prefix: it ends in a slash.
    pub fn below(&self, prefix: &KeyPrefix) -> String {
        format!("{}{prefix}", self.0)
    }
}

impl StagingPrefix {
    /// A staged object.
    pub fn object(&self, name: &ObjectKey) -> PhysicalKey {
        PhysicalKey(format!("{}{name}", self.0))
    }
}

/// A bucket output among all of a tenant's.
#[derive(Debug, Clone, Copy)]
pub struct OutputPath<'a> {
    /// The project.
    pub project: &'a ProjectId,
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// The stage.
    pub stage: &'a StageName,
    /// Its output.
    pub output: &'a PortName,
}

impl OutputPath<'_> {
    /// The pipeline's name, for people who look at topics, and a digest of the whole path, since four names in full do not fit
    /// Kafka's length. Sixteen hex digits of SHA-256: the names are the tenant's own, so a collision would only hurt its maker.
    fn name(&self, columns: &[Column]) -> String {
        let Self { project, pipeline, stage, output } = self;
        let columns: Vec<_> = columns.iter().map(|c| format!("{}:{:?}:{}", c.name, c.kind, c.nullable)).collect();
        let all = format!("{project}/{pipeline}/{stage}/{output}/{}", columns.join(","));
        let digest = ModuleDigest::of(all.as_bytes()).hex();
        format!("{pipeline}.{}", &digest[..16])
    }
}

/// Everything of one tenant is reached through a value of this type.
///
/// In a process that serves requests, only the policy check makes one; in a worker, only the assignment does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    /// # Ambient authority
    /// Grants access to everything of `tenant`. Call it where the caller's right to it has just been established.
    pub fn assume(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// Whose scope this is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Where the log keeps this topic.
    pub fn topic(&self, name: &TopicName) -> PhysicalTopic {
        PhysicalTopic(format!("{}.{name}", self.tenant))
    }

    /// The start of the physical names of all topics of this tenant, and of no other's.
    pub fn topic_prefix(&self) -> String {
        format!("{}.", self.tenant)
    }

    /// The tenant's own name of a physical topic, or `None` where it is not this tenant's.
    pub fn topic_name(&self, physical: &str) -> Option<TopicName> {
        physical.strip_prefix(&self.topic_prefix())?.parse().ok()
    }

    /// The consumer group that runs a pipeline.
    pub fn group(&self, project: &ProjectId, pipeline: &PipelineName) -> GroupId {
        GroupId(format!("_bulkhead.{}.{project}.{pipeline}", self.tenant))
    }

    /// Where the state of a pipeline's stages is kept: one compacted topic, which no tenant can name, since no tenant's begins with `_`.
    pub fn state_topic(&self, project: &ProjectId, pipeline: &PipelineName) -> PhysicalTopic {
        PhysicalTopic(format!("_bulkhead.state.{}.{project}.{pipeline}", self.tenant))
    }

    /// Where the objects of a bucket lie.
    pub fn bucket(&self, name: &BucketName) -> BucketPrefix {
        BucketPrefix(format!("{}/{name}/", self.tenant))
    }

    /// Where a bucket output's objects lie until they are published.
    pub fn staging(&self, bucket: &BucketName, output: &OutputPath<'_>) -> StagingPrefix {
        StagingPrefix(format!("_bulkhead.staged/{}/{bucket}/{}/", self.tenant, output.name(&[])))
    }

    /// The topic in which an output's rows wait for their object. Rows of other columns wait in another: a change of the columns
    /// must not have old rows read by the new ones.
    pub fn rows_topic(&self, output: &OutputPath<'_>, columns: &[Column]) -> PhysicalTopic {
        PhysicalTopic(format!("_bulkhead.rows.{}.{}", self.tenant, output.name(columns)))
    }

    /// The topic that says which staged objects are to be published.
    pub fn manifests_topic(&self, output: &OutputPath<'_>) -> PhysicalTopic {
        PhysicalTopic(format!("_bulkhead.manifests.{}.{}", self.tenant, output.name(&[])))
    }

    /// The consumer group of an output's sinks.
    pub fn sink_group(&self, output: &OutputPath<'_>) -> GroupId {
        GroupId(format!("_bulkhead.sink.{}.{}", self.tenant, output.name(&[])))
    }

    /// Where a module's bytes are kept.
    pub fn module(&self, digest: &ModuleDigest) -> ModuleKey {
        ModuleKey(format!("modules/{}/{}", self.tenant, digest.hex()))
    }

    /// The folder that holds all modules of this tenant, and of no other. A prefix by path segments, not by characters.
    pub fn module_folder(&self) -> String {
        format!("modules/{}", self.tenant)
    }
}

/// Names that belong to a worker rather than to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerScope {
    slot: String,
}

impl WorkerScope {
    /// The scope of the worker in this slot, for instance `pool-0`. Two live workers must not share a slot: the later one
    /// fences the earlier.
    ///
    /// # Errors
    /// Where the slot is not a valid name (see [`TenantId`]'s rule).
    pub fn new(slot: &str) -> Result<Self, crate::name::NameError> {
        let checked: TenantId = slot.parse()?;
        Ok(Self { slot: checked.into() })
    }

    /// The transactional id of one of this worker's lanes.
    pub fn lane(&self, lane: &str) -> TransactionalId {
        TransactionalId(format!("_bulkhead.{}.{lane}", self.slot))
    }

    /// The transactional id of the sink of a bucket output. A lane's name holds no dot, so it is no lane's.
    pub fn sink(&self, group: &GroupId) -> TransactionalId {
        TransactionalId(format!("_bulkhead.{}.{group}", self.slot))
    }

    /// The slot's name.
    pub fn slot(&self) -> &str {
        &self.slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tenants_never_share_a_physical_name() {
        let short = TenantScope::assume("a".parse().unwrap());
        let long = TenantScope::assume("a-b".parse().unwrap());
        assert_ne!(short.topic(&"b.c".parse().unwrap()), long.topic(&"c".parse().unwrap()));
        assert_eq!(short.topic_name("a-b.c"), None);
        assert_eq!(short.topic_name("a.b.c"), Some("b.c".parse().unwrap()));
    }

    #[test]
    fn groups_lie_outside_every_tenant_prefix() {
        let scope = TenantScope::assume("acme".parse().unwrap());
        let group = scope.group(&"default".parse().unwrap(), &"flights".parse().unwrap());
        assert!(!group.as_str().starts_with(&scope.topic_prefix()));
        assert!("_bulkhead".parse::<TenantId>().is_err());
    }

    #[test]
    fn state_lies_outside_every_tenant_prefix_and_fits_kafka() {
        let long = "a".repeat(crate::name::NAME_BYTES_MAX);
        let scope = TenantScope::assume(long.parse().unwrap());
        let topic = scope.state_topic(&long.parse().unwrap(), &long.parse().unwrap());
        assert!(!topic.as_str().starts_with(&scope.topic_prefix()));
        assert_eq!(scope.topic_name(topic.as_str()), None);
        assert!(topic.as_str().len() <= 249, "{}", topic.as_str().len());
    }

    #[test]
    fn no_key_of_one_bucket_is_a_key_of_another() {
        let scope = TenantScope::assume("acme".parse().unwrap());
        let other = TenantScope::assume("acme-data".parse().unwrap());
        let (flights, prefix) = ("flights".parse().unwrap(), "2013/".parse().unwrap());
        let object = scope.bucket(&flights).object(&prefix, &"a/b".parse().unwrap());
        assert_eq!(object.as_str(), "acme/flights/2013/a/b");
        assert!(!other.bucket(&flights).as_str().starts_with(scope.bucket(&flights).as_str()));
    }

    #[test]
    fn rows_of_other_columns_and_outputs_wait_apart_and_outside_every_tenants_names() {
        let scope = TenantScope::assume("acme".parse().unwrap());
        let (project, pipeline, stage) =
            ("default".parse().unwrap(), "p".repeat(63).parse().unwrap(), "s".parse().unwrap());
        let path = |output| OutputPath { project: &project, pipeline: &pipeline, stage: &stage, output };
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        let column = |nullable| Column { name: "c".to_owned(), kind: crate::bucket::ColumnType::Int64, nullable };
        let names = [
            scope.rows_topic(&path(&one), &[column(false)]),
            scope.rows_topic(&path(&one), &[column(true)]),
            scope.rows_topic(&path(&two), &[column(false)]),
            scope.manifests_topic(&path(&one)),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(!name.as_str().starts_with(&scope.topic_prefix()) && name.as_str().len() <= 249, "{name}");
            assert!(!names[..i].contains(name), "{name} stands twice");
        }
    }
}
