//! What was done with dead letters: replayed, by whom and when, or dropped.
//!
//! A replay is noted before it is done, so that two requests do not do it twice and a crash between leaves a doubt, not a lie.
//! Must never: forget a mark of a letter whose topic is still there.

use super::{Store, now_ms};
use crate::problem::Problem;
use bulkhead_core::code::Code;
use bulkhead_core::dead_letter::LetterId;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use std::collections::HashMap;

/// What was done with a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) state: MarkState,
    pub(crate) subject: String,
    pub(crate) at_ms: i64,
}

/// See [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkState {
    /// A replay began; whether it took place is not known.
    Replaying,
    /// It was written to its source again.
    Replayed,
    /// Nobody wants to see it again.
    Dropped,
}

impl MarkState {
    /// As kept, and as shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Replaying => "replaying",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }

    fn stored(text: &str) -> Self {
        match text {
            "dropped" => Self::Dropped,
            "replayed" => Self::Replayed,
            _ => Self::Replaying,
        }
    }
}

impl Store {
    /// The marks of a partition's letters from one offset to another, both included.
    pub(crate) async fn letter_marks(
        &self,
        scope: &TenantScope,
        topic: &TopicName,
        partition: i32,
        offsets: std::ops::RangeInclusive<i64>,
    ) -> Result<HashMap<i64, Mark>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
            "SELECT place, state, subject, at_ms FROM dead_letters
             WHERE tenant = $1 AND topic = $2 AND partition = $3 AND place BETWEEN $4 AND $5",
        )
        .bind(scope.tenant().as_str())
        .bind(topic.as_str())
        .bind(partition)
        .bind(*offsets.start())
        .bind(*offsets.end())
        .fetch_all(&mut *tx)
        .await?;
        let mark = |(place, state, subject, at_ms): (i64, String, String, i64)| {
            (place, Mark { state: MarkState::stored(&state), subject, at_ms })
        };
        Ok(rows.into_iter().map(mark).collect())
    }

    /// Notes that a letter is about to be replayed. `again` allows one that was.
    ///
    /// # Errors
    /// [`Code::ReplayedAlready`].
    pub(crate) async fn begin_replay(
        &self,
        scope: &TenantScope,
        topic: &TopicName,
        id: LetterId,
        subject: &str,
        again: bool,
    ) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        let noted = sqlx::query(
            "INSERT INTO dead_letters (tenant, topic, partition, place, state, subject, at_ms)
             VALUES ($1, $2, $3, $4, 'replaying', $5, $6)
             ON CONFLICT (tenant, topic, partition, place) DO UPDATE SET state = 'replaying', subject = excluded.subject,
                at_ms = excluded.at_ms WHERE $7 AND dead_letters.state <> 'dropped'",
        )
        .bind(scope.tenant().as_str())
        .bind(topic.as_str())
        .bind(id.partition)
        .bind(id.offset)
        .bind(subject)
        .bind(now_ms())
        .bind(again)
        .execute(&mut *tx)
        .await?;
        if noted.rows_affected() == 0 {
            let detail =
                "this dead letter was replayed already, or a replay of it did not end; `?again=true` does it again";
            return Err(Problem::new(Code::ReplayedAlready, detail));
        }
        tx.commit().await
    }

    /// Sets a letter's mark, whatever it was.
    pub(crate) async fn mark_letter(
        &self,
        scope: &TenantScope,
        topic: &TopicName,
        id: LetterId,
        mark: &Mark,
    ) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        sqlx::query(
            "INSERT INTO dead_letters (tenant, topic, partition, place, state, subject, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant, topic, partition, place) DO UPDATE SET state = excluded.state,
                subject = excluded.subject, at_ms = excluded.at_ms",
        )
        .bind(scope.tenant().as_str())
        .bind(topic.as_str())
        .bind(id.partition)
        .bind(id.offset)
        .bind(mark.state.as_str())
        .bind(&mark.subject)
        .bind(mark.at_ms)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Takes back the note of a replay that certainly did not take place: what was before it, or nothing.
    pub(crate) async fn undo_replay(
        &self,
        scope: &TenantScope,
        topic: &TopicName,
        id: LetterId,
        before: Option<&Mark>,
    ) -> Result<(), Problem> {
        if let Some(before) = before {
            return self.mark_letter(scope, topic, id, before).await;
        }
        let mut tx = self.begin(scope).await?;
        sqlx::query("DELETE FROM dead_letters WHERE tenant = $1 AND topic = $2 AND partition = $3 AND place = $4")
            .bind(scope.tenant().as_str())
            .bind(topic.as_str())
            .bind(id.partition)
            .bind(id.offset)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}
