//! Reads lines of a chain, as they were hashed: each is put together from its columns, so one that was changed shows.
//!
//! Must never: mend what does not fit; whoever checks the chain must see it.

use super::append::at;
use crate::audit::line::Chain;
use crate::problem::Problem;
use crate::store::{Store, stored_json};
use serde_json::{Map, Value};

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub(crate) struct AuditFilter {
    pub(crate) since_ms: i64,
    pub(crate) until_ms: i64,
    /// Empty for any; so the others.
    pub(crate) subject: String,
    /// An action, or what actions begin with before a dot.
    pub(crate) action: String,
    /// A resource, with everything below it.
    pub(crate) resource: String,
    pub(crate) kind: String,
    pub(crate) allowed: Option<bool>,
}

impl Default for AuditFilter {
    fn default() -> Self {
        let any = String::new;
        Self {
            since_ms: 0,
            until_ms: i64::MAX,
            subject: any(),
            action: any(),
            resource: any(),
            kind: any(),
            allowed: None,
        }
    }
}

type Row = (String, i64, i64, String, String, String, String, i64, String, String, String);

const NEWEST_FIRST: &str = "\
SELECT c.chain, l.seq, l.at_ms, l.kind, l.subject, l.action, l.resource, CAST(l.allowed AS INTEGER), l.rest, l.prev, l.hash
FROM audit_lines l JOIN audit_chains c ON c.tenant = l.tenant
WHERE l.tenant = $1 AND l.seq < $2 AND l.at_ms >= $3 AND l.at_ms < $4 AND ($5 = '' OR l.subject = $5)
    AND ($6 = '' OR l.action = $6 OR substr(l.action, 1, length($6) + 1) = $6 || '.')
    AND ($7 = '' OR l.resource = $7 OR substr(l.resource, 1, length($7) + 1) = $7 || '/')
    AND ($8 = '' OR l.kind = $8) AND ($9 < 0 OR l.allowed = ($9 > 0))
ORDER BY l.seq DESC LIMIT $10";

const OLDEST_FIRST: &str = "\
SELECT c.chain, l.seq, l.at_ms, l.kind, l.subject, l.action, l.resource, CAST(l.allowed AS INTEGER), l.rest, l.prev, l.hash
FROM audit_lines l JOIN audit_chains c ON c.tenant = l.tenant
WHERE l.tenant = $1 AND l.seq > $2 ORDER BY l.seq LIMIT $3";

impl Store {
    /// Lines before `before`, newest first.
    pub(crate) async fn audit_page(
        &self,
        chain: &Chain,
        filter: &AuditFilter,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Map<String, Value>>, Problem> {
        let mut tx = self.reading_chain(chain).await?;
        let rows: Vec<Row> = sqlx::query_as(NEWEST_FIRST)
            .bind(chain.key())
            .bind(before)
            .bind(filter.since_ms)
            .bind(filter.until_ms)
            .bind(&filter.subject)
            .bind(&filter.action)
            .bind(&filter.resource)
            .bind(&filter.kind)
            .bind(filter.allowed.map_or(-1_i64, i64::from))
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await?;
        rows.into_iter().map(line).collect()
    }

    /// Lines after `after`, oldest first.
    pub(crate) async fn audit_from(
        &self,
        chain: &Chain,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Map<String, Value>>, Problem> {
        let mut tx = self.reading_chain(chain).await?;
        let rows: Vec<Row> = sqlx::query_as(OLDEST_FIRST)
            .bind(chain.key())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await?;
        rows.into_iter().map(line).collect()
    }
}

fn line(
    (chain, seq, at_ms, kind, subject, action, resource, allowed, rest, prev, hash): Row,
) -> Result<Map<String, Value>, Problem> {
    let mut line = whole(stored_json(&rest)?, at_ms, (&kind, &subject, &action, &resource), allowed != 0);
    line.insert("chain".to_owned(), chain.into());
    line.insert("seq".to_owned(), seq.into());
    line.insert("prev".to_owned(), prev.into());
    line.insert("hash".to_owned(), hash.into());
    Ok(line)
}

/// A line without its place.
pub(super) fn whole(
    rest: Map<String, Value>,
    at_ms: i64,
    (kind, subject, action, resource): (&str, &str, &str, &str),
    allowed: bool,
) -> Map<String, Value> {
    let mut line = rest;
    line.insert("at".to_owned(), at(at_ms).into());
    for (name, value) in [("kind", kind), ("subject", subject), ("action", action), ("resource", resource)] {
        line.insert(name.to_owned(), value.into());
    }
    line.insert("allowed".to_owned(), allowed.into());
    line
}
