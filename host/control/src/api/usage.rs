//! What a tenant has used, by whatever it wants to have it told apart; and the bill, which is each tenant's sum.
//!
//! Figures are those of committed work, counted some seconds after it, by whole hours (UTC).
//! Must never: show the platform more of a tenant than its sums.

use super::App;
use super::extract::Params;
use crate::policy::Permit;
use crate::policy::action::{ReadBill, ReadUsage};
use crate::problem::Problem;
use crate::store::{HOUR_MS, UsageQuery, UsageRow, UsageSums, now_ms};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bulkhead_core::code::Code;
use bulkhead_core::time::{format_rfc3339_ms, month_start_ms, parse_rfc3339_ms};
use bulkhead_core::usage::{self, FIGURES};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use utoipa::{IntoParams, ToSchema};

/// The content type of figures for spreadsheets.
pub(super) const CSV: &str = "text/csv; charset=utf-8";
/// The content type of figures for data frames.
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";
/// Lines of one answer at most.
const LINES_MAX: i64 = 50_000;
/// Hours of a day.
const DAY_HOURS: i64 = 24;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageParams {
    /// From this hour on: a time, a day (`2026-01-31`), a month (`2026-01`), or milliseconds since 1970. The begin of this month unasked.
    from: Option<String>,
    /// Before this hour; a day or a month is its begin. Now unasked.
    to: Option<String>,
    /// What is told apart, with commas: one of `hour` and `day`, and any of `project`, `pipeline`, `revision` and `stage`. `pipeline`
    /// unasked.
    by: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct BillParams {
    /// From this hour on, as in a tenant's usage. The begin of this month unasked.
    from: Option<String>,
    /// Before this hour. Now unasked.
    to: Option<String>,
}

/// Figures of one line.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageLine)]
pub(super) struct LineView {
    /// When the hour or the day began, where these are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(flatten)]
    sums: UsageSums,
}

/// What a tenant has used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct UsageView {
    from: String,
    to: String,
    items: Vec<LineView>,
    /// All of it together.
    total: UsageSums,
}

/// One tenant's part of the bill.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BillLine)]
struct BillLine {
    tenant: String,
    #[serde(flatten)]
    sums: UsageSums,
}

/// What each tenant has used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bill)]
pub(super) struct BillView {
    from: String,
    to: String,
    items: Vec<BillLine>,
}

pub(super) async fn usage(
    permit: Permit<ReadUsage>,
    Params(params): Params<UsageParams>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (from, to) = hours(params.from.as_deref(), params.to.as_deref())?;
    let by = params.by.as_deref().unwrap_or("pipeline");
    let asked = UsageQuery { from, to, limit: LINES_MAX + 1, ..apart(by)? };
    let rows = permit.store().usage(permit.scope(), &asked).await?;
    if rows.len() as i64 > LINES_MAX {
        let detail = format!("that is more than {LINES_MAX} lines; ask for a shorter time, or tell less apart");
        return Err(Problem::new(Code::UsageTooLarge, detail));
    }
    let all = UsageQuery { from, to, limit: 1, ..UsageQuery::default() };
    let total = permit.store().usage(permit.scope(), &all).await?.pop().map(|row| row.sums).unwrap_or_default();
    let items: Vec<_> = rows.into_iter().map(|row| line(row, &asked)).collect();
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.starts_with("text/csv") {
        return Ok(([(header::CONTENT_TYPE, CSV)], csv(&items, &asked)).into_response());
    }
    if accept.starts_with(PARQUET) {
        let (columns, write) = (usage::columns(keys(&asked)), app.parquet());
        let written = tokio::task::spawn_blocking(move || {
            let lines = items.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
            lines.map_err(Problem::internal).and_then(|lines| write(&columns, &lines).map_err(Problem::from))
        });
        let bytes = written.await.map_err(Problem::internal)??;
        return Ok(([(header::CONTENT_TYPE, PARQUET)], bytes).into_response());
    }
    Ok(Json(UsageView { from: time_of(from), to: time_of(to), items, total }).into_response())
}

pub(super) async fn bill(
    permit: Permit<ReadBill>,
    Params(params): Params<BillParams>,
) -> Result<Json<BillView>, Problem> {
    let (from, to) = hours(params.from.as_deref(), params.to.as_deref())?;
    let items = permit.store().bill(permit.reach(), (from, to)).await?;
    let items = items.into_iter().map(|(tenant, sums)| BillLine { tenant, sums }).collect();
    Ok(Json(BillView { from: time_of(from), to: time_of(to), items }))
}

fn time_of(hour: i64) -> String {
    format_rfc3339_ms(hour.saturating_mul(HOUR_MS))
}

/// The hours asked for: the first, and the one after the last.
fn hours(from: Option<&str>, to: Option<&str>) -> Result<(i64, i64), Problem> {
    let now = now_ms();
    let from = from.map_or(Ok(month_start_ms(now)), moment)?.div_euclid(HOUR_MS);
    let to = to.map_or(Ok(now), moment)?;
    let to = to.div_euclid(HOUR_MS) + i64::from(to.rem_euclid(HOUR_MS) > 0);
    if from > to {
        return Err(Problem::bad_request("`from` lies after `to`"));
    }
    Ok((from, to))
}

fn moment(text: &str) -> Result<i64, Problem> {
    let whole = match text.len() {
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let rule = "`from` and `to` are times like 2026-01-31T12:00:00Z, days like 2026-01-31, months like 2026-01, or milliseconds since 1970";
    parse_rfc3339_ms(&whole).or_else(|| text.parse().ok()).ok_or_else(|| Problem::bad_request(rule))
}

fn apart(by: &str) -> Result<UsageQuery, Problem> {
    let mut query = UsageQuery::default();
    for what in by.split(',').map(str::trim).filter(|what| !what.is_empty()) {
        match what {
            "hour" => query.hours = 1,
            "day" => query.hours = DAY_HOURS,
            "project" => query.project = true,
            // Two projects may have pipelines of one name, and two pipelines stages of one.
            "pipeline" => (query.project, query.pipeline) = (true, true),
            "revision" => (query.project, query.pipeline, query.revision) = (true, true, true),
            "stage" => (query.project, query.pipeline, query.stage) = (true, true, true),
            _ => {
                let rule = "`by` is made of hour, day, project, pipeline, revision and stage, with commas";
                return Err(Problem::bad_request(rule));
            }
        }
    }
    Ok(query)
}

fn line(UsageRow { key, sums }: UsageRow, asked: &UsageQuery) -> LineView {
    LineView {
        at: (asked.hours > 0).then(|| time_of(key.hour)),
        project: asked.project.then_some(key.project),
        pipeline: asked.pipeline.then_some(key.pipeline),
        revision: asked.revision.then_some(key.revision),
        stage: asked.stage.then_some(key.stage),
        sums,
    }
}

/// What a line has to tell it apart, in this order.
fn keys(asked: &UsageQuery) -> impl Iterator<Item = &'static str> {
    let keys = [
        ("at", asked.hours > 0),
        ("project", asked.project),
        ("pipeline", asked.pipeline),
        ("revision", asked.revision),
        ("stage", asked.stage),
    ];
    keys.into_iter().filter(|(_, told)| *told).map(|(name, _)| name)
}

/// The lines for a spreadsheet. Names hold neither commas nor quotes.
fn csv(items: &[LineView], asked: &UsageQuery) -> String {
    let mut text = keys(asked).chain(FIGURES).collect::<Vec<_>>().join(",");
    text.push('\n');
    for LineView { at, project, pipeline, revision, stage, sums } in items {
        let revision = revision.map(|revision| revision.to_string());
        for key in [at, project, pipeline, &revision, stage].into_iter().flatten() {
            // A text takes all that is written to it.
            let _ = write!(text, "{key},");
        }
        let s = sums;
        let wasted = [s.wasted_start, s.wasted_failed, s.wasted_confirm, s.wasted_discarded, s.wasted_aborted];
        let counts = [s.batches, s.records_in, s.records_out, s.bytes_in, s.bytes_out, s.fuel, s.wasted_fuel];
        let cells: Vec<_> = counts.iter().chain(&wasted).map(i64::to_string).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn hours_are_whole_and_days_and_months_are_their_begin() {
        let day = 24 * HOUR_MS;
        assert_eq!(moment("1970-01-02").unwrap(), day);
        assert_eq!(moment("1970-02").unwrap(), 31 * day);
        assert_eq!(hours(Some("1970-01-01T00:59:59Z"), Some("1970-01-01T01:00:01Z")).unwrap(), (0, 2));
        assert_eq!(hours(Some("0"), Some("7200000")).unwrap(), (0, 2));
        assert!(hours(Some("1970-01-02"), Some("1970-01-01")).is_err() && moment("soon").is_err());
    }

    #[test]
    fn what_is_told_apart_is_told_with_what_it_lies_in() {
        let stage = apart("day, stage").unwrap();
        assert_eq!(
            (stage.hours, stage.project, stage.pipeline, stage.stage, stage.revision),
            (24, true, true, true, false)
        );
        assert!(apart("tenant").is_err());
        let row = |at: Option<&str>, stage: Option<&str>| LineView {
            at: at.map(str::to_owned),
            project: Some("default".to_owned()),
            pipeline: Some("p".to_owned()),
            revision: None,
            stage: stage.map(str::to_owned),
            sums: UsageSums { fuel: 7, ..UsageSums::default() },
        };
        let text = csv(&[row(Some("t"), Some("s"))], &stage);
        let (head, line) = text.trim_end().split_once('\n').unwrap();
        assert!(
            head.starts_with("at,project,pipeline,stage,batches,") && line == "t,default,p,s,0,0,0,0,0,7,0,0,0,0,0,0"
        );
        assert_eq!(head.split(',').count(), line.split(',').count());
        let columns: Vec<_> = usage::columns(keys(&stage)).into_iter().map(|column| column.name).collect();
        assert_eq!(columns, head.split(',').collect::<Vec<_>>());
        let told = serde_json::to_value(row(Some("t"), Some("s"))).unwrap();
        let told: BTreeSet<_> = told.as_object().unwrap().keys().cloned().collect();
        assert_eq!(told, columns.into_iter().collect(), "a line of JSON has the columns, and no others");
    }
}
