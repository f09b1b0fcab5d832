//! Config entries and secrets of projects, sealed. A project has its own and, under those, what the projects around it have.
//!
//! Must never: keep a value that is not sealed, or give one that was sealed for another tenant, project, name or version.

use super::{Page, Store, Tx, keys, now_ms, stored};
use crate::condition::Condition;
use crate::problem::Problem;
use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::code::Code;
use bulkhead_core::manifest::PipelineSpec;
use bulkhead_core::name::{EntryName, ProjectId};
use bulkhead_core::scope::TenantScope;
use bulkhead_vault::{Place, TenantKeys, Vault};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Config,
    Secret,
}

impl Kind {
    /// As it is kept, and as it is sealed.
    fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Secret => "secret",
        }
    }

    /// As people call one.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Config => "config entry",
            Self::Secret => "secret",
        }
    }
}

/// An entry as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct EntryRow {
    pub(crate) kind: Kind,
    /// The project that it is in.
    pub(crate) project: ProjectId,
    pub(crate) name: EntryName,
    /// Rises with every other value.
    pub(crate) version: i64,
    pub(crate) made_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) updated_by: String,
    sealed: String,
}

impl EntryRow {
    /// The entity tag.
    pub(crate) fn etag(&self) -> String {
        format!("\"{}.{}\"", self.made_ms, self.version)
    }

    /// Tells this value from every other that the name could lead to.
    fn stamp(&self) -> String {
        stamp(self.project.as_str(), self.made_ms, self.version)
    }

    fn open(&self, keys: &TenantKeys) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let sealed =
            hex::decode(&self.sealed).map_err(|_| Problem::internal("metadata holds an entry that is not hex"))?;
        let (made, version) = (self.made_ms.to_string(), self.version.to_string());
        let place = [self.kind.as_str(), self.project.as_str(), self.name.as_str(), &made, &version];
        Ok(keys.open(Place(&place), &sealed)?)
    }

    fn seal(&mut self, keys: &TenantKeys, value: &[u8]) -> Result<(), Problem> {
        let (made, version) = (self.made_ms.to_string(), self.version.to_string());
        let place = [self.kind.as_str(), self.project.as_str(), self.name.as_str(), &made, &version];
        self.sealed = hex::encode(keys.seal(Place(&place), value)?);
        Ok(())
    }
}

fn stamp(project: &str, made_ms: i64, version: i64) -> String {
    format!("{project}/{made_ms}.{version}")
}

/// Which entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryAt<'a> {
    pub(crate) kind: Kind,
    pub(crate) project: &'a ProjectId,
    pub(crate) name: &'a EntryName,
}

/// What putting did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    Changed,
    /// It had this value.
    Same,
}

/// How a value is to be put.
pub(crate) struct Putting<'a> {
    pub(crate) by: &'a str,
    pub(crate) condition: &'a Condition,
    /// Entries that a tenant may have.
    pub(crate) entries_max: u64,
    pub(crate) vault: &'a Arc<Vault>,
}

type Row = (String, String, i64, i64, i64, String, String);

impl Store {
    /// Puts a value. One that is there already stays as it is, so that doing this again changes nothing.
    pub(crate) async fn put_entry(
        &self,
        scope: &TenantScope,
        at: EntryAt<'_>,
        value: &[u8],
        putting: &Putting<'_>,
    ) -> Result<(Put, EntryRow), Problem> {
        let mut tx = self.begin(scope).await?;
        let before = find(&mut tx, scope, at).await?;
        putting.condition.check(before.as_ref().map(EntryRow::etag).as_deref())?;
        let keys = keys::open(&mut tx, scope.tenant(), putting.vault).await?;
        if let Some(row) = &before
            && row.open(&keys).is_ok_and(|there| *there == value)
        {
            return Ok((Put::Same, row.clone()));
        }
        if before.is_none() {
            refuse_new(&mut tx, scope, at, putting.entries_max).await?;
        }
        let now = now_ms();
        let mut row = EntryRow {
            kind: at.kind,
            project: at.project.clone(),
            name: at.name.clone(),
            version: before.as_ref().map_or(1, |row| row.version + 1),
            made_ms: before.as_ref().map_or(now, |row| row.made_ms),
            updated_ms: now,
            updated_by: putting.by.to_owned(),
            sealed: String::new(),
        };
        row.seal(&keys, value)?;
        write(&mut tx, scope, &row, keys.current()).await?;
        self.commit_raised(tx).await?;
        Ok((if before.is_some() { Put::Changed } else { Put::Created }, row))
    }

    /// Deletes an entry; not a secret that a pipeline could then no longer find.
    pub(crate) async fn delete_entry(
        &self,
        scope: &TenantScope,
        at: EntryAt<'_>,
        condition: &Condition,
    ) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        let before = find(&mut tx, scope, at).await?;
        condition.check(before.as_ref().map(EntryRow::etag).as_deref())?;
        if before.is_none() {
            return Err(missing(at));
        }
        remove(&mut tx, scope, at).await?;
        if at.kind == Kind::Secret {
            refuse_needed(&mut tx, scope, at).await?;
        }
        self.commit_raised(tx).await?;
        Ok(())
    }

    /// One entry: the project's own or, where `inherited`, the nearest around it.
    pub(crate) async fn entry(
        &self,
        scope: &TenantScope,
        at: EntryAt<'_>,
        inherited: bool,
    ) -> Result<EntryRow, Problem> {
        let mut tx = self.reading(scope).await?;
        let found = match inherited {
            true => nearest(&mut tx, scope, at).await?,
            false => find(&mut tx, scope, at).await?,
        };
        found.ok_or_else(|| missing(at))
    }

    /// Entries by name: the project's own and, where `inherited`, those around it that it does not override.
    pub(crate) async fn list_entries(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        (kind, inherited): (Kind, bool),
        page: &Page,
    ) -> Result<Vec<EntryRow>, Problem> {
        let mut tx = self.reading(scope).await?;
        let mut found: BTreeMap<String, EntryRow> = BTreeMap::new();
        for project in project.and_around().take(if inherited { usize::MAX } else { 1 }) {
            for row in listed(&mut tx, scope, (kind, &project), page).await? {
                found.entry(row.name.to_string()).or_insert(row);
            }
        }
        Ok(found.into_values().take(page.limit as usize).collect())
    }

    /// The values of entries that were read.
    pub(crate) async fn open_entries(
        &self,
        scope: &TenantScope,
        vault: &Arc<Vault>,
        rows: &[EntryRow],
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, Problem> {
        let mut tx = self.reading(scope).await?;
        match keys::open_if_any(&mut tx, scope, vault).await? {
            Some(keys) => rows.iter().map(|row| row.open(&keys)).collect(),
            None => Ok(Vec::new()),
        }
    }

    /// The secrets that a pipeline's stages are granted, with their values and stamps.
    pub(crate) async fn lent_secrets(
        &self,
        scope: &TenantScope,
        project: &ProjectId,
        spec: &PipelineSpec,
        vault: &Arc<Vault>,
    ) -> Result<Vec<(EntryName, String, Zeroizing<Vec<u8>>)>, Problem> {
        let mut tx = self.reading(scope).await?;
        let Some(keys) = keys::open_if_any(&mut tx, scope, vault).await? else { return Ok(Vec::new()) };
        let mut lent = Vec::new();
        for name in spec.secrets() {
            if let Some(row) = nearest(&mut tx, scope, EntryAt { kind: Kind::Secret, project, name }).await? {
                lent.push((name.clone(), row.stamp(), row.open(&keys)?));
            }
        }
        Ok(lent)
    }
}

/// What a pipeline's config entries and secrets come to when it is brought out.
pub(super) async fn resolve<M>(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    spec: &mut PipelineSpec<M>,
    vault: &Arc<Vault>,
) -> Result<Vec<bulkhead_core::manifest::ManifestError>, Problem> {
    let mut values = HashMap::new();
    let names: Vec<EntryName> = spec.config_entries().into_iter().cloned().collect();
    if !names.is_empty()
        && let Some(keys) = keys::open_if_any(tx, scope, vault).await?
    {
        for name in names {
            let at = EntryAt { kind: Kind::Config, project, name: &name };
            if let Some(row) = nearest(tx, scope, at).await? {
                let value = serde_json::from_slice(&row.open(&keys)?);
                let value = value.map_err(|_| Problem::internal("metadata holds a config entry that is not JSON"))?;
                values.insert(name, value);
            }
        }
    }
    let mut errors = spec.merge_config(|name| values.get(name).cloned());
    errors.extend(missing_secrets(tx, scope, project, spec).await?);
    Ok(errors)
}

/// One error for each secret that a stage is granted and that is nowhere.
pub(super) async fn missing_secrets<M>(
    tx: &mut Tx,
    scope: &TenantScope,
    project: &ProjectId,
    spec: &PipelineSpec<M>,
) -> Result<Vec<bulkhead_core::manifest::ManifestError>, Problem> {
    let mut there = Vec::new();
    for name in spec.secrets() {
        if nearest(tx, scope, EntryAt { kind: Kind::Secret, project, name }).await?.is_some() {
            there.push(name.clone());
        }
    }
    Ok(spec.missing_secrets(|name| there.contains(name)))
}

/// Seals all entries of a tenant under its newest key.
pub(super) async fn reseal(
    tx: &mut Tx,
    scope: &TenantScope,
    before: &TenantKeys,
    after: &TenantKeys,
) -> Result<(), Problem> {
    for mut row in all(tx, scope).await? {
        // One that was tampered with stays as it is: it is told when it is read.
        let Ok(value) = row.open(before) else { continue };
        row.seal(after, &value)?;
        write(tx, scope, &row, after.current()).await?;
    }
    Ok(())
}

/// The stamps of all secrets of all tenants, for the assignment.
pub(super) struct Stamps(HashMap<(String, String, String), String>);

impl Stamps {
    /// Those of the secrets that a pipeline's stages are granted.
    pub(super) fn of(&self, key: &PipelineKey, spec: &PipelineSpec) -> BTreeMap<EntryName, String> {
        let find = |name: &EntryName| {
            key.project.and_around().find_map(|project| {
                self.0.get(&(key.tenant.to_string(), project.to_string(), name.to_string())).cloned()
            })
        };
        spec.secrets().into_iter().filter_map(|name| Some((name.clone(), find(name)?))).collect()
    }
}

pub(super) async fn stamps(tx: &mut Tx) -> Result<Stamps, Problem> {
    let rows: Vec<(String, String, String, i64, i64)> =
        sqlx::query_as("SELECT tenant, project, name, made_ms, version FROM entries WHERE kind = 'secret'")
            .fetch_all(&mut **tx)
            .await?;
    let stamped = |(tenant, project, name, made_ms, version): (String, String, String, i64, i64)| {
        let stamp = stamp(&project, made_ms, version);
        ((tenant, project, name), stamp)
    };
    Ok(Stamps(rows.into_iter().map(stamped).collect()))
}

async fn nearest(tx: &mut Tx, scope: &TenantScope, at: EntryAt<'_>) -> Result<Option<EntryRow>, Problem> {
    for project in at.project.and_around() {
        if let Some(row) = find(tx, scope, EntryAt { project: &project, ..at }).await? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

async fn find(tx: &mut Tx, scope: &TenantScope, at: EntryAt<'_>) -> Result<Option<EntryRow>, Problem> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT project, name, version, made_ms, updated_ms, updated_by, sealed FROM entries
         WHERE tenant = $1 AND kind = $2 AND project = $3 AND name = $4",
    )
    .bind(scope.tenant().as_str())
    .bind(at.kind.as_str())
    .bind(at.project.as_str())
    .bind(at.name.as_str())
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| from_row(at.kind, row)).transpose()
}

async fn listed(
    tx: &mut Tx,
    scope: &TenantScope,
    (kind, project): (Kind, &ProjectId),
    page: &Page,
) -> Result<Vec<EntryRow>, Problem> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT project, name, version, made_ms, updated_ms, updated_by, sealed FROM entries
         WHERE tenant = $1 AND kind = $2 AND project = $3 AND name > $4 ORDER BY name LIMIT $5",
    )
    .bind(scope.tenant().as_str())
    .bind(kind.as_str())
    .bind(project.as_str())
    .bind(&page.after)
    .bind(i64::from(page.limit))
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| from_row(kind, row)).collect()
}

async fn all(tx: &mut Tx, scope: &TenantScope) -> Result<Vec<EntryRow>, Problem> {
    let mut all = Vec::new();
    for kind in [Kind::Config, Kind::Secret] {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT project, name, version, made_ms, updated_ms, updated_by, sealed FROM entries
             WHERE tenant = $1 AND kind = $2 ORDER BY project, name",
        )
        .bind(scope.tenant().as_str())
        .bind(kind.as_str())
        .fetch_all(&mut **tx)
        .await?;
        for row in rows {
            all.push(from_row(kind, row)?);
        }
    }
    Ok(all)
}

async fn write(tx: &mut Tx, scope: &TenantScope, row: &EntryRow, key_version: u32) -> Result<(), Problem> {
    sqlx::query(
        "INSERT INTO entries (tenant, kind, project, name, version, sealed, key_version, made_ms, updated_ms, updated_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (tenant, kind, project, name) DO UPDATE SET version = excluded.version, sealed = excluded.sealed,
            key_version = excluded.key_version, updated_ms = excluded.updated_ms, updated_by = excluded.updated_by",
    )
    .bind(scope.tenant().as_str())
    .bind(row.kind.as_str())
    .bind(row.project.as_str())
    .bind(row.name.as_str())
    .bind(row.version)
    .bind(&row.sealed)
    .bind(i64::from(key_version))
    .bind(row.made_ms)
    .bind(row.updated_ms)
    .bind(&row.updated_by)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn remove(tx: &mut Tx, scope: &TenantScope, at: EntryAt<'_>) -> Result<(), Problem> {
    sqlx::query("DELETE FROM entries WHERE tenant = $1 AND kind = $2 AND project = $3 AND name = $4")
        .bind(scope.tenant().as_str())
        .bind(at.kind.as_str())
        .bind(at.project.as_str())
        .bind(at.name.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What stands against an entry of a new name.
async fn refuse_new(tx: &mut Tx, scope: &TenantScope, at: EntryAt<'_>, entries_max: u64) -> Result<(), Problem> {
    let (project, count): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM projects WHERE tenant = $1 AND project = $2),
                (SELECT COUNT(*) FROM entries WHERE tenant = $1)",
    )
    .bind(scope.tenant().as_str())
    .bind(at.project.as_str())
    .fetch_one(&mut **tx)
    .await?;
    if project == 0 {
        return Err(Problem::not_found(format!("project `{}`", at.project)));
    }
    if count.cast_unsigned() >= entries_max {
        let todo = "delete config entries or secrets that are no longer used";
        return Err(Problem::at_limit("entries", count.cast_unsigned(), entries_max, todo));
    }
    Ok(())
}

/// Refuses a deletion, already made in this transaction, after which a pipeline of this project or one in it would not find its secret.
async fn refuse_needed(tx: &mut Tx, scope: &TenantScope, at: EntryAt<'_>) -> Result<(), Problem> {
    // Projects in it begin with its name and a dot; `/` is the character after the dot.
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT project, pipeline, spec FROM pipelines
         WHERE tenant = $1 AND (project = $2 OR (project > $3 AND project < $4)) ORDER BY project, pipeline",
    )
    .bind(scope.tenant().as_str())
    .bind(at.project.as_str())
    .bind(format!("{}.", at.project))
    .bind(format!("{}/", at.project))
    .fetch_all(&mut **tx)
    .await?;
    let mut users = Vec::new();
    for (project, pipeline, spec) in rows {
        let spec: PipelineSpec = super::stored_json(&spec)?;
        let project: ProjectId = stored(&project)?;
        let named = spec.secrets().contains(at.name);
        if named && nearest(tx, scope, EntryAt { project: &project, ..at }).await?.is_none() {
            users.push(format!("`{project}/{pipeline}`"));
        }
    }
    if users.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "the secret `{}` is granted in {}; apply these without it first, or set another value instead",
        at.name,
        users.join(", ")
    );
    Err(Problem::new(Code::SecretInUse, detail))
}

fn missing(at: EntryAt<'_>) -> Problem {
    Problem::not_found(format!("{} `{}` in the project `{}`", at.kind.words(), at.name, at.project))
}

fn from_row(kind: Kind, row: Row) -> Result<EntryRow, Problem> {
    let (project, name, version, made_ms, updated_ms, updated_by, sealed) = row;
    let (project, name) = (stored(&project)?, stored(&name)?);
    Ok(EntryRow { kind, project, name, version, made_ms, updated_ms, updated_by, sealed })
}
