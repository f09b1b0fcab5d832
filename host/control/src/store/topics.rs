//! What metadata knows of topics: which pipelines use them. The topics themselves are the log's.
//!
//! Must never: keep saying that a deleted topic's partitions had positions, or a topic made again under that name could not be read.

use super::Store;
use crate::problem::Problem;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;

impl Store {
    /// Some of the pipelines that use a topic, as `project/pipeline`.
    pub(crate) async fn topic_users(&self, scope: &TenantScope, topic: &TopicName) -> Result<Vec<String>, Problem> {
        let mut tx = self.reading(scope).await?;
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT project, pipeline FROM pipeline_topics WHERE tenant = $1 AND topic = $2
             ORDER BY project, pipeline LIMIT 5",
        )
        .bind(scope.tenant().as_str())
        .bind(topic.as_str())
        .fetch_all(&mut *tx)
        .await?;
        Ok(rows.into_iter().map(|(project, pipeline)| format!("{project}/{pipeline}")).collect())
    }

    /// Forgets that partitions of a topic had positions: the topic is gone, and with it what the positions meant.
    pub(crate) async fn forget_topic(&self, scope: &TenantScope, topic: &TopicName) -> Result<(), Problem> {
        let mut tx = self.begin(scope).await?;
        // Letters of a topic that is made again are other letters.
        sqlx::query("DELETE FROM dead_letters WHERE tenant = $1 AND topic = $2")
            .bind(scope.tenant().as_str())
            .bind(topic.as_str())
            .execute(&mut *tx)
            .await?;
        let gone = sqlx::query("DELETE FROM initialised WHERE tenant = $1 AND topic = $2")
            .bind(scope.tenant().as_str())
            .bind(topic.as_str())
            .execute(&mut *tx)
            .await?;
        if gone.rows_affected() > 0 {
            self.commit_raised(tx).await?;
        } else {
            tx.commit().await?;
        }
        Ok(())
    }
}
