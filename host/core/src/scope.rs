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
physical!(
    /// The schema or the database in PostgreSQL that one tenant's metadata has to itself. At most 59 bytes, which is below PostgreSQL's limit.
    MetadataHome
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

/// One making of a pipeline. Another of the same name, made after this one was deleted, shares nothing hidden with it: whatever is
/// left of the first, rows that wait among it, is not the second's.
#[derive(Debug, Clone, Copy)]
pub struct PipelinePath<'a> {
    /// The project.
    pub project: &'a ProjectId,
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// [`PipelineAssignment::incarnation`](crate::assignment::PipelineAssignment::incarnation).
    pub incarnation: &'a str,
}

impl PipelinePath<'_> {
    /// The pipeline's name, for people who look at topics, and a digest of the whole path, since all names in full do not fit Kafka's
    /// length. Sixteen hex digits of SHA-256: the names are the tenant's own, so a collision would only hurt its maker.
    fn name(&self) -> String {
        let Self { project, pipeline, incarnation } = self;
        format!("{pipeline}.{}", short(&format!("{project}/{pipeline}/{incarnation}")))
    }
}

/// A bucket output among all of a tenant's.
#[derive(Debug, Clone, Copy)]
pub struct OutputPath<'a> {
    /// Whose output it is.
    pub pipeline: PipelinePath<'a>,
    /// The stage.
    pub stage: &'a StageName,
    /// Its output.
    pub output: &'a PortName,
}

impl OutputPath<'_> {
    /// A digest of it among the outputs of its pipeline.
    fn digest(&self, columns: &[Column]) -> String {
        let columns: Vec<_> = columns.iter().map(|c| format!("{}:{:?}:{}", c.name, c.kind, c.nullable)).collect();
        short(&format!("{}/{}/{}", self.stage, self.output, columns.join(",")))
    }

    fn name(&self, columns: &[Column]) -> String {
        format!("{}.{}", self.pipeline.name(), self.digest(columns))
    }
}

/// Sixteen hex digits of a text's SHA-256.
fn short(text: &str) -> String {
    let mut hex = ModuleDigest::of(text.as_bytes()).hex();
    hex.truncate(16);
    hex
}

/// How the names of topics begin that no tenant declared, before the tenant's name.
const ROWS: &str = "_bulkhead.rows.";
const MANIFESTS: &str = "_bulkhead.manifests.";
const STATE: &str = "_bulkhead.state.";
const USAGE: &str = "_bulkhead.usage.";
const STAGED: &str = "_bulkhead.staged/";
/// The same of the groups of sinks.
const SINK: &str = "_bulkhead.sink.";
/// The topic whose partitions are the slots, and how the names of the groups begin that share them out. No tenant's name begins with `_`.
const SLOTS: &str = "_bulkhead.slots";
const SLOTS_GROUP: &str = "_bulkhead._slots.";

/// Everything of one tenant is reached through a value of this type.
///
/// In a process that serves requests, only the policy check makes one; in a worker, only the assignment does. The few callers of
/// [`TenantScope::assume`] are listed in `tests/architecture/tenancy.rs`, and no text can be read as a scope:
///
/// ```compile_fail,E0277
/// let forged: bulkhead_core::scope::TenantScope = serde_json::from_str("{\"tenant\":\"other\"}").unwrap();
/// ```
///
/// ```compile_fail,E0451
/// let forged = bulkhead_core::scope::TenantScope { tenant: "other".parse().unwrap() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    /// # Ambient authority
    /// Grants access to everything of `tenant`. Call it where the caller's right to it has just been established.
    pub fn assume(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// Whose a topic is that the log knows by this name; `None` where it is no tenant's. It says nothing of anybody's right to it.
    pub fn owner(topic: &str) -> Option<TenantId> {
        let hidden = [ROWS, MANIFESTS, STATE, USAGE].iter().find_map(|kind| topic.strip_prefix(kind));
        hidden.unwrap_or(topic).split_once('.')?.0.parse().ok()
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
        PhysicalTopic(format!("{STATE}{}.{project}.{pipeline}", self.tenant))
    }

    /// Where the tenant's pipelines say what they have used, in the transactions that commit their work. No tenant can name it.
    pub fn usage_topic(&self) -> PhysicalTopic {
        PhysicalTopic(format!("{USAGE}{}.commits", self.tenant))
    }

    /// Where the objects of a bucket lie.
    pub fn bucket(&self, name: &BucketName) -> BucketPrefix {
        BucketPrefix(format!("{}/{name}/", self.tenant))
    }

    /// Where a bucket output's objects lie until they are published.
    pub fn staging(&self, bucket: &BucketName, output: &OutputPath<'_>) -> StagingPrefix {
        StagingPrefix(format!("{}{bucket}/{}/", self.all_staged_of(&output.pipeline), output.digest(&[])))
    }

    /// Where all objects lie that a pipeline's outputs have staged, for whichever bucket.
    pub fn all_staged_of(&self, pipeline: &PipelinePath<'_>) -> StagingPrefix {
        StagingPrefix(format!("{STAGED}{}/{}/", self.tenant, pipeline.name()))
    }

    /// Where all objects lie that outputs of this tenant have staged.
    pub fn all_staged(&self) -> StagingPrefix {
        StagingPrefix(format!("{STAGED}{}/", self.tenant))
    }

    /// Where the objects of all buckets of this tenant lie, and of no other's.
    pub fn all_buckets(&self) -> BucketPrefix {
        BucketPrefix(format!("{}/", self.tenant))
    }

    /// The topic in which an output's rows wait for their object. Rows of other columns wait in another: a change of the columns
    /// must not have old rows read by the new ones.
    pub fn rows_topic(&self, output: &OutputPath<'_>, columns: &[Column]) -> PhysicalTopic {
        PhysicalTopic(format!("{ROWS}{}.{}", self.tenant, output.name(columns)))
    }

    /// The topic that says which staged objects are to be published.
    pub fn manifests_topic(&self, output: &OutputPath<'_>) -> PhysicalTopic {
        PhysicalTopic(format!("{MANIFESTS}{}.{}", self.tenant, output.name(&[])))
    }

    /// How the names of the topics begin that the bucket outputs of a pipeline have, whichever revision declared them: those of rows,
    /// then those of manifests.
    pub fn output_topic_prefixes(&self, pipeline: &PipelinePath<'_>) -> [String; 2] {
        [ROWS, MANIFESTS].map(|kind| format!("{kind}{}.{}.", self.tenant, pipeline.name()))
    }

    /// How the names of all topics begin that this tenant has and did not declare.
    pub fn hidden_topic_prefixes(&self) -> [String; 4] {
        [ROWS, MANIFESTS, STATE, USAGE].map(|kind| format!("{kind}{}.", self.tenant))
    }

    /// A topic that was listed below one of [`TenantScope::hidden_topic_prefixes`], or `None` where it is not this tenant's.
    pub fn hidden_topic(&self, physical: &str) -> Option<PhysicalTopic> {
        let own = self.hidden_topic_prefixes().iter().any(|prefix| physical.starts_with(prefix));
        own.then(|| PhysicalTopic(physical.to_owned()))
    }

    /// How the names of all consumer groups begin that run something of this tenant's, and of no other's.
    pub fn group_prefixes(&self) -> [String; 2] {
        [format!("_bulkhead.{}.", self.tenant), format!("{SINK}{}.", self.tenant)]
    }

    /// A group that was listed below one of [`TenantScope::group_prefixes`], or `None` where it is not this tenant's.
    pub fn own_group(&self, physical: &str) -> Option<GroupId> {
        let own = self.group_prefixes().iter().any(|prefix| physical.starts_with(prefix));
        own.then(|| GroupId(physical.to_owned()))
    }

    /// The group of the sinks that write this topic of manifests; `None` where it is none of this tenant's.
    pub fn sink_group_of(&self, manifests: &PhysicalTopic) -> Option<GroupId> {
        let output = manifests.as_str().strip_prefix(&format!("{MANIFESTS}{}.", self.tenant))?;
        Some(GroupId(format!("{SINK}{}.{output}", self.tenant)))
    }

    /// The consumer group of an output's sinks.
    pub fn sink_group(&self, output: &OutputPath<'_>) -> GroupId {
        GroupId(format!("{SINK}{}.{}", self.tenant, output.name(&[])))
    }

    /// Where this tenant's metadata is, if it has a schema or a database to itself. `shared` is the database in which the list of tenants is: two
    /// hosts on one server share no name. A tenant's name holds no underscore, so the digest is never a part of another's.
    pub fn metadata_home(&self, shared: &str) -> MetadataHome {
        let mut start = self.tenant.to_string();
        start.truncate(40);
        MetadataHome(format!("t_{start}_{}", short(&format!("{shared}/{}", self.tenant))))
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

    /// The topic whose partitions stand for the slots that pipelines hash to. It never holds a record.
    pub fn slots_topic(&self) -> PhysicalTopic {
        PhysicalTopic(SLOTS.to_owned())
    }

    /// The group in which the workers of one fleet, which are all told the same pipelines, share the slots out among them. Of a fleet's name a
    /// digest, since it may hold anything.
    pub fn slots_group(&self, fleet: &str) -> GroupId {
        GroupId(format!("{SLOTS_GROUP}{}", short(fleet)))
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
    fn every_topic_says_whose_it_is() {
        let acme = TenantScope::assume("acme".parse().unwrap());
        let (project, pipeline) = ("shop.eu".parse().unwrap(), "p".parse().unwrap());
        let made = PipelinePath { project: &project, pipeline: &pipeline, incarnation: "1" };
        let output = OutputPath { pipeline: made, stage: &"s".parse().unwrap(), output: &"o".parse().unwrap() };
        let topics = [
            acme.topic(&"a.b".parse().unwrap()),
            acme.state_topic(&project, &pipeline),
            acme.usage_topic(),
            acme.rows_topic(&output, &[]),
            acme.manifests_topic(&output),
        ];
        for topic in topics {
            assert_eq!(TenantScope::owner(topic.as_str()).as_ref(), Some(acme.tenant()), "{topic}");
        }
        for nobody in ["_bulkhead.slots", "", "acme", "_bulkhead.state."] {
            assert_eq!(TenantScope::owner(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn no_two_tenants_or_hosts_share_a_home_for_metadata() {
        let long = |end: &str| TenantScope::assume(format!("{}{end}", "t".repeat(60)).parse().unwrap());
        let homes = [long("a").metadata_home("one"), long("b").metadata_home("one"), long("a").metadata_home("two")];
        for (i, home) in homes.iter().enumerate() {
            assert!(home.as_str().len() <= 63 && !homes[..i].contains(home), "{home}");
        }
    }

    #[test]
    fn groups_lie_outside_every_tenant_prefix() {
        let scope = TenantScope::assume("acme".parse().unwrap());
        let group = scope.group(&"default".parse().unwrap(), &"flights".parse().unwrap());
        assert!(!group.as_str().starts_with(&scope.topic_prefix()));
        assert!("_bulkhead".parse::<TenantId>().is_err());
    }

    #[test]
    fn workers_share_slots_in_a_group_of_their_fleet_that_is_no_tenants() {
        let [one, two] = ["pool-0", "pool-1"].map(|slot| WorkerScope::new(slot).unwrap());
        assert_eq!((one.slots_group("a"), one.slots_topic()), (two.slots_group("a"), two.slots_topic()));
        assert_ne!(one.slots_group("a"), one.slots_group("b"), "other fleets are told other pipelines");
        let named_so = TenantScope::assume("slots".parse().unwrap());
        assert_eq!(named_so.own_group(one.slots_group("a").as_str()), None);
        assert_eq!(TenantScope::owner(one.slots_topic().as_str()), None);
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
    fn rows_of_other_columns_outputs_and_makings_wait_apart_and_outside_every_tenants_names() {
        let scope = TenantScope::assume("t".repeat(63).parse().unwrap());
        let (project, pipeline, stage) =
            ("default".parse().unwrap(), "p".repeat(63).parse().unwrap(), "s".parse().unwrap());
        let made = |incarnation| PipelinePath { project: &project, pipeline: &pipeline, incarnation };
        let path = |output, incarnation| OutputPath { pipeline: made(incarnation), stage: &stage, output };
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        let column = |nullable| Column { name: "c".to_owned(), kind: crate::bucket::ColumnType::Int64, nullable };
        let names = [
            scope.rows_topic(&path(&one, "1"), &[column(false)]),
            scope.rows_topic(&path(&one, "1"), &[column(true)]),
            scope.rows_topic(&path(&two, "1"), &[column(false)]),
            scope.manifests_topic(&path(&one, "1")),
            scope.rows_topic(&path(&one, "2"), &[column(false)]),
            scope.manifests_topic(&path(&one, "2")),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(!name.as_str().starts_with(&scope.topic_prefix()) && name.as_str().len() <= 249, "{name}");
            assert!(!names[..i].contains(name), "{name} stands twice");
        }
        let of = |prefixes: [String; 2]| -> Vec<_> {
            names.iter().filter(|name| prefixes.iter().any(|prefix| name.as_str().starts_with(prefix))).collect()
        };
        assert_eq!(of(scope.output_topic_prefixes(&made("1"))), names[..4].iter().collect::<Vec<_>>());
        assert_eq!(of(scope.output_topic_prefixes(&made("2"))), names[4..].iter().collect::<Vec<_>>());
        assert_eq!(scope.sink_group_of(&names[3]), Some(scope.sink_group(&path(&one, "1"))));
        assert_eq!(scope.sink_group_of(&names[0]), None);
    }

    #[test]
    fn what_one_tenant_has_hidden_is_not_anothers() {
        let [acme, other] = ["acme", "acme-data"].map(|name| TenantScope::assume(name.parse().unwrap()));
        let (project, pipeline) = ("default".parse().unwrap(), "p".parse().unwrap());
        let state = acme.state_topic(&project, &pipeline);
        assert_eq!(acme.hidden_topic(state.as_str()), Some(state.clone()));
        assert_eq!(other.hidden_topic(state.as_str()), None);
        assert_eq!(acme.hidden_topic("acme.orders"), None, "a declared topic is not hidden");
        let group = acme.group(&project, &pipeline);
        assert_eq!((acme.own_group(group.as_str()), other.own_group(group.as_str())), (Some(group.clone()), None));
        let made = PipelinePath { project: &project, pipeline: &pipeline, incarnation: "1" };
        assert!(acme.all_staged_of(&made).as_str().starts_with(acme.all_staged().as_str()));
        assert!(!acme.all_staged_of(&made).as_str().starts_with(other.all_staged().as_str()));
        assert!(!other.all_buckets().as_str().starts_with(acme.all_buckets().as_str()));
        assert!(!acme.all_staged().as_str().starts_with(acme.all_buckets().as_str()));
    }
}
