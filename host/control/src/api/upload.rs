//! Uploading a module: streamed to the object store, hashed on the way, inspected, then published.
//!
//! The order is that of cost: what headers can refuse is refused before a byte is read, what the stream can refuse before the
//! engine sees it, and only accepted bytes get a name. Memory stays flat: a few chunks while streaming, one module for each
//! of a few inspections.
//! Must never: publish bytes that did not arrive whole, or that inspection did not accept.

use super::App;
use super::body::content_length;
use super::extract::{Names, Params};
use crate::blobs::{Staged, Staging};
use crate::config::ControlConfig;
use crate::counted::UnderWay;
use crate::paced::Pace;
use crate::policy::Permit;
use crate::policy::action::WriteModules;
use crate::port::Inspected;
use crate::problem::Problem;
use crate::store::NewModule;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_core::code::Code;
use bulkhead_core::name::{ModuleDigest, ModuleName, ProjectId, TenantId};
use bulkhead_core::tenant_limits::{TenantLimits, Unit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU64;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize)]
pub(super) struct Where {
    project: ProjectId,
    module: ModuleName,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Tag {
    /// The tag that is to point at it; `latest` unasked.
    #[param(value_type = Option<String>)]
    tag: Option<ModuleName>,
}

/// What came of an upload.
#[derive(Serialize, ToSchema)]
#[schema(as = Upload)]
pub(super) struct UploadView {
    #[schema(value_type = String)]
    name: ModuleName,
    #[schema(value_type = String)]
    tag: ModuleName,
    #[schema(value_type = String)]
    digest: ModuleDigest,
    bytes: u64,
    imports: Vec<String>,
    /// Whether it is new to the project.
    created: bool,
}

pub(super) async fn put(
    permit: Permit<WriteModules>,
    Names(at): Names<Where>,
    Params(tag): Params<Tag>,
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<UploadView>), Problem> {
    let config = app.config();
    let limits = permit.store().limits(permit.scope()).await?;
    let bytes_max = limits.upload_bytes.min(config.module_bytes_max);
    let declared = check_headers(&headers, bytes_max)?;
    let expected = expected_digest(&headers)?;
    let tag = match tag.tag {
        Some(tag) => tag,
        None => "latest".parse().map_err(Problem::internal)?,
    };
    permit.store().need_project(permit.scope(), &at.project).await?;
    let _place = place(&app, permit.scope().tenant())?;

    let staged = receive(app.blobs().stage().await?, body, (declared, bytes_max), config).await?;
    if let Some(expected) = expected.filter(|expected| *expected != staged.digest()) {
        let detail = format!("the header says {expected}, what arrived is {}; upload it again", staged.digest());
        return Err(Problem::new(Code::DigestMismatch, detail));
    }
    // What the project has, it has accepted before.
    let Inspected { imports, ticks } =
        match permit.store().module(permit.scope(), &at.project, &staged.digest()).await? {
            Some(known) => Inspected { imports: known.imports, ticks: known.ticks },
            None => inspect(&app, permit.scope().tenant(), &limits, &staged).await?,
        };
    let module = NewModule {
        digest: staged.digest(),
        bytes: staged.bytes(),
        imports,
        ticks,
        uploaded_by: permit.principal().subject().to_owned(),
    };
    let created = publish(&app, &permit, (&at, &tag), &staged, &module).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let NewModule { digest, bytes, imports, .. } = module;
    Ok((status, Json(UploadView { name: at.module, tag, digest, bytes, imports, created })))
}

/// One of the tenant's few places for uploads, kept until dropped.
fn place(app: &App, tenant: &TenantId) -> Result<UnderWay, Problem> {
    let max = app.config().uploads_per_tenant_max;
    app.inner.uploads.enter(tenant, max).ok_or_else(|| {
        let detail = format!("{max} uploads of this tenant are under way; try again when one has ended");
        Problem::new(Code::Unavailable, detail)
    })
}

/// Bytes first, then the row that names them: a crash in between leaves bytes that nobody sees and the next upload replaces.
async fn publish(
    app: &App,
    permit: &Permit<WriteModules>,
    (at, tag): (&Where, &ModuleName),
    staged: &Staged,
    module: &NewModule,
) -> Result<bool, Problem> {
    let (store, scope) = (permit.store(), permit.scope());
    let quotas = store.limits(scope).await?;
    let _together = app.blobs().together().await;
    app.blobs().publish(scope, staged).await?;
    let put = store.put_module(scope, &at.project, (&at.module, tag), module, &quotas).await;
    if put.is_err() && !store.has_module(scope, &module.digest).await? {
        app.blobs().delete(scope, &module.digest).await?;
    }
    put
}

/// What headers alone can refuse. Gives `Content-Length`.
fn check_headers(headers: &HeaderMap, bytes_max: u64) -> Result<Option<u64>, Problem> {
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/wasm" && kind != "application/octet-stream" {
            let detail = "send the component's bytes as they are, with `Content-Type: application/wasm`";
            return Err(Problem::bad_request(detail));
        }
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::bad_request("send the component's bytes without a `Content-Encoding`"));
    }
    let declared = content_length(headers)?;
    if let Some(length) = declared.filter(|length| *length > bytes_max) {
        return Err(too_large(length, bytes_max));
    }
    Ok(declared)
}

/// `bytes` is what the request said, or what came until it was enough.
fn too_large(bytes: u64, bytes_max: u64) -> Problem {
    let detail =
        format!("a module has at most {bytes_max} bytes; build it for size (`opt-level = \"s\"`, `strip = true`)");
    Problem::new(Code::ModuleTooLarge, detail).with_figures("uploadBytes", bytes, bytes_max, Unit::Bytes)
}

/// The SHA-256 that `Repr-Digest` or `Content-Digest` (RFC 9530) or the older `Digest` names.
fn expected_digest(headers: &HeaderMap) -> Result<Option<ModuleDigest>, Problem> {
    let malformed = || Problem::bad_request("send `Repr-Digest: sha-256=:BASE64:`, with the SHA-256 of the component");
    for name in ["repr-digest", "content-digest", "digest"] {
        let Some(value) = headers.get(name) else { continue };
        let text = value.to_str().map_err(|_| malformed())?;
        let mut entries = text.split(',').filter_map(|entry| entry.trim().split_once('='));
        let (_, encoded) =
            entries.find(|(algorithm, _)| algorithm.eq_ignore_ascii_case("sha-256")).ok_or_else(malformed)?;
        let bytes = STANDARD.decode(encoded.trim_matches(':')).map_err(|_| malformed())?;
        return Ok(Some(ModuleDigest::from_bytes(bytes.try_into().map_err(|_| malformed())?)));
    }
    Ok(None)
}

/// Takes the body in, within its limits of size and time.
async fn receive(
    mut staging: Staging,
    body: Body,
    (declared, bytes_max): (Option<u64>, u64),
    config: &ControlConfig,
) -> Result<Staged, Problem> {
    let truncated =
        || Problem::new(Code::UploadTruncated, "the upload ended before all of it had come; upload it again");
    let deadline = Instant::now() + config.upload_time_max;
    let mut body = body.into_data_stream();
    loop {
        let idle = Instant::now() + config.upload_idle;
        let chunk = match timeout_at(idle.min(deadline), body.next()).await {
            Err(_) => return Err(too_slow(config)),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(truncated()),
            Ok(Some(Ok(chunk))) => chunk,
        };
        let bytes = staging.bytes() + chunk.len() as u64;
        if bytes > bytes_max {
            return Err(too_large(bytes, bytes_max));
        }
        staging.write(&chunk).await?;
    }
    if declared.is_some_and(|declared| declared != staging.bytes()) {
        return Err(truncated());
    }
    if staging.bytes() == 0 {
        return Err(Problem::new(Code::NotWasm, "the body is empty; send the component's bytes"));
    }
    staging.finish().await
}

fn too_slow(config: &ControlConfig) -> Problem {
    let detail = format!(
        "an upload may pause for {} s and take {} s altogether; upload it again over a faster connection",
        config.upload_idle.as_secs(),
        config.upload_time_max.as_secs()
    );
    Problem::new(Code::RequestTimeout, detail)
}

/// Has the engine look at it, a few at a time, tenants in turn. A tenant that has had its part of the cores for this hour is told when to come again.
async fn inspect(app: &App, tenant: &TenantId, limits: &TenantLimits, staged: &Staged) -> Result<Inspected, Problem> {
    let hour_ms = limits.compile_seconds_per_hour as f64 * 1_000.0;
    let pace = Pace { rate: hour_ms / 3_600.0, burst: hour_ms };
    let (compiled, allowed) = (&app.inner.compiled, limits.compile_seconds_per_hour);
    let wait = compiled.wait(tenant, pace);
    if !wait.is_zero() {
        return Err(Problem::at_rate("compileSecondsPerHour", compiled.used(tenant) / 1_000, allowed, wait));
    }
    let cpu_ms = AtomicU64::new(0);
    let inspected = look(app, tenant, staged, &cpu_ms).await;
    compiled.take(tenant, pace, cpu_ms.into_inner());
    inspected
}

async fn look(app: &App, tenant: &TenantId, staged: &Staged, cpu_ms: &AtomicU64) -> Result<Inspected, Problem> {
    let inspected = timeout(app.config().inspection_time_max, async {
        let _turn = app.inner.inspections.take(tenant).await;
        Ok::<_, Problem>(app.inner.parts.modules.inspect(tenant, staged.read().await?, cpu_ms).await?)
    });
    match inspected.await {
        Ok(inspected) => inspected,
        Err(_) => Err(Problem::new(Code::Unavailable, "too many modules are being inspected; try again in a minute")),
    }
}
