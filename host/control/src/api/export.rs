//! Everything of a tenant as one stream of lines, each a JSON object with its `kind`.
//!
//! ```text
//! {"kind":"export","format":"bulkhead-export/1","tenant":"acme",…}
//! {"kind":"project",…} {"kind":"module",…} {"kind":"tag",…} {"kind":"pipeline",…} {"kind":"revision",…} …
//! {"kind":"audit",…} {"kind":"module-bytes","digest":"sha256:…","at":0,"base64":"…"}
//! {"kind":"topic",…} {"kind":"record","topic":"orders","partition":0,"offset":0,…}
//! {"kind":"object","bucket":"data","key":"a/b","size":3,…}
//! {"kind":"end","lines":120,"kinds":{…},"sha256":"…"}
//! ```
//!
//! The last line counts the others and holds the SHA-256 of their bytes, so that an export that was cut or changed is noticed. A record is
//! as producing takes it. Topics are read up to the end that they had when their turn came. A few lines are held in memory at a
//! time, and nothing is read that the client does not take.
//! Must never: hold a secret's value, or go on when its tenant is gone.

use super::App;
use super::extract::Params;
use super::opened::opened;
use super::records::show;
use crate::audit::line::Chain;
use crate::policy::Permit;
use crate::policy::action::ExportTenant;
use crate::port::TopicDescription;
use crate::problem::Problem;
use crate::store::{EXPORTED, now_ms};
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::limits::BatchLimits;
use bulkhead_core::manifest::Start;
use bulkhead_core::name::{ModuleDigest, TopicName};
use bulkhead_core::time::format_rfc3339_ms;
use bytes::Bytes;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use utoipa::IntoParams;

/// What this format is called.
const FORMAT: &str = "bulkhead-export/1";
/// Bytes of lines that are sent together.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a module in one line, before Base64.
const MODULE_LINE_BYTES: usize = 192 << 10;
/// What is read of a topic at a time.
const RECORDS: BatchLimits = BatchLimits { records: 1_000, bytes: 512 << 10, linger_ms: 0 };
/// Rows of the audit, and objects, at a time.
const ROWS: u32 = 500;
/// How often it looks whether the tenant is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportParams {
    /// `false` leaves the records of topics out.
    #[serde(default = "yes")]
    records: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn export(
    permit: Permit<ExportTenant>,
    Params(params): Params<ExportParams>,
    State(app): State<App>,
) -> Result<Response, Problem> {
    let max = app.config().streams_per_tenant_max;
    let Some(place) = app.inner.streams.enter(permit.scope().tenant(), max) else {
        let detail = format!("this tenant has {max} streams open; close one that nobody reads");
        return Err(Problem::at_places("streams", max, detail));
    };
    // One chunk waits while another is sent; then the export waits for its client.
    let (chunks, taken) = mpsc::channel(1);
    let name = format!("attachment; filename=\"{}.ndjson\"", permit.scope().tenant());
    let look_at = Instant::now() + LOOK_EVERY;
    let export = Export { app, permit, chunks, text: Vec::new(), hash: Sha256::new(), kinds: BTreeMap::new(), look_at };
    // It ends with the client: a chunk that nobody takes any more is its last.
    tokio::spawn(async move {
        export.run(params.records).await;
        drop(place);
    });
    let body = futures::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// Why an export ends early.
enum Ended {
    /// Nobody takes it any more.
    Gone,
    Failed(Problem),
}

impl<E: Into<Problem>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Export {
    app: App,
    permit: Permit<ExportTenant>,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    text: Vec<u8>,
    hash: Sha256,
    kinds: BTreeMap<String, u64>,
    look_at: Instant,
}

impl Export {
    async fn run(mut self, records: bool) {
        match self.everything(records).await {
            Ok(()) | Err(Ended::Gone) => {}
            Err(Ended::Failed(problem)) => {
                tracing::warn!(code = %problem.code, cause = problem.cause, "an export ended early");
                // The connection is cut, so that the client does not take it for whole.
                let cut = io::Error::other(problem.detail);
                let _gone = self.chunks.send(Err(cut)).await;
            }
        }
    }

    async fn everything(&mut self, records: bool) -> Result<(), Ended> {
        self.head().await?;
        self.rows().await?;
        self.audit().await?;
        self.modules().await?;
        for topic in self.app.topics().list(self.permit.scope()).await? {
            self.topic(&topic, records).await?;
        }
        self.objects().await?;
        let lines: u64 = self.kinds.values().sum();
        self.flush().await?;
        let digest = ModuleDigest::from_bytes(self.hash.clone().finalize().into()).hex();
        let end = json!({"kind": "end", "lines": lines, "kinds": self.kinds, "sha256": digest});
        self.line(&end).await?;
        self.flush().await
    }

    async fn head(&mut self) -> Result<(), Ended> {
        let row = self.permit.store().life(self.permit.scope().tenant()).await?;
        let row = row.ok_or_else(|| Problem::not_found("such tenant"))?;
        let suspended =
            row.suspended.map(|suspended| json!({"sinceMs": suspended.since_ms, "reason": suspended.reason}));
        let head = json!({
            "kind": "export",
            "format": FORMAT,
            "tenant": row.tenant,
            "displayName": row.display_name,
            "plan": row.plan,
            "createdMs": row.created_ms,
            "suspended": suspended,
            "at": format_rfc3339_ms(now_ms()),
            "by": self.permit.principal().subject(),
        });
        self.line(&head).await
    }

    async fn rows(&mut self) -> Result<(), Ended> {
        for table in EXPORTED {
            let mut after = String::new();
            while let Some((place, rows)) = self.permit.store().exported(self.permit.scope(), table, &after).await? {
                after = place;
                for row in rows {
                    self.line(&Value::Object(row)).await?;
                }
            }
        }
        Ok(())
    }

    async fn audit(&mut self) -> Result<(), Ended> {
        let chain = Chain::Tenant(self.permit.scope().clone());
        let mut after = 0;
        loop {
            let rows = self.permit.store().audit_from(&chain, after, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last["seq"].as_i64().unwrap_or(i64::MAX);
            for row in rows {
                let mut line = serde_json::Map::from_iter([("kind".to_owned(), "audit".into())]);
                line.insert("line".to_owned(), Value::Object(row));
                self.line(&Value::Object(line)).await?;
            }
        }
    }

    async fn modules(&mut self) -> Result<(), Ended> {
        let digests: BTreeSet<ModuleDigest> = self.permit.store().digests(self.permit.scope()).await?;
        for digest in digests {
            let Some((_, mut bytes)) = self.app.blobs().read(self.permit.scope(), &digest).await? else { continue };
            let mut at = 0;
            while let Some(some) = bytes.try_next().await.map_err(Problem::from)? {
                for part in some.chunks(MODULE_LINE_BYTES) {
                    let line =
                        json!({"kind": "module-bytes", "digest": digest, "at": at, "base64": STANDARD.encode(part)});
                    at += part.len();
                    self.line(&line).await?;
                }
            }
        }
        Ok(())
    }

    async fn topic(&mut self, name: &TopicName, records: bool) -> Result<(), Ended> {
        let Some(described) = self.app.topics().describe(self.permit.scope(), name).await? else { return Ok(()) };
        let TopicDescription { partitions, max_record_bytes, ends } = described;
        let line = json!({"kind": "topic", "topic": name, "partitions": partitions, "maxRecordBytes": max_record_bytes, "ends": ends});
        self.line(&line).await?;
        for (partition, end) in (0..).zip(ends).filter(|_| records) {
            let mut next = 0;
            while next < end {
                let from = Start::Offset(next);
                let read = self.app.topics().read(self.permit.scope(), name, partition, from, &RECORDS).await?;
                let (batch, further) = read;
                let (store, scope) = (self.permit.store(), self.permit.scope());
                let batch = opened(&self.app, store, scope, name, batch).await?;
                for i in (0..batch.len()).filter(|i| batch.offsets[*i] < end) {
                    let mut record = show(&batch, i, usize::MAX);
                    record.insert("kind".to_owned(), "record".into());
                    record.insert("topic".to_owned(), json!(name));
                    record.insert("partition".to_owned(), partition.into());
                    self.line(&Value::Object(record)).await?;
                }
                if further <= next {
                    break;
                }
                next = further;
            }
        }
        Ok(())
    }

    async fn objects(&mut self) -> Result<(), Ended> {
        let mut after: Option<String> = None;
        loop {
            let found = self.app.topics().objects(self.permit.scope(), after.as_deref(), ROWS as usize).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for object in &found {
                let (bucket, key) = object.key.split_once('/').unwrap_or(("", &object.key));
                let modified = format_rfc3339_ms(object.modified_ms);
                let line = json!({"kind": "object", "bucket": bucket, "key": key, "size": object.size, "modifiedAt": modified});
                self.line(&line).await?;
            }
        }
    }

    async fn line(&mut self, line: &Value) -> Result<(), Ended> {
        let kind = line["kind"].as_str().unwrap_or_default();
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        serde_json::to_writer(&mut self.text, line).map_err(Problem::internal)?;
        self.text.push(b'\n');
        if self.text.len() >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.app.stop().is_cancelled() {
            return Err(Ended::Failed(Problem::new(Code::Unavailable, "the server is stopping; export again")));
        }
        if Instant::now() >= self.look_at {
            self.look_at = Instant::now() + LOOK_EVERY;
            if self.permit.store().life(self.permit.scope().tenant()).await?.is_none() {
                return Err(Ended::Failed(Problem::not_found("such tenant any more")));
            }
        }
        let chunk = std::mem::take(&mut self.text);
        if chunk.is_empty() {
            return Ok(());
        }
        self.hash.update(&chunk);
        self.chunks.send(Ok(chunk.into())).await.map_err(|_| Ended::Gone)
    }
}
