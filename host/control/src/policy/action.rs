//! Everything that can be done through the API, each a type: what it reaches, which policies speak of it, and whether each use is
//! written down.
//!
//! The table is the one source: `cedar/bulkhead.cedarschema` is made of it
//! (`BULKHEAD_BLESS=1 cargo test -p bulkhead-control --lib policy::cedar`), and the policies beside that file speak of its groups.
//! Must never: hold an action that reads a tenant's data and that a platform admin may do.

use super::{Fleet, Of, Platform, Reach};
use bulkhead_core::scope::TenantScope;

/// Which uses of an action are kept in the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// Each, allowed or denied.
    Always,
    /// Only those denied: for what workers do every second.
    Denials,
}

/// A group of actions, of which a policy speaks as one. Most bear the name of the weakest role that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// For platform admins.
    PlatformAdmin,
    /// For workers.
    Worker,
    /// For auditors.
    Auditor,
    /// For viewers.
    Viewer,
    /// For operators.
    Operator,
    /// For developers.
    Developer,
    /// For tenant admins.
    TenantAdmin,
    /// For whoever has a role there, whichever.
    AnyRole,
    /// For whoever has a token of the tenant, without any role too.
    Member,
}

impl Group {
    /// All of them.
    pub(crate) const ALL: [Group; 9] = [
        Self::PlatformAdmin,
        Self::Worker,
        Self::Auditor,
        Self::Viewer,
        Self::Operator,
        Self::Developer,
        Self::TenantAdmin,
        Self::AnyRole,
        Self::Member,
    ];

    /// What is needed, for messages.
    pub(crate) fn needs(self) -> String {
        match self {
            Self::AnyRole => "any role".to_owned(),
            Self::Member => "a token of the tenant".to_owned(),
            role => format!("the role `{}`", role.as_str()),
        }
    }

    /// The name in policies.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PlatformAdmin => "platform-admin",
            Self::Worker => "worker",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Developer => "developer",
            Self::TenantAdmin => "tenant-admin",
            Self::AnyRole => "any-role",
            Self::Member => "member",
        }
    }
}

/// Something that can be done.
pub trait Action: Send + Sync + 'static {
    /// What it reaches.
    type Reach: Reach;
    /// Its name in the audit, in policies and in messages.
    const NAME: &'static str;
    /// The groups of actions that it is in.
    const GROUPS: &'static [Group];
    /// What is kept.
    const AUDITED: Audited;
}

/// An action as a row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActionInfo {
    pub(crate) name: &'static str,
    pub(crate) says: &'static str,
    pub(crate) groups: &'static [Group],
    pub(crate) of: Of,
}

impl ActionInfo {
    /// The action of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|action| action.name == name)
    }

    /// Whether a tenant may put it into a role of its own: what reaches a tenant, but for making tokens, since a token may be made in
    /// anybody's name, and what needs no role.
    pub(crate) fn is_grantable(&self) -> bool {
        let needs_none = |group: &Group| matches!(group, Group::Member | Group::AnyRole);
        self.of == Of::Tenant
            && self.name != MintToken::NAME
            && self
                .groups
                .iter()
                .any(|group| !needs_none(group) && !matches!(group, Group::PlatformAdmin | Group::Worker))
    }
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $type:ident = $name:literal, $reach:ty, [$($group:ident),+], $audited:ident;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug)]
            pub enum $type {}
            impl Action for $type {
                type Reach = $reach;
                const NAME: &'static str = $name;
                const GROUPS: &'static [Group] = &[$(Group::$group),+];
                const AUDITED: Audited = Audited::$audited;
            }
        )*

        /// Every action.
        pub(crate) const ALL: &[ActionInfo] = &[$(ActionInfo {
            name: $name,
            says: concat!($($doc),*),
            groups: &[$(Group::$group),+],
            of: <$reach as Reach>::OF,
        }),*];
    };
}

actions! {
    /// Make a tenant.
    CreateTenant = "tenants.create", Platform, [PlatformAdmin], Always;
    /// See which tenants there are.
    ListTenants = "tenants.list", Platform, [PlatformAdmin], Always;
    /// Delete a tenant with everything it has.
    DeleteTenant = "tenants.delete", TenantScope, [PlatformAdmin], Always;
    /// See one tenant and the names of its projects.
    ReadTenant = "tenants.read", TenantScope, [Member, PlatformAdmin], Always;
    /// Change a tenant's plan, limits of its own, and the name that it is shown by.
    UpdateTenant = "tenants.update", TenantScope, [PlatformAdmin], Always;
    /// Suspend a tenant.
    SuspendTenant = "tenants.suspend", TenantScope, [PlatformAdmin], Always;
    /// Let a suspended tenant go on.
    ResumeTenant = "tenants.resume", TenantScope, [PlatformAdmin], Always;
    /// Fetch everything of a tenant.
    ExportTenant = "tenants.export", TenantScope, [TenantAdmin], Always;
    /// See which plans there are.
    ListPlans = "plans.list", Platform, [PlatformAdmin], Always;
    /// Make or change a plan.
    WritePlan = "plans.write", Platform, [PlatformAdmin], Always;
    /// Delete a plan.
    DeletePlan = "plans.delete", Platform, [PlatformAdmin], Always;
    /// See a tenant's limits, and how much of them is used.
    ReadLimits = "limits.read", TenantScope, [Member, PlatformAdmin], Always;
    /// See how far erasures are, and their reports.
    ReadErasures = "erasures.read", Platform, [PlatformAdmin], Always;
    /// See what pipelines have used.
    ReadUsage = "usage.read", TenantScope, [Viewer], Always;
    /// See what each tenant has used.
    ReadBill = "bill.read", Platform, [PlatformAdmin], Always;
    /// Make a token for one's own tenant.
    MintToken = "tokens.mint", TenantScope, [TenantAdmin], Always;
    /// Read the tenant's audit.
    ReadAudit = "audit.read", TenantScope, [Auditor], Always;
    /// Say into which topic of the tenant's its audit goes.
    SetAuditTopic = "audit.topic", TenantScope, [TenantAdmin], Always;
    /// Read the platform's own audit.
    ReadPlatformAudit = "platform-audit.read", Platform, [PlatformAdmin], Always;
    /// See which projects there are, as far as one has a role on them.
    ListProjects = "projects.list", TenantScope, [Member], Always;
    /// See a project.
    ReadProjects = "projects.read", TenantScope, [Viewer], Always;
    /// Make a project.
    CreateProject = "projects.create", TenantScope, [Developer], Always;
    /// Delete an empty project.
    DeleteProject = "projects.delete", TenantScope, [Developer], Always;
    /// See modules.
    ReadModules = "modules.read", TenantScope, [Viewer], Always;
    /// Upload a module.
    WriteModules = "modules.write", TenantScope, [Developer], Always;
    /// Delete modules.
    DeleteModules = "modules.delete", TenantScope, [Developer], Always;
    /// Point a tag at a module that is there, or take it away.
    TagModules = "modules.tag", TenantScope, [Developer], Always;
    /// See pipelines and how they fare.
    ReadPipelines = "pipelines.read", TenantScope, [Viewer], Always;
    /// See what applying a manifest, or going back to a revision, would do.
    PlanPipeline = "pipelines.plan", TenantScope, [Developer], Always;
    /// Apply a manifest, or go back to a revision.
    ApplyPipeline = "pipelines.apply", TenantScope, [Developer], Always;
    /// Pause or resume a pipeline.
    PausePipeline = "pipelines.pause", TenantScope, [Operator], Always;
    /// Delete a pipeline and its positions.
    DeletePipeline = "pipelines.delete", TenantScope, [Developer], Always;
    /// See topics.
    ReadTopics = "topics.read", TenantScope, [Viewer], Always;
    /// Make a topic.
    CreateTopic = "topics.create", TenantScope, [Developer], Always;
    /// Delete a topic with everything in it.
    DeleteTopic = "topics.delete", TenantScope, [Developer], Always;
    /// Write records to a topic.
    ProduceRecords = "records.produce", TenantScope, [Developer], Always;
    /// Read records of a topic.
    ReadRecords = "records.read", TenantScope, [Viewer], Always;
    /// Send a request again under its key. What the request does is asked for beside this.
    RepeatRequest = "requests.repeat", TenantScope, [AnyRole, Member], Denials;
    /// See dead letters, their records included.
    ReadDeadLetters = "dead-letters.read", TenantScope, [Viewer], Always;
    /// Fetch a dead letter with the settings of its pipeline.
    BundleDeadLetter = "dead-letters.bundle", TenantScope, [Developer], Always;
    /// Send the record of a dead letter to its pipeline again.
    ReplayDeadLetter = "dead-letters.replay", TenantScope, [Operator], Always;
    /// Put a dead letter away.
    DropDeadLetter = "dead-letters.drop", TenantScope, [Operator], Always;
    /// Fetch the bytes of a module.
    DownloadModule = "modules.download", TenantScope, [Developer], Always;
    /// Know that a tenant or a project is there. Asked by the policy itself: who may not is answered 404.
    See = "access.see", TenantScope, [AnyRole, Member], Denials;
    /// Ask why a request of one's own was or would be allowed.
    ExplainOwnAccess = "access.explain-own", TenantScope, [Member], Always;
    /// Ask the same for somebody else.
    ExplainAccess = "access.explain", TenantScope, [Auditor], Always;
    /// See who has which role, and what each role may do.
    ReadAccess = "access.read", TenantScope, [Auditor], Always;
    /// Bind a role to somebody, or take it back: none that may more than oneself.
    GrantAccess = "access.grant", TenantScope, [TenantAdmin], Always;
    /// Make, change and delete roles of one's own tenant: none that may more than oneself.
    DefineRoles = "access.define", TenantScope, [TenantAdmin], Always;
    /// Read the logs of pipelines.
    ReadLogs = "logs.read", TenantScope, [Viewer], Always;
    /// See config entries with their values.
    ReadConfig = "config.read", TenantScope, [Viewer], Always;
    /// Set a config entry.
    WriteConfig = "config.write", TenantScope, [Developer], Always;
    /// Delete a config entry.
    DeleteConfig = "config.delete", TenantScope, [Developer], Always;
    /// See which secrets there are, without their values.
    ReadSecrets = "secrets.read", TenantScope, [Viewer], Always;
    /// Set a secret.
    WriteSecret = "secrets.write", TenantScope, [Developer], Always;
    /// Delete a secret.
    DeleteSecret = "secrets.delete", TenantScope, [Developer], Always;
    /// See which versions of the tenant's key there are.
    ReadKeys = "keys.read", TenantScope, [TenantAdmin], Always;
    /// Make a new version of the tenant's key.
    RotateKey = "keys.rotate", TenantScope, [TenantAdmin], Always;
    /// Give a worker the values of the secrets that a pipeline is granted.
    LendSecrets = "workers.secrets", TenantScope, [Worker], Always;
    /// Fetch what to run.
    FetchAssignment = "workers.assignment", Fleet, [Worker], Denials;
    /// Say how pipelines fare.
    SendReport = "workers.report", Fleet, [Worker], Denials;
    /// Hand over the lines of tenants' stages.
    SendLogs = "workers.logs", Fleet, [Worker], Denials;
    /// Fetch the bytes of a tenant's module.
    FetchModule = "workers.module", TenantScope, [Worker], Always;
}
