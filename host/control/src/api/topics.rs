//! Topics: making, seeing and deleting them. Their records are in [`super::records`].
//!
//! Must never: delete a topic under a pipeline without being told to.

use super::App;
use super::extract::{Form, ListParams, Names, Params, list_json};
use crate::policy::Permit;
use crate::policy::action::{CreateTopic, DeleteTopic, ReadTopics};
use crate::port::{NewTopic, TopicDescription};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

/// Bytes of one record that a topic may allow. The lower bound leaves room for framing; the upper keeps one record within
/// what a batch's path can hold.
const RECORD_BYTES: std::ops::RangeInclusive<u32> = 1_024..=16 * 1_024 * 1_024;

/// A topic to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = NewTopic)]
pub(super) struct NewTopicForm {
    #[schema(value_type = String, max_length = 180)]
    name: TopicName,
    #[serde(default = "one_partition")]
    partitions: i32,
    max_record_bytes: Option<u32>,
}

fn one_partition() -> i32 {
    1
}

#[derive(Deserialize)]
pub(super) struct Which {
    topic: TopicName,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    /// Delete it even where pipelines use it: they stop, and say why.
    #[serde(default)]
    force: bool,
}

/// A topic in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedTopic {
    #[schema(value_type = String)]
    name: TopicName,
}

/// A topic as clients see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Topic)]
pub(super) struct TopicView {
    #[schema(value_type = String)]
    name: TopicName,
    partitions: i32,
    max_record_bytes: u64,
    /// For each partition, the offset after the last readable record.
    ends: Vec<i64>,
}

pub(super) async fn create(
    permit: Permit<CreateTopic>,
    State(app): State<App>,
    Form(new): Form<NewTopicForm>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let limits = permit.store().limits(permit.scope()).await?;
    let above = |detail: String| Err(Problem::new(Code::LimitExceeded, detail));
    let wanted = u64::try_from(new.partitions).unwrap_or_default();
    if wanted == 0 {
        return above(format!("a topic has 1 to {} partitions", limits.partitions));
    }
    if wanted > limits.partitions {
        return Err(Problem::at_limit("partitions", wanted, limits.partitions, "make the topic with fewer partitions"));
    }
    if new.max_record_bytes.is_some_and(|bytes| !RECORD_BYTES.contains(&bytes)) {
        return above(format!("`maxRecordBytes` is {} to {}", RECORD_BYTES.start(), RECORD_BYTES.end()));
    }
    let topics = app.topics().list(permit.scope()).await?.len() as u64;
    if topics >= limits.topics {
        let todo = "delete topics that are no longer used";
        return Err(Problem::at_limit("topics", topics, limits.topics, todo));
    }
    let topic = NewTopic { partitions: new.partitions, max_record_bytes: new.max_record_bytes };
    app.topics().create(permit.scope(), &new.name, topic).await?;
    Ok((StatusCode::CREATED, describe(&app, permit.scope(), &new.name).await?))
}

pub(super) async fn list(
    permit: Permit<ReadTopics>,
    Params(params): Params<ListParams>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    let page = params.page()?;
    let all = app.topics().list(permit.scope()).await?;
    let after = all.into_iter().filter(|topic| topic.as_str() > page.after.as_str());
    let listed: Vec<_> = after.take(page.limit as usize).map(|name| ListedTopic { name }).collect();
    Ok(Json(list_json(&listed, &page, |topic| topic.name.to_string())))
}

pub(super) async fn one(
    permit: Permit<ReadTopics>,
    Names(at): Names<Which>,
    State(app): State<App>,
) -> Result<Json<Value>, Problem> {
    describe(&app, permit.scope(), &at.topic).await
}

/// Deletes a topic. One that pipelines use takes `?force=true`: they will stop, and say why.
pub(super) async fn delete(
    permit: Permit<DeleteTopic>,
    Names(at): Names<Which>,
    Params(params): Params<Force>,
    State(app): State<App>,
) -> Result<StatusCode, Problem> {
    let scope = permit.scope();
    let users = permit.store().topic_users(scope, &at.topic).await?;
    if !users.is_empty() && !params.force {
        let detail = format!(
            "the topic is used by {}; delete these pipelines first, or say `?force=true` to stop them",
            users.join(", ")
        );
        return Err(Problem::conflict(detail));
    }
    if app.topics().describe(scope, &at.topic).await?.is_none() {
        return Err(missing(&at.topic));
    }
    app.topics().delete(scope, &at.topic).await?;
    permit.store().forget_topic(scope, &at.topic).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn describe(app: &App, scope: &TenantScope, name: &TopicName) -> Result<Json<Value>, Problem> {
    let TopicDescription { partitions, max_record_bytes, ends } =
        app.topics().describe(scope, name).await?.ok_or_else(|| missing(name))?;
    Ok(Json(json!(TopicView { name: name.clone(), partitions, max_record_bytes, ends })))
}

pub(super) fn missing(name: &TopicName) -> Problem {
    Problem::not_found(format!("topic `{name}`"))
}
