//! Everything that can be done through the API, each a type: what it reaches, who may, and whether each use is written down.
//!
//! Must never: hold an action that reads a tenant's data and that a platform admin may do.

use super::{Fleet, Platform, Reach};
use crate::token::Role;
use bulkhead_core::scope::TenantScope;

/// Which uses of an action are kept in the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// Each, allowed or denied.
    Always,
    /// Only those denied: for what workers do every second.
    Denials,
}

/// Something that can be done.
pub trait Action: Send + Sync + 'static {
    /// What it reaches.
    type Reach: Reach;
    /// Its name in the audit and in messages.
    const NAME: &'static str;
    /// One of these is needed.
    const ROLES: &'static [Role];
    /// What is kept.
    const AUDITED: Audited;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $reach:ty, [$($role:ident),+], $audited:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $type {}
            impl Action for $type {
                type Reach = $reach;
                const NAME: &'static str = $name;
                const ROLES: &'static [Role] = &[$(Role::$role),+];
                const AUDITED: Audited = Audited::$audited;
            }
        )*
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
    ReadTenant = "tenants.read", TenantScope, [Viewer, PlatformAdmin], Always;
    /// Make a token for one's own tenant.
    MintToken = "tokens.mint", TenantScope, [TenantAdmin], Always;
    /// Read the tenant's audit.
    ReadAudit = "audit.read", TenantScope, [TenantAdmin], Always;
    /// Say into which topic of the tenant's its audit goes.
    SetAuditTopic = "audit.topic", TenantScope, [TenantAdmin], Always;
    /// Read the platform's own audit.
    ReadPlatformAudit = "platform-audit.read", Platform, [PlatformAdmin], Always;
    /// See projects.
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
    PausePipeline = "pipelines.pause", TenantScope, [Developer], Always;
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
    RepeatRequest = "requests.repeat", TenantScope, [Viewer], Denials;
    /// See dead letters, their records included.
    ReadDeadLetters = "dead-letters.read", TenantScope, [Viewer], Always;
    /// Fetch a dead letter with the settings of its pipeline.
    BundleDeadLetter = "dead-letters.bundle", TenantScope, [Developer], Always;
    /// Send the record of a dead letter to its pipeline again.
    ReplayDeadLetter = "dead-letters.replay", TenantScope, [Developer], Always;
    /// Put a dead letter away.
    DropDeadLetter = "dead-letters.drop", TenantScope, [Developer], Always;
    /// Fetch the bytes of a module.
    DownloadModule = "modules.download", TenantScope, [Developer], Always;
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
