//! A tenant's rows as an export shows them: which tables, which columns, in which order.
//!
//! A test compares what is here with all tables that hold tenants' rows: one that is neither exported nor left out with a reason fails it.
//! Must never: give a column that is a secret, or rows of another tenant.

use super::Store;
use crate::problem::Problem;
use bulkhead_core::scope::TenantScope;
use serde_json::{Map, Value};
use sqlx::Row;

/// Rows that are read at a time.
const PAGE: i64 = 200;

/// How a column is shown. All are read as text, which every database gives in the same way.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Text,
    Number,
    Flag,
    Json,
}

/// A table that is exported.
pub(crate) struct Exported {
    #[cfg(test)]
    table: &'static str,
    /// What its rows are called in an export.
    pub(crate) kind: &'static str,
    columns: &'static [(&'static str, Shown)],
    sql: &'static str,
}

macro_rules! exported {
    ($table:literal as $kind:literal by $key:literal: $($column:literal $name:literal $shown:ident),+) => {
        Exported {
            #[cfg(test)]
            table: $table,
            kind: $kind,
            columns: &[$(($name, Shown::$shown)),+],
            sql: concat!(
                "SELECT ", $key, " AS place", $(", CAST(", $column, " AS TEXT)",)+ " FROM ", $table,
                " WHERE tenant = $1 AND ", $key, " > $2 ORDER BY ", $key, " LIMIT $3"
            ),
        }
    };
}

/// Every exported table, in the order of the export.
pub(crate) const EXPORTED: &[Exported] = &[
    exported!("projects" as "project" by "project": "project" "project" Text, "description" "description" Text, "created_ms" "createdMs" Number),
    exported!("modules" as "module" by "project || '/' || digest": "project" "project" Text, "digest" "digest" Text, "bytes" "bytes" Number,
        "imports" "imports" Json, "ticks" "ticks" Flag, "uploaded_ms" "uploadedMs" Number, "uploaded_by" "uploadedBy" Text),
    exported!("tags" as "tag" by "project || '/' || name || '/' || tag": "project" "project" Text, "name" "name" Text, "tag" "tag" Text,
        "digest" "digest" Text, "updated_ms" "updatedMs" Number),
    exported!("pipelines" as "pipeline" by "project || '/' || pipeline": "project" "project" Text, "pipeline" "pipeline" Text,
        "revision" "revision" Number, "paused" "paused" Flag, "manifest" "manifest" Text, "created_ms" "createdMs" Number,
        "updated_ms" "updatedMs" Number),
    exported!("applied" as "revision" by "project || '/' || pipeline || '/' || revision": "project" "project" Text,
        "pipeline" "pipeline" Text, "revision" "revision" Number, "manifest" "manifest" Text, "spec" "spec" Json,
        "start_at" "startAt" Text, "rolled_back_to" "rolledBackTo" Number, "applied_ms" "appliedMs" Number,
        "applied_by" "appliedBy" Text),
    exported!("initialised" as "partition" by "project || '/' || pipeline || '/' || topic || '/' || partition": "project" "project" Text,
        "pipeline" "pipeline" Text, "topic" "topic" Text, "partition" "partition" Number),
    exported!("custom_roles" as "role" by "role": "role" "role" Text, "description" "description" Text, "actions" "actions" Text,
        "updated_ms" "updatedMs" Number, "updated_by" "updatedBy" Text),
    exported!("tenant_bindings" as "binding" by "subject || '/' || role": "subject" "subject" Text, "role" "role" Text,
        "granted_ms" "grantedMs" Number, "granted_by" "grantedBy" Text),
    exported!("project_bindings" as "project-binding" by "subject || '/' || project || '/' || role": "subject" "subject" Text,
        "project" "project" Text, "role" "role" Text, "granted_ms" "grantedMs" Number, "granted_by" "grantedBy" Text),
    // Config and secrets by name: what they hold is sealed.
    exported!("entries" as "entry" by "kind || '/' || project || '/' || name": "kind" "entry" Text, "project" "project" Text,
        "name" "name" Text, "version" "version" Number, "updated_ms" "updatedMs" Number, "updated_by" "updatedBy" Text),
    exported!("totals" as "total" by "project || '/' || pipeline || '/' || worker || '/' || boot": "project" "project" Text,
        "pipeline" "pipeline" Text, "records_in" "recordsIn" Number, "records_out" "recordsOut" Number, "bytes_in" "bytesIn" Number,
        "bytes_out" "bytesOut" Number, "dead_letters" "deadLetters" Number, "fuel" "fuel" Number),
    exported!("usage_hours" as "usage" by "hour || '/' || project || '/' || pipeline || '/' || revision || '/' || stage":
        "hour" "hour" Number, "project" "project" Text, "pipeline" "pipeline" Text, "revision" "revision" Number, "stage" "stage" Text,
        "batches" "batches" Number, "records_in" "recordsIn" Number, "records_out" "recordsOut" Number, "bytes_in" "bytesIn" Number,
        "bytes_out" "bytesOut" Number, "fuel" "fuel" Number, "wasted_start" "wastedStart" Number, "wasted_failed" "wastedFailed" Number,
        "wasted_confirm" "wastedConfirm" Number, "wasted_discarded" "wastedDiscarded" Number, "wasted_aborted" "wastedAborted" Number),
    exported!("dead_letters" as "dead-letter" by "topic || '/' || partition || '/' || place": "topic" "topic" Text,
        "partition" "partition" Number, "place" "offset" Number, "state" "state" Text, "subject" "by" Text, "at_ms" "atMs" Number),
    exported!("log_lines" as "log-line" by "id": "id" "id" Text, "project" "project" Text, "pipeline" "pipeline" Text,
        "stage" "stage" Text, "level" "level" Number, "code" "code" Text, "message" "message" Text, "at_ms" "atMs" Number),
];

/// Tables that are not, each with its reason.
#[cfg(test)]
const NOT_EXPORTED: &[(&str, &str)] = &[
    ("answers", "copies of answers to requests, kept for a day"),
    ("audit_chains", "where the chain of the exported lines ends"),
    ("audit_checkpoints", "fetched by who checks the chain"),
    ("audit_lines", "exported as the API shows them"),
    ("audit_pruning", "work under way"),
    ("audit_topics", "where the audit is streamed to"),
    ("grant_use_boots", "counts on the way to the audit"),
    ("grant_uses", "in the audit"),
    ("tenant_keys", "keys leave the host in no way"),
    ("leftovers", "work that a deletion left"),
    ("log_usage", "counts of exported lines"),
    ("pipeline_modules", "what the manifests say"),
    ("pipeline_topics", "what the manifests say"),
    ("revisions", "a counter"),
    ("usage_positions", "how far records of usage are counted"),
    ("tenants", "the first line of the export"),
];

impl Store {
    /// Rows of a table after this place, as objects, with the place of the last; none at the end.
    pub(crate) async fn exported(
        &self,
        scope: &TenantScope,
        exported: &Exported,
        after: &str,
    ) -> Result<Option<(String, Vec<Map<String, Value>>)>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows =
            sqlx::query(exported.sql).bind(scope.tenant().as_str()).bind(after).bind(PAGE).fetch_all(&mut *tx).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let place: String = last.try_get(0)?;
        let mut objects = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut object = Map::from_iter([("kind".to_owned(), exported.kind.into())]);
            for (i, (name, shown)) in exported.columns.iter().enumerate() {
                let cell: Option<String> = row.try_get(i + 1)?;
                object.insert((*name).to_owned(), cell.map_or(Value::Null, |text| show(text, *shown)));
            }
            objects.push(object);
        }
        Ok(Some((place, objects)))
    }
}

fn show(text: String, shown: Shown) -> Value {
    match shown {
        Shown::Text => text.into(),
        Shown::Number => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        Shown::Flag => matches!(text.as_str(), "1" | "t" | "true").into(),
        Shown::Json => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::TABLES;
    use std::collections::BTreeSet;

    #[test]
    fn every_table_is_exported_or_left_out_for_a_reason() {
        let said: Vec<&str> =
            EXPORTED.iter().map(|e| e.table).chain(NOT_EXPORTED.iter().map(|(table, _)| *table)).collect();
        let known: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
        assert_eq!(said.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(said.len(), known.len(), "a table is named twice");
    }
}
