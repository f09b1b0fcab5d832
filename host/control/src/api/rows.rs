//! The rows of the table of routes, by area. How to add one is told in [`super::routes`].
//!
//! Must never: leave a row without words.

use super::audit::{AuditParams, CheckpointsView, LineView, TopicForm, TopicStateView};
use super::deploy::{Back, DeployParams, DeployedView, DiffParams, DiffView, PlanView};
use super::entries::{ConfigView, EntriesParams, EntryParams, SecretView};
use super::erasures::ErasureView;
use super::export::ExportParams;
use super::extract::ListParams;
use super::keys::KeyView;
use super::limits::LimitView;
use super::lives::{Suspension, TenantChange};
use super::modules::{ModuleView, NameView};
use super::pipelines::PipelineView;
use super::plans::{NewPlan, PlanEntry};
use super::projects::{NewProject, ProjectView};
use super::revisions::RevisionView;
use super::routes::{Access, Route, Time, row};
use super::stages::StageView;
use super::tags::{Pointed, TagView};
use super::tenants::{NewTenant, TenantView};
use super::tokens::{MintedView, Wanted};
use super::top::{TenantsView, TopView};
use super::topics::{Force, ListedTopic, NewTopicForm, TopicView};
use super::upload::{Tag, UploadView};
use super::usage::{BillParams, BillView, UsageParams, UsageView};
use super::whoami::WhoView;
use super::worker::Poll;
use super::{
    audit, dead_letters, deploy, entries, erasures, export, health, keys, lend, limits, lives, login, logs, modules,
    openapi, pages, pipelines, plans, projects, records, revisions, stages, tags, tenants, tokens, top, topics, upload,
    usage, uses, whoami, worker,
};
use crate::store::UseRow;
use crate::token::Role;
use axum::routing::{delete, get, patch, post, put};

const VIEWER: Access = Access::Tenant(Role::Viewer);
const OPERATOR: Access = Access::Tenant(Role::Operator);
const DEVELOPER: Access = Access::Tenant(Role::Developer);
const ADMIN: Access = Access::Tenant(Role::TenantAdmin);
const AUDITOR: Access = Access::Tenant(Role::Auditor);

const DONE: &str = "It is gone.";
const MANIFEST: &str = "application/yaml";
const EVENTS: &str = "text/event-stream";

pub(super) fn server() -> Vec<Route> {
    const ERROR: &str = "/api/v1/errors/{code}";
    const MARKDOWN: &str = "text/markdown; charset=utf-8";
    const PLAIN: &str = "text/plain; charset=utf-8";
    vec![
        row("GET", "/livez", Access::Public, Time::Request, get(health::livez))
            .says("Whether the process lives")
            .gives_other(200, PLAIN, "It does."),
        row("GET", "/readyz", Access::Public, Time::Request, get(health::readyz))
            .says("Whether the process should get requests")
            .gives_other(200, PLAIN, "It should."),
        row("GET", "/.well-known/jwks.json", Access::Public, Time::Request, get(tokens::key_set))
            .says("The public key that checks this server's tokens")
            .gives::<serde_json::Value>(200, "A JSON Web Key Set."),
        row("GET", ERROR, Access::Public, Time::Request, get(pages::page))
            .says("The page that explains an error code")
            .gives_other(200, MARKDOWN, "What it means, and what to do."),
        row("GET", "/api/v1/openapi.json", Access::Public, Time::Request, get(openapi::json))
            .says("This description")
            .gives::<serde_json::Value>(200, "OpenAPI 3.1."),
        row("GET", "/api/v1/docs", Access::Public, Time::Request, get(openapi::viewer))
            .says("This description as a page")
            .gives_other(200, "text/html; charset=utf-8", "The page."),
        row("GET", "/api/v1/login", Access::Public, Time::Request, get(login::login))
            .says("Where to get a token")
            .gives::<login::LoginView>(200, "The identity provider, if there is one."),
        row("GET", "/api/v1/whoami", Access::AnyToken, Time::Request, get(whoami::whoami))
            .says("Who the token is")
            .gives::<WhoView>(200, "What the token says."),
    ]
}

pub(super) fn tenants() -> Vec<Route> {
    const TENANTS: &str = "/api/v1/tenants";
    const TENANT: &str = "/api/v1/tenants/{tenant}";
    const TOKENS: &str = "/api/v1/tenants/{tenant}/tokens";
    vec![
        row("GET", TENANTS, Access::Platform, Time::Request, get(tenants::list))
            .says("List tenants")
            .asks::<ListParams>()
            .gives_page::<TenantView>("Tenants by name."),
        row("POST", TENANTS, Access::Platform, Time::Request, post(tenants::create))
            .says("Make a tenant")
            .takes::<NewTenant>()
            .gives::<TenantView>(201, "It is made, with the project `default`."),
        row("GET", TENANT, Access::MemberOrPlatform, Time::Request, get(tenants::one))
            .says("See a tenant")
            .gives::<TenantView>(200, "The tenant and its projects.")
            .tagged(),
        row("DELETE", TENANT, Access::Platform, Time::Request, delete(tenants::delete))
            .says("Delete a tenant with everything it has")
            .gives::<ErasureView>(200, "It is gone, and everything was looked for and not found.")
            .gives::<ErasureView>(202, "It is gone; what it has in the log, in buckets and on workers follows."),
        row("POST", TOKENS, ADMIN, Time::Request, post(tokens::mint))
            .says("Make a token for one's own tenant")
            .takes::<Wanted>()
            .gives::<MintedView>(201, "The token. It is shown this once."),
    ]
}

/// What stages did with their grants.
pub(super) fn uses() -> Vec<Route> {
    const USES: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/uses";
    vec![
        row("GET", USES, VIEWER, Time::Request, get(uses::list))
            .says("See which grants the stages of a pipeline have used, and how often")
            .gives_page::<UseRow>("Uses, those of the newest revision first."),
    ]
}

/// What was used, and the bill.
pub(super) fn usage() -> Vec<Route> {
    const USAGE: &str = "/api/v1/tenants/{tenant}/usage";
    const BILL: &str = "/api/v1/usage";
    const TOP: &str = "/api/v1/tenants/{tenant}/top";
    const ALL_TOP: &str = "/api/v1/top";
    vec![
        row("GET", USAGE, VIEWER, Time::Request, get(usage::usage))
            .says("See what the tenant has used")
            .asks::<UsageParams>()
            .gives::<UsageView>(200, "Figures of committed work by whole hours (UTC), counted some seconds after it.")
            .gives_other(200, usage::CSV, "With `Accept: text/csv`: the lines for a spreadsheet.")
            .gives_other(
                200,
                usage::PARQUET,
                "With `Accept: application/vnd.apache.parquet`: the same for data frames.",
            ),
        row("GET", BILL, Access::Platform, Time::Request, get(usage::bill))
            .says("See what each tenant has used")
            .asks::<BillParams>()
            .gives::<BillView>(200, "Sums by tenant."),
        row("GET", TOP, VIEWER, Time::Request, get(top::tenant))
            .says("See what the tenant's pipelines do at the moment")
            .gives::<TopView>(200, "Rates of the last five to ten seconds, as workers report; what burns most first."),
        row("GET", ALL_TOP, Access::Platform, Time::Request, get(top::tenants))
            .says("See what each tenant does at the moment")
            .gives::<TenantsView>(200, "Sums by tenant, what burns most first."),
    ]
}

/// Who did what: a tenant's chain, and the platform's.
pub(super) fn audits() -> Vec<Route> {
    const AUDIT: &str = "/api/v1/tenants/{tenant}/audit";
    const CHECKPOINTS: &str = "/api/v1/tenants/{tenant}/audit/checkpoints";
    const TOPIC: &str = "/api/v1/tenants/{tenant}/audit/topic";
    const PLATFORM: &str = "/api/v1/audit";
    const PLATFORM_CHECKPOINTS: &str = "/api/v1/audit/checkpoints";
    const LINES: &str = "Who did what or tried to, newest first.";
    const WHOLE: &str = "With `Accept: application/x-ndjson`: all lines, the oldest first, then the checkpoints.";
    vec![
        row("GET", AUDIT, AUDITOR, Time::Request, get(audit::list))
            .says("Search the audit, or export it whole")
            .asks::<AuditParams>()
            .gives_page::<LineView>(LINES)
            .gives_other(200, audit::NDJSON, WHOLE),
        row("GET", CHECKPOINTS, AUDITOR, Time::Request, get(audit::checkpoints))
            .says("See the signed checkpoints of the audit")
            .gives::<CheckpointsView>(200, "Checkpoints, and the end of the chain now."),
        row("GET", TOPIC, AUDITOR, Time::Request, get(audit::state))
            .says("See into which topic the audit goes")
            .gives::<TopicStateView>(200, "The topic, and how far the lines are there."),
        row("PUT", TOPIC, ADMIN, Time::Request, put(audit::set))
            .says("Let the audit go into a topic of the tenant's, from its oldest line on")
            .takes::<TopicForm>()
            .gives::<TopicStateView>(200, "Lines follow in order, each at least once."),
        row("DELETE", TOPIC, ADMIN, Time::Request, delete(audit::off))
            .says("Let no more of the audit go into a topic")
            .gives_nothing(204, "What is in the topic stays."),
        row("GET", PLATFORM, Access::Platform, Time::Request, get(audit::list_platform))
            .says("Search the platform's own audit, or export it whole")
            .asks::<AuditParams>()
            .gives_page::<LineView>(LINES)
            .gives_other(200, audit::NDJSON, WHOLE),
        row("GET", PLATFORM_CHECKPOINTS, Access::Platform, Time::Request, get(audit::platform_checkpoints))
            .says("See the signed checkpoints of the platform's own audit")
            .gives::<CheckpointsView>(200, "Checkpoints, and the end of the chain now."),
    ]
}

/// A tenant's life, as the platform rules it.
pub(super) fn lives() -> Vec<Route> {
    const TENANT: &str = "/api/v1/tenants/{tenant}";
    const SUSPEND: &str = "/api/v1/tenants/{tenant}/suspend";
    const RESUME: &str = "/api/v1/tenants/{tenant}/resume";
    const EXPORT: &str = "/api/v1/tenants/{tenant}/export";
    vec![
        row("PATCH", TENANT, Access::Platform, Time::Request, patch(lives::update))
            .says("Change a tenant's plan, limits of its own, or the name that it is shown by")
            .conditional()
            .takes::<TenantChange>()
            .gives::<TenantView>(200, "The tenant.")
            .tagged(),
        row("POST", SUSPEND, Access::Platform, Time::Request, post(lives::suspend))
            .says("Stop a tenant's stages and refuse it everything but reading; it keeps what it has")
            .conditional()
            .takes::<Suspension>()
            .gives::<TenantView>(200, "The tenant.")
            .tagged(),
        row("POST", RESUME, Access::Platform, Time::Request, post(lives::resume))
            .says("Let a suspended tenant go on from where it was")
            .conditional()
            .gives::<TenantView>(200, "The tenant.")
            .tagged(),
        row("GET", EXPORT, ADMIN, Time::Own, get(export::export))
            .says("Fetch everything of a tenant")
            .asks::<ExportParams>()
            .gives_other(
                200,
                "application/x-ndjson",
                "One JSON object a line; the last one counts and signs off the others.",
            ),
        row("GET", "/api/v1/erasures", Access::Platform, Time::Request, get(erasures::list))
            .says("List erasures of tenants")
            .asks::<ListParams>()
            .gives_page::<ErasureView>("Erasures, newest first."),
        row("GET", "/api/v1/erasures/{erasure}", Access::Platform, Time::Request, get(erasures::one))
            .says("See how far an erasure is, with its signed report")
            .gives::<ErasureView>(200, "The erasure."),
    ]
}

/// Plans, and how much of its limits a tenant uses.
pub(super) fn limits() -> Vec<Route> {
    const PLAN: &str = "/api/v1/plans/{plan}";
    const LIMITS: &str = "/api/v1/tenants/{tenant}/limits";
    vec![
        row("GET", "/api/v1/plans", Access::Platform, Time::Request, get(plans::list))
            .says("List plans with what they allow")
            .gives_page::<PlanEntry>("All of them."),
        row("GET", PLAN, Access::Platform, Time::Request, get(plans::one))
            .says("See a plan")
            .gives::<PlanEntry>(200, "The plan.")
            .tagged(),
        row("PUT", PLAN, Access::Platform, Time::Request, put(plans::put))
            .says("Make or change a plan; it holds from the next request on, and for workers within seconds")
            .conditional()
            .takes::<NewPlan>()
            .gives::<PlanEntry>(200, "It is changed.")
            .gives::<PlanEntry>(201, "It is new.")
            .tagged(),
        row("DELETE", PLAN, Access::Platform, Time::Request, delete(plans::delete))
            .says("Delete a plan that no tenant has")
            .conditional()
            .gives_nothing(204, DONE),
        row("GET", LIMITS, Access::MemberOrPlatform, Time::Request, get(limits::list))
            .says("See a tenant's limits, each with how much of it is used")
            .gives_page::<LimitView>("All of them, by name."),
    ]
}

pub(super) fn projects() -> Vec<Route> {
    const PROJECTS: &str = "/api/v1/tenants/{tenant}/projects";
    const PROJECT: &str = "/api/v1/tenants/{tenant}/projects/{project}";
    vec![
        row("GET", PROJECTS, Access::Member, Time::Request, get(projects::list))
            .says("List projects")
            .asks::<ListParams>()
            .gives_page::<ProjectView>(
                "Projects by name, each after the one that it lies in; those that the caller may see.",
            ),
        row("POST", PROJECTS, DEVELOPER, Time::Request, post(projects::create))
            .says("Make a project, in the one that its name says")
            .once()
            .takes::<NewProject>()
            .gives::<ProjectView>(201, "It is made.")
            .tagged(),
        row("GET", PROJECT, VIEWER, Time::Request, get(projects::one))
            .says("See a project")
            .gives::<ProjectView>(200, "The project.")
            .tagged(),
        row("DELETE", PROJECT, DEVELOPER, Time::Request, delete(projects::delete))
            .says("Delete an empty project")
            .once()
            .conditional()
            .gives_nothing(204, DONE),
    ]
}

pub(super) fn entries() -> Vec<Route> {
    const CONFIGS: &str = "/api/v1/tenants/{tenant}/projects/{project}/config";
    const CONFIG: &str = "/api/v1/tenants/{tenant}/projects/{project}/config/{name}";
    const SECRETS: &str = "/api/v1/tenants/{tenant}/projects/{project}/secrets";
    const SECRET: &str = "/api/v1/tenants/{tenant}/projects/{project}/secrets/{name}";
    const KEYS: &str = "/api/v1/tenants/{tenant}/keys";
    const ROTATE: &str = "/api/v1/tenants/{tenant}/keys/rotate";
    const LENT: &str = "/internal/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/secrets";
    vec![
        row("GET", CONFIGS, VIEWER, Time::Request, get(entries::list_config))
            .says("List config entries with their values")
            .asks::<EntriesParams>()
            .gives_page::<ConfigView>("Config entries by name."),
        row("GET", CONFIG, VIEWER, Time::Request, get(entries::config))
            .says("See a config entry")
            .asks::<EntryParams>()
            .gives::<ConfigView>(200, "The entry with its value.")
            .tagged(),
        row("PUT", CONFIG, DEVELOPER, Time::Request, put(entries::put_config))
            .says("Set a config entry; pipelines take it when they are applied next")
            .once()
            .conditional()
            .takes::<serde_json::Value>()
            .gives::<ConfigView>(201, "The entry is new.")
            .gives::<ConfigView>(200, "It has this value now, or had it.")
            .tagged(),
        row("DELETE", CONFIG, DEVELOPER, Time::Request, delete(entries::delete_config))
            .says("Delete a config entry; what runs stays as it is")
            .once()
            .conditional()
            .gives_nothing(204, DONE),
        row("GET", SECRETS, VIEWER, Time::Request, get(entries::list_secrets))
            .says("List secrets, without their values")
            .asks::<EntriesParams>()
            .gives_page::<SecretView>("Secrets by name."),
        row("GET", SECRET, VIEWER, Time::Request, get(entries::secret))
            .says("See that a secret is there, without its value")
            .asks::<EntryParams>()
            .gives::<SecretView>(200, "The secret without its value.")
            .tagged(),
        row("PUT", SECRET, DEVELOPER, Time::Request, put(entries::put_secret))
            .says("Set a secret; pipelines that run go on with the new value")
            .once()
            .conditional()
            .takes_other("application/octet-stream", "The value: the bytes as they are, at most 64 KiB.")
            .gives::<SecretView>(201, "The secret is new.")
            .gives::<SecretView>(200, "It has this value now, or had it.")
            .tagged(),
        row("DELETE", SECRET, DEVELOPER, Time::Request, delete(entries::delete_secret))
            .says("Delete a secret that no pipeline needs")
            .once()
            .conditional()
            .gives_nothing(204, DONE),
        row("GET", KEYS, ADMIN, Time::Request, get(keys::list))
            .says("See which versions of the tenant's key there are")
            .gives_page::<KeyView>("Versions, oldest first."),
        row("POST", ROTATE, ADMIN, Time::Request, post(keys::rotate))
            .says("Make a new version of the tenant's key, and seal config and secrets under it")
            .once()
            .gives_page::<KeyView>("Versions, oldest first."),
        row("GET", LENT, Access::Worker, Time::Request, get(lend::secrets))
            .says("The values of the secrets that a pipeline is granted")
            .gives::<serde_json::Value>(200, "Values in hex, with their stamps."),
    ]
}

pub(super) fn modules() -> Vec<Route> {
    const MODULES: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules";
    const MODULE: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}";
    const TAGS: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}/tags";
    const TAG: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}/tags/{tag}";
    vec![
        row("GET", MODULES, VIEWER, Time::Request, get(modules::list))
            .says("List modules")
            .asks::<ListParams>()
            .gives_page::<ModuleView>("Modules by digest."),
        row("GET", MODULE, VIEWER, Time::Request, get(modules::one))
            .says("See a module by its digest, or what each tag of a name points at")
            .gives_either::<ModuleView, NameView>(200, "The module, or the name with its tags."),
        row("PUT", MODULE, DEVELOPER, Time::Own, put(upload::put))
            .says("Upload a module and point a tag of this name at it; the same bytes again change nothing")
            .asks::<Tag>()
            .header("Repr-Digest", "`sha-256=:BASE64:` of the bytes; an upload that differs is refused.")
            .takes_other("application/wasm", "The component's bytes.")
            .or_takes("application/octet-stream")
            .gives::<UploadView>(201, "The module is new to the project.")
            .gives::<UploadView>(200, "The project had it; the tag points at it now."),
        row("DELETE", MODULE, DEVELOPER, Time::Request, delete(modules::delete))
            .says("Delete a module, or a name with the modules that only it pointed at; none that a pipeline runs")
            .once()
            .gives_nothing(204, DONE),
        row("GET", TAGS, VIEWER, Time::Request, get(tags::list))
            .says("List the tags of a name")
            .asks::<ListParams>()
            .gives_page::<TagView>("Tags by name."),
        row("GET", TAG, VIEWER, Time::Request, get(tags::one))
            .says("See what a tag points at")
            .gives::<TagView>(200, "The tag.")
            .tagged(),
        row("PUT", TAG, DEVELOPER, Time::Request, put(tags::put))
            .says("Point a tag at a module of the project; what runs stays as it is")
            .once()
            .conditional()
            .takes::<Pointed>()
            .gives::<TagView>(201, "The tag is new.")
            .gives::<TagView>(200, "The tag was moved.")
            .tagged(),
        row("DELETE", TAG, DEVELOPER, Time::Request, delete(tags::delete))
            .says("Take a tag away; its module stays")
            .once()
            .conditional()
            .gives_nothing(204, DONE),
    ]
}

const PIPELINE: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}";

pub(super) fn pipelines() -> Vec<Route> {
    const PIPELINES: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines";
    const PAUSE: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/pause";
    const RESUME: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/resume";
    const STAGES: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/stages";
    vec![
        row("GET", PIPELINES, VIEWER, Time::Request, get(pipelines::list))
            .says("List pipelines and how they fare")
            .asks::<ListParams>()
            .gives_page::<PipelineView>("Pipelines by name, without their manifests."),
        row("GET", PIPELINE, VIEWER, Time::Request, get(pipelines::one))
            .says("See a pipeline and how it fares")
            .gives::<PipelineView>(200, "The pipeline.")
            .tagged(),
        row("PUT", PIPELINE, DEVELOPER, Time::Request, put(deploy::apply))
            .says("Apply a manifest, or see what that would change")
            .once()
            .conditional()
            .asks::<DeployParams>()
            .takes_other(MANIFEST, "A manifest, as YAML or JSON; `name` as in the path.")
            .gives::<DeployedView>(201, "The pipeline is made.")
            .gives_either::<DeployedView, PlanView>(
                200,
                "It has a new revision, or means what it meant; or what would change.",
            )
            .tagged(),
        row("DELETE", PIPELINE, DEVELOPER, Time::Request, delete(pipelines::delete))
            .says("Delete a pipeline and its positions")
            .once()
            .conditional()
            .gives_nothing(204, DONE)
            .gives_nothing(202, "It is gone as soon as its workers have let go of its positions."),
        row("POST", PAUSE, OPERATOR, Time::Request, post(pipelines::pause))
            .says("Pause a pipeline; it keeps its positions")
            .once()
            .conditional()
            .gives::<PipelineView>(200, "The pipeline.")
            .tagged(),
        row("POST", RESUME, OPERATOR, Time::Request, post(pipelines::resume))
            .says("Let a paused pipeline run on")
            .once()
            .conditional()
            .gives::<PipelineView>(200, "The pipeline.")
            .tagged(),
        row("GET", STAGES, VIEWER, Time::Request, get(stages::list))
            .says("See what each stage does")
            .gives_page::<StageView>("Stages in running order, since the start of the workers that run them now."),
    ]
}

pub(super) fn revisions() -> Vec<Route> {
    const REVISIONS: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/revisions";
    const REVISION: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/revisions/{revision}";
    const ROLLBACK: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/rollback";
    const DIFF: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/diff";
    vec![
        row("GET", REVISIONS, VIEWER, Time::Request, get(revisions::list))
            .says("List what was applied")
            .asks::<ListParams>()
            .gives_page::<RevisionView>("Revisions, newest first, without their manifests."),
        row("GET", REVISION, VIEWER, Time::Request, get(revisions::one))
            .says("See a revision with its manifest as applied")
            .gives::<RevisionView>(200, "The revision."),
        row("POST", ROLLBACK, DEVELOPER, Time::Request, post(deploy::rollback))
            .says("Run what a revision ran, with the modules of its time, as a new revision")
            .once()
            .conditional()
            .asks::<DeployParams>()
            .takes::<Back>()
            .gives_either::<DeployedView, PlanView>(200, "The pipeline; or what would change.")
            .tagged(),
        row("POST", DIFF, VIEWER, Time::Request, post(deploy::diff))
            .says("Compare a manifest, or a revision, with what runs or another revision")
            .asks::<DiffParams>()
            .takes_other(MANIFEST, "A manifest; empty where `to` names a revision.")
            .gives::<DiffView>(200, "What differs."),
    ]
}

pub(super) fn topics() -> Vec<Route> {
    const TOPICS: &str = "/api/v1/tenants/{tenant}/topics";
    const TOPIC: &str = "/api/v1/tenants/{tenant}/topics/{topic}";
    const RECORDS: &str = "/api/v1/tenants/{tenant}/topics/{topic}/records";
    vec![
        row("GET", TOPICS, VIEWER, Time::Request, get(topics::list))
            .says("List topics")
            .asks::<ListParams>()
            .gives_page::<ListedTopic>("Topics by name."),
        row("POST", TOPICS, DEVELOPER, Time::Request, post(topics::create))
            .says("Make a topic")
            .once()
            .takes::<NewTopicForm>()
            .gives::<TopicView>(201, "It is made."),
        row("GET", TOPIC, VIEWER, Time::Request, get(topics::one))
            .says("See a topic")
            .gives::<TopicView>(200, "The topic."),
        row("DELETE", TOPIC, DEVELOPER, Time::Request, delete(topics::delete))
            .says("Delete a topic with everything in it")
            .once()
            .asks::<Force>()
            .gives_nothing(204, DONE),
        row("GET", RECORDS, VIEWER, Time::Request, get(records::read))
            .says("Read records of a topic, or follow it")
            .query("partition", "Which partition; by default 0, and all of them in a stream.")
            .query("from", "`earliest`, `latest`, `offset:N` or `time:` and an RFC 3339 time; `earliest` unasked.")
            .query("limit", "Records at most; not of a stream.")
            .query("waitMs", "How long to wait for the first; not of a stream.")
            .header("Last-Event-ID", "Where a stream is to go on: the id of the last event that came.")
            .gives::<serde_json::Value>(200, "Records, and the position to go on from.")
            .gives_other(200, EVENTS, "With `Accept: text/event-stream`: records as they come."),
        row("POST", RECORDS, DEVELOPER, Time::Own, post(records::produce))
            .says("Write records to a topic")
            .takes_other("application/x-ndjson", "A JSON object for each record, one a line.")
            .takes_other("application/json", "One such object, or an array of them: written all or none.")
            .takes_other("application/octet-stream", "One value; the rest in `Bulkhead-…` headers.")
            .gives::<serde_json::Value>(200, "How many were accepted."),
    ]
}

/// What tells a developer how a pipeline fares with its records.
pub(super) fn evidence() -> Vec<Route> {
    const LETTERS: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters";
    const LETTER: &str = "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}";
    const BUNDLE: &str =
        "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}/bundle";
    const REPLAY: &str =
        "/api/v1/tenants/{tenant}/projects/{project}/pipelines/{pipeline}/dead-letters/{letter}/replay";
    const CONTENT: &str = "/api/v1/tenants/{tenant}/projects/{project}/modules/{module}/content";
    const LOGS: &str = "/api/v1/tenants/{tenant}/projects/{project}/logs";
    vec![
        row("GET", LETTERS, VIEWER, Time::Request, get(dead_letters::list))
            .says("List dead letters of a pipeline")
            .query("after", "`next` of the page before.")
            .query("limit", "Dead letters at most.")
            .query("partition", "Only those of this partition of the dead-letter topic.")
            .gives_page::<serde_json::Value>("Dead letters by partition and offset, without their records."),
        row("GET", LETTER, VIEWER, Time::Request, get(dead_letters::one))
            .says("See a dead letter with its record")
            .gives::<serde_json::Value>(200, "The dead letter."),
        row("DELETE", LETTER, OPERATOR, Time::Request, delete(dead_letters::drop_letter))
            .says("Put a dead letter away; its record stays in the dead-letter topic")
            .gives_nothing(204, DONE),
        row("GET", BUNDLE, DEVELOPER, Time::Request, get(dead_letters::bundle))
            .says("Fetch what another machine needs to come to the same verdict")
            .gives::<serde_json::Value>(200, "The record, the pipeline as it ran, and the verdict."),
        row("POST", REPLAY, OPERATOR, Time::Request, post(dead_letters::replay))
            .says("Send the record of a dead letter through its pipeline again")
            .query("again", "`true` for one that was replayed before.")
            .gives::<serde_json::Value>(200, "It is on its way."),
        row("GET", CONTENT, DEVELOPER, Time::Request, get(modules::content))
            .says("Fetch a module's bytes by its digest")
            .gives_other(200, "application/wasm", "The component."),
        row("GET", LOGS, VIEWER, Time::Request, get(logs::read))
            .says("Search the lines of a project's pipelines, or follow them")
            .query("pipeline", "Only of this pipeline.")
            .query("stage", "Only of this stage.")
            .query("level", "At least this: trace, debug, info, warn or error.")
            .query("since", "From this time on.")
            .query("until", "Before this time.")
            .query("limit", "Lines at most; not of a stream.")
            .query("after", "`next` of the page before.")
            .header("Last-Event-ID", "Where a stream is to go on: the id of the last event that came.")
            .gives_page::<serde_json::Value>("Lines, the oldest first.")
            .gives_other(200, EVENTS, "With `Accept: text/event-stream`: lines as they come."),
    ]
}

pub(super) fn workers() -> Vec<Route> {
    const MODULE: &str = "/internal/v1/modules/{tenant}/{digest}";
    vec![
        row("GET", "/internal/v1/assignment", Access::Worker, Time::Own, get(worker::assignment))
            .says("What to run")
            .asks::<Poll>()
            .gives::<serde_json::Value>(200, "The assignment.")
            .gives_nothing(304, "It is the one that the worker knows."),
        row("POST", "/internal/v1/report", Access::Worker, Time::Request, post(worker::report))
            .says("How it goes")
            .takes::<serde_json::Value>()
            .gives::<serde_json::Value>(200, "It was heard: the part of tenants' rates that this worker may use.")
            .gives_nothing(204, "It was heard; this worker may use all of them."),
        row("POST", "/internal/v1/logs", Access::Worker, Time::Request, post(logs::take))
            .says("Lines of stages")
            .takes::<serde_json::Value>()
            .gives_nothing(204, "They are kept."),
        row("GET", MODULE, Access::Worker, Time::Request, get(worker::module))
            .says("The bytes of a module")
            .gives_other(200, "application/wasm", "The bytes."),
    ]
}
