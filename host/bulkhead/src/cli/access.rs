//! `bulkhead access`: who has which role, giving and taking roles, a tenant's own roles, and why something is allowed or refused.
//!
//! Must never: take the config file's project for a place where a role is to count: without `--project`, that is the whole tenant.

use super::config::Connection;
use super::output::{self, cell};
use super::session::{Session, items, with_query};
use bulkhead_core::name::{ProjectId, RoleName};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List who has which role; with --project, what was given on that project
    List,
    /// Give somebody a role on the tenant, or with --project on that project and all that lie in it
    Grant(Binding),
    /// Take a role back
    Revoke(Binding),
    /// See what each role may do, and make roles of one's own
    Roles {
        #[command(subcommand)]
        verb: Roles,
    },
    /// Say why something is, or would be, allowed or refused
    Explain {
        /// What is to be done, for instance pipelines.apply
        action: String,
        /// For whom, by the roles bound to them; for oneself where it is left out
        #[arg(long, value_name = "user:NAME|group:NAME")]
        subject: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Binding {
    /// One of ours (viewer, operator, developer, auditor, tenant-admin), or one of the tenant's own
    role: RoleName,
    #[command(flatten)]
    to: Subject,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// The subject of somebody's tokens
    #[arg(long, value_name = "SUBJECT")]
    user: Option<String>,
    /// A group in somebody's tokens
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl Subject {
    fn text(&self) -> String {
        match (&self.user, &self.group) {
            (_, Some(group)) => format!("group:{group}"),
            (user, None) => format!("user:{}", user.as_deref().unwrap_or_default()),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Roles {
    /// List roles and their actions
    List,
    /// Make or change a role of one's own
    Put {
        name: RoleName,
        /// What it may do, for instance pipelines.pause; can be given again
        #[arg(long = "action", value_name = "ACTION", required = true)]
        actions: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Delete a role of one's own that nobody has
    Delete { name: RoleName },
}

/// Runs the command.
///
/// # Errors
/// Control's, and those of the way to it.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.connection)?;
    let project = arguments.connection.project.as_ref();
    match arguments.verb {
        Verb::List => list(&session, project).await,
        Verb::Grant(binding) => {
            let path = path_of(&session, project, &binding)?;
            let answer = session.send(session.client.request(Method::PUT, &path)?).await?;
            session.done(&answer, &format!("{} has the role {} on {}", binding.to.text(), binding.role, on(project)))
        }
        Verb::Revoke(binding) => {
            let answer = session.delete(&path_of(&session, project, &binding)?).await?;
            session
                .done(&answer, &format!("took the role {} on {} from {}", binding.role, on(project), binding.to.text()))
        }
        Verb::Roles { verb } => roles(&session, verb).await,
        Verb::Explain { action, subject } => explain(&session, project, action, subject).await,
    }
}

fn on(project: Option<&ProjectId>) -> String {
    project.map_or("the tenant".to_owned(), |project| format!("project {project}"))
}

fn bindings(session: &Session, project: Option<&ProjectId>) -> anyhow::Result<String> {
    match project {
        Some(project) => session.of_tenant(&format!("/projects/{project}/access/bindings")),
        None => session.of_tenant("/access/bindings"),
    }
}

/// A subject may hold what a path may not.
fn path_of(session: &Session, project: Option<&ProjectId>, binding: &Binding) -> anyhow::Result<String> {
    let mut url = reqwest::Url::parse("http://localhost/")?;
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("an address without a path"))?
        .clear()
        .extend([binding.to.text().as_str(), binding.role.as_str()]);
    Ok(format!("{}{}", bindings(session, project)?, url.path()))
}

async fn list(session: &Session, project: Option<&ProjectId>) -> anyhow::Result<()> {
    let answer = session.list(&bindings(session, project)?, &[], None).await?;
    let row = |binding: &Value| {
        let on = binding["project"].as_str().map_or("the tenant".to_owned(), |project| format!("project {project}"));
        vec![
            cell(&binding["subject"]),
            cell(&binding["role"]),
            on,
            cell(&binding["grantedAt"]),
            cell(&binding["grantedBy"]),
        ]
    };
    let rows = items(&answer).iter().map(row).collect();
    let nothing = "no role is bound to anybody; tokens may hold roles by themselves";
    session.show(&answer, || output::table(&["WHO", "ROLE", "ON", "GIVEN", "BY"], rows, nothing))
}

async fn roles(session: &Session, verb: Roles) -> anyhow::Result<()> {
    let path = |name: &RoleName| session.of_tenant(&format!("/access/roles/{name}"));
    match verb {
        Roles::List => {
            let answer = session.get(&session.of_tenant("/access/roles")?).await?;
            let row = |role: &Value| {
                let actions: Vec<_> = role["actions"].as_array().into_iter().flatten().map(cell).collect();
                vec![cell(&role["name"]), cell(&role["description"]), actions.join(" ")]
            };
            let rows = items(&answer).iter().map(row).collect();
            session.show(&answer, || output::table(&["ROLE", "WHAT FOR", "ACTIONS"], rows, "no roles"))
        }
        Roles::Put { name, actions, description } => {
            let body = json!({"actions": actions, "description": description});
            let answer = session.send(session.client.request(Method::PUT, &path(&name)?)?.json(&body)).await?;
            session.done(&answer, &format!("the role {name} may do {}", actions.join(", ")))
        }
        Roles::Delete { name } => {
            let answer = session.delete(&path(&name)?).await?;
            session.done(&answer, &format!("deleted the role {name}"))
        }
    }
}

async fn explain(
    session: &Session,
    project: Option<&ProjectId>,
    action: String,
    subject: Option<String>,
) -> anyhow::Result<()> {
    let mut query = vec![("action", action)];
    query.extend(project.map(|project| ("project", project.to_string())));
    query.extend(subject.map(|subject| ("subject", subject)));
    let answer = session.get(&with_query(&session.of_tenant("/access/explain")?, &query)).await?;
    session.show(&answer, || show(&answer))
}

fn show(answer: &Value) -> anyhow::Result<()> {
    let decided = match answer["refusedWith"].as_u64() {
        None => "allowed".to_owned(),
        Some(404) => "refused with 404: they may not know that it is there".to_owned(),
        Some(status) => format!("refused with {status}"),
    };
    let held =
        |holding: &Value| format!("{} on {} by {}", cell(&holding["role"]), cell(&holding["on"]), cell(&holding["by"]));
    let because = answer["because"].as_array().into_iter().flatten().map(|reason| match &reason["holding"] {
        Value::Null => format!("policy {}", cell(&reason["policy"])),
        holding => format!("policy {}: {}", cell(&reason["policy"]), held(holding)),
    });
    let roles: Vec<_> = answer["roles"].as_array().into_iter().flatten().map(held).collect();
    let enough: Vec<_> = answer["rolesThatAllow"].as_array().into_iter().flatten().map(cell).collect();
    output::fields(&[
        ("who", cell(&answer["subject"])),
        ("action", cell(&answer["action"])),
        ("on", cell(&answer["on"])),
        ("decided", decided),
        ("because", because.collect::<Vec<_>>().join("; ")),
        ("roles", if roles.is_empty() { "none".to_owned() } else { roles.join("; ") }),
        ("would do", enough.join(", ")),
    ])
}
