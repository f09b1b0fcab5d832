//! What tests share: a host on the embedded log, pipelines of one guest, and the look at a refusal.
//!
//! Must never: be shared with a test that stops or fills the host.

use anyhow::Result;
use bulkhead_test_guests::wasm;
use bulkhead_test_services::{S3, S3_PASSWORD, S3_USER};
use bulkhead_testbed::{Host, Line, Refused, Serve, Status, Tenant, until};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A name of another tenant, which no test's refusal may tell.
pub(crate) const STRANGER: &str = "somebody-else";

static HOST: Mutex<Weak<Host>> = Mutex::new(Weak::new());

/// The host on the embedded log that tests share. It ends with the last test that holds it.
pub(crate) fn host() -> Result<Arc<Host>> {
    let mut shared = HOST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = shared.upgrade() {
        return Ok(host);
    }
    let host = Arc::new(Host::start(Serve::all())?);
    host.admin()?.create_tenant(STRANGER)?;
    *shared = Arc::downgrade(&host);
    Ok(host)
}

/// A host that keeps its buckets on this server.
pub(crate) fn with_buckets(s3: &S3) -> Serve {
    let serve = Serve::all().argument("--buckets").argument(s3.buckets());
    serve.variable("AWS_ACCESS_KEY_ID", S3_USER).variable("AWS_SECRET_ACCESS_KEY", S3_PASSWORD)
}

/// Pipelines of one guest each: topics `NAME-in`, `NAME-out` and `NAME-dead` of one partition.
pub(crate) trait Guests {
    /// Uploads the component with all guests.
    fn upload_guests(&self) -> Result<()>;
    /// Makes the topics of a pipeline.
    fn topics(&self, name: &str) -> Result<()>;
    /// Applies a pipeline of this guest; `limits` is the stage's, as YAML's flow form.
    fn apply_guest(&self, name: &str, guest: &str, limits: &str) -> Result<Value>;
    /// [`Guests::topics`], [`Guests::apply_guest`], and waits until it runs.
    fn run_guest(&self, name: &str, guest: &str, limits: &str) -> Result<()>;
    /// Writes these values to the pipeline's input.
    fn put(&self, name: &str, values: &[&str]) -> Result<()>;
    /// Waits until the pipeline has written so many records, and gives their values.
    fn out(&self, name: &str, count: usize) -> Result<Vec<String>>;
    /// Waits until the pipeline has a member that owns its partition.
    fn wait_running(&self, name: &str) -> Result<Status>;
}

/// The manifest of [`Guests::apply_guest`].
pub(crate) fn manifest(name: &str, guest: &str, limits: &str) -> String {
    let stage = format!("name: guest\n    module: guests:v1\n    config: {guest}\n    limits: {{ {limits} }}");
    manifest_of(name, &stage)
}

/// The manifest of a pipeline with one stage between its topics; what the stage says but its output is `stage`, as lines of YAML.
pub(crate) fn manifest_of(name: &str, stage: &str) -> String {
    format!(
        "apiVersion: bulkhead/v1
kind: Pipeline
name: {name}
inputs: [{{ topic: {name}-in }}]
stages:
  - {stage}
    outputs: {{ out: {{ topic: {name}-out }} }}
deadLetter: {{ topic: {name}-dead }}
"
    )
}

impl Guests for Tenant {
    fn upload_guests(&self) -> Result<()> {
        self.upload("guests", "v1", wasm("passthrough"))?;
        Ok(())
    }

    fn topics(&self, name: &str) -> Result<()> {
        for topic in ["in", "out", "dead"] {
            self.create_topic(&format!("{name}-{topic}"), 1)?;
        }
        Ok(())
    }

    fn apply_guest(&self, name: &str, guest: &str, limits: &str) -> Result<Value> {
        Ok(self.apply(name, manifest(name, guest, limits))?)
    }

    fn run_guest(&self, name: &str, guest: &str, limits: &str) -> Result<()> {
        self.topics(name)?;
        self.apply_guest(name, guest, limits)?;
        self.wait_running(name)?;
        Ok(())
    }

    fn put(&self, name: &str, values: &[&str]) -> Result<()> {
        let lines: Vec<Line> = values.iter().map(|value| Line::text("key", value)).collect();
        self.produce(&format!("{name}-in"), &lines)?;
        Ok(())
    }

    fn out(&self, name: &str, count: usize) -> Result<Vec<String>> {
        let records = self.wait_records(&format!("{name}-out"), count)?;
        Ok(records.iter().map(bulkhead_testbed::Read::text).collect())
    }

    fn wait_running(&self, name: &str) -> Result<Status> {
        let running =
            |status: &Status| status.phase.as_deref() == Some("running") && (status.partitions > 0 || status.parked);
        self.wait_status(name, "the pipeline to run", running)
    }
}

/// A tenant of the shared host with the guests uploaded.
pub(crate) fn tenant_with_guests(host: &Host, name: &str) -> Result<Tenant> {
    let tenant = host.tenant(name)?;
    tenant.upload_guests()?;
    Ok(tenant)
}

/// Takes a refusal apart: its status and code must be these, its sentence must have these words, and nothing may leak.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Refused>, status: u16, code: &str, words: &str) -> Refused {
    let refused = result.expect_err("it was not refused");
    assert_eq!((refused.status, refused.code.as_str()), (status, code), "{refused}");
    let told = refused.to_string();
    assert!(told.contains(words), "`{told}` lacks `{words}`");
    assert_eq!(refused.body["type"], format!("/api/v1/errors/{code}"));
    assert!(refused.body["requestId"].is_string(), "{refused}");
    tells_nothing(&refused.body.to_string());
    refused
}

/// No physical name, no folder of the host and no other tenant is in this text.
#[track_caller]
pub(crate) fn tells_nothing(text: &str) {
    for secret in ["_bulkhead", STRANGER, "target/testbed", ".sqlite", "/data"] {
        assert!(!text.contains(secret), "`{text}` tells `{secret}`");
    }
}

/// Waits until a process has logged this.
pub(crate) fn wait_log(process: &bulkhead_testbed::Process, words: &str) -> Result<()> {
    until(&format!("the log to say `{words}`"), || {
        if process.log().contains(words) { Ok(()) } else { Err("it does not".to_owned()) }
    })
}

/// Waits until workers run the revision that is applied.
pub(crate) fn wait_applied(tenant: &Tenant, pipeline: &str) -> Result<()> {
    until("the applied revision to run", || {
        let shown = tenant.pipeline(pipeline).map_err(|refused| refused.to_string())?;
        let status = &shown["status"];
        if status["runningRevision"] == shown["revision"] && status["phase"] == "running" {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
}
