//! Into which of its topics a tenant's audit goes.
//!
//! Must never: make the topic: how many partitions and how long it keeps records is its tenant's to say.

use crate::api::App;
use crate::api::extract::Form;
use crate::policy::Permit;
use crate::policy::action::{ReadAudit, SetAuditTopic};
use crate::problem::Problem;
use crate::store::Store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bulkhead_core::code::Code;
use bulkhead_core::name::TopicName;
use bulkhead_core::scope::TenantScope;
use bulkhead_core::time::format_rfc3339_ms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A topic for the audit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAuditTopic)]
pub(crate) struct TopicForm {
    /// A topic that is there. All lines go into its partition 0, in order.
    #[schema(value_type = String)]
    topic: TopicName,
}

/// Where the audit goes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditTopic)]
pub(crate) struct TopicStateView {
    /// The topic; null where the audit goes into none.
    #[schema(value_type = Option<String>)]
    topic: Option<TopicName>,
    /// The last line that is there.
    seq: i64,
    /// Why no line goes there now: BH0402 where the topic is gone, BH0401 where the log is away.
    #[schema(value_type = Option<String>)]
    code: Option<Code>,
    /// Since when that is so.
    since: Option<String>,
}

pub(crate) async fn state(permit: Permit<ReadAudit>) -> Result<Json<TopicStateView>, Problem> {
    view(permit.store(), permit.scope()).await
}

pub(crate) async fn set(
    permit: Permit<SetAuditTopic>,
    State(app): State<App>,
    Form(form): Form<TopicForm>,
) -> Result<Json<TopicStateView>, Problem> {
    if app.topics().describe(permit.scope(), &form.topic).await?.is_none() {
        let detail = format!("there is no topic `{}`; make it first", form.topic);
        return Err(Problem::new(Code::TopicMissing, detail));
    }
    permit.store().set_audit_topic(permit.scope(), &form.topic).await?;
    view(permit.store(), permit.scope()).await
}

pub(crate) async fn off(permit: Permit<SetAuditTopic>) -> Result<StatusCode, Problem> {
    if permit.store().unset_audit_topic(permit.scope()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("topic that the audit goes into"))
}

async fn view(store: &Store, scope: &TenantScope) -> Result<Json<TopicStateView>, Problem> {
    let Some(sent) = store.audit_topic(scope).await? else {
        return Ok(Json(TopicStateView { topic: None, seq: 0, code: None, since: None }));
    };
    let since = sent.code.map(|_| format_rfc3339_ms(sent.since_ms));
    Ok(Json(TopicStateView { topic: Some(sent.topic), seq: sent.seq, code: sent.code, since }))
}
