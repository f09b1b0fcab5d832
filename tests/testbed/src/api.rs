//! The HTTP API, as a tenant's program would use it. Blocks: not for use inside an async runtime.
//!
//! Must never: retry, except where a function says so; a test wants to see what was refused.

use crate::error::Refused;
use crate::records::{Line, Read};
use crate::wait::until;
use anyhow::Result;
use reqwest::Method;
use reqwest::blocking::{Body, Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Records of one read.
const READ_RECORDS: u32 = 1_000;
/// The project that every tenant has.
const PROJECT: &str = "default";

/// A control with a token.
#[derive(Debug, Clone)]
pub struct Control {
    http: Client,
    base: String,
    token: String,
}

impl Control {
    /// The control at this URL, with this token.
    ///
    /// # Errors
    /// Where the system has no room for a client.
    pub fn new(base: &str, token: &str) -> Result<Self> {
        let http = Client::builder().timeout(CALL_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    /// The same control with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The things of one tenant. Whether the token opens them is for control to say.
    pub fn tenant(&self, tenant: &str) -> Tenant {
        Tenant { control: self.clone(), name: tenant.to_owned() }
    }

    /// Any request, with the token; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Sends a request and reads its answer; an empty one is `null`.
    ///
    /// # Errors
    /// Where the answer is not a success, or there is none.
    pub fn send(&self, request: RequestBuilder) -> Result<Value, Refused> {
        let response = request.send().map_err(|error| Refused::no_answer(&error))?;
        let status = response.status();
        let text = response.text().map_err(|error| Refused::no_answer(&error))?;
        if !status.is_success() {
            return Err(Refused::answer(status.as_u16(), &text));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Makes a tenant.
    ///
    /// # Errors
    /// Control's.
    pub fn create_tenant(&self, name: &str) -> Result<Value, Refused> {
        self.send(self.request(Method::POST, "/api/v1/tenants").json(&json!({"name": name})))
    }

    /// Deletes a tenant with everything of it.
    ///
    /// # Errors
    /// Control's.
    pub fn delete_tenant(&self, name: &str) -> Result<Value, Refused> {
        self.send(self.request(Method::DELETE, &format!("/api/v1/tenants/{name}")))
    }
}

/// One tenant's side of a control.
#[derive(Debug, Clone)]
pub struct Tenant {
    control: Control,
    name: String,
}

/// How a pipeline fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `starting`, `running`, `paused`, `backoff` or `failed`; none where no worker has reported lately.
    pub phase: Option<String>,
    /// Every worker has found nothing to do, and waits for a record without a consumer.
    pub parked: bool,
    /// Why it does not run, where it does not.
    pub code: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    /// Records not yet done; none while no worker owns a partition.
    pub lag: Option<i64>,
    /// Partitions that workers own.
    pub partitions: u32,
    /// Workers that have reported lately.
    pub workers: u32,
    /// What it has done.
    pub totals: Totals,
}

/// What a pipeline has done, faulty runs' fuel included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Source records.
    pub records_in: u64,
    /// Records written, dead letters left out.
    pub records_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Records that became dead letters.
    pub dead_letters: u64,
    /// Fuel.
    pub fuel: u64,
}

impl Tenant {
    /// The tenant's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The control it is reached through.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A request below the tenant's path, for instance `/topics`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.control.request(method, &format!("/api/v1/tenants/{}{path}", self.name))
    }

    fn in_project(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, &format!("/projects/{PROJECT}{path}"))
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// Control's.
    pub fn create_topic(&self, name: &str, partitions: i32) -> Result<Value, Refused> {
        self.create_topic_with(&json!({"name": name, "partitions": partitions}))
    }

    /// Makes a topic from this body: `name`, `partitions`, `maxRecordBytes`.
    ///
    /// # Errors
    /// Control's.
    pub fn create_topic_with(&self, body: &Value) -> Result<Value, Refused> {
        self.control.send(self.request(Method::POST, "/topics").json(body))
    }

    /// A topic as it is.
    ///
    /// # Errors
    /// Control's.
    pub fn topic(&self, name: &str) -> Result<Value, Refused> {
        self.control.send(self.request(Method::GET, &format!("/topics/{name}")))
    }

    /// Deletes a topic, even where pipelines use it.
    ///
    /// # Errors
    /// Control's.
    pub fn delete_topic(&self, name: &str) -> Result<Value, Refused> {
        self.control.send(self.request(Method::DELETE, &format!("/topics/{name}?force=true")))
    }

    /// Uploads a component under a name and a tag.
    ///
    /// # Errors
    /// Control's.
    pub fn upload(&self, name: &str, tag: &str, wasm: impl Into<Body>) -> Result<Value, Refused> {
        let request = self.in_project(Method::PUT, &format!("/modules/{name}?tag={tag}"));
        self.control.send(request.header("content-type", "application/wasm").body(wasm))
    }

    /// Applies a manifest, YAML or JSON; `pipeline` must be the name in it.
    ///
    /// # Errors
    /// Control's.
    pub fn apply(&self, pipeline: &str, manifest: impl Into<Body>) -> Result<Value, Refused> {
        self.control.send(self.in_project(Method::PUT, &format!("/pipelines/{pipeline}")).body(manifest))
    }

    /// A pipeline as control shows it.
    ///
    /// # Errors
    /// Control's.
    pub fn pipeline(&self, pipeline: &str) -> Result<Value, Refused> {
        self.control.send(self.in_project(Method::GET, &format!("/pipelines/{pipeline}")))
    }

    /// How a pipeline fares.
    ///
    /// # Errors
    /// Control's.
    pub fn status(&self, pipeline: &str) -> Result<Status, Refused> {
        let shown = self.pipeline(pipeline)?;
        serde_json::from_value(shown["status"].clone()).map_err(|error| Refused::answer(200, &error.to_string()))
    }

    /// Waits until a pipeline's status is as wanted, and gives it. An answer that is missing is asked for again.
    ///
    /// # Errors
    /// After [`crate::DEADLINE`], with the last status.
    pub fn wait_status(&self, pipeline: &str, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        until(what, || match self.status(pipeline) {
            Ok(status) if wanted(&status) => Ok(status),
            Ok(status) => Err(format!("{status:?}")),
            Err(refused) => Err(refused.to_string()),
        })
    }

    /// Pauses a pipeline.
    ///
    /// # Errors
    /// Control's.
    pub fn pause(&self, pipeline: &str) -> Result<Value, Refused> {
        self.control.send(self.in_project(Method::POST, &format!("/pipelines/{pipeline}/pause")))
    }

    /// Resumes a pipeline.
    ///
    /// # Errors
    /// Control's.
    pub fn resume(&self, pipeline: &str) -> Result<Value, Refused> {
        self.control.send(self.in_project(Method::POST, &format!("/pipelines/{pipeline}/resume")))
    }

    /// Deletes a pipeline.
    ///
    /// # Errors
    /// Control's.
    pub fn delete_pipeline(&self, pipeline: &str) -> Result<Value, Refused> {
        self.control.send(self.in_project(Method::DELETE, &format!("/pipelines/{pipeline}")))
    }

    /// Writes records.
    ///
    /// # Errors
    /// Control's.
    pub fn produce(&self, topic: &str, lines: &[Line]) -> Result<Value, Refused> {
        let text: String = lines.iter().map(|line| line.json().to_string() + "\n").collect();
        let request = self.request(Method::POST, &format!("/topics/{topic}/records"));
        self.control.send(request.header("content-type", "application/x-ndjson").body(text))
    }

    /// Committed records of one partition from an offset on, and the offset to go on from. Waits up to `wait` for the first.
    ///
    /// # Errors
    /// Control's.
    pub fn read(&self, topic: &str, partition: i32, from: i64, wait: Duration) -> Result<(Vec<Read>, i64), Refused> {
        let query = format!("partition={partition}&from={from}&limit={READ_RECORDS}&waitMs={}", wait.as_millis());
        let shown = self.control.send(self.request(Method::GET, &format!("/topics/{topic}/records?{query}")))?;
        let records = shown["records"].as_array().map(Vec::as_slice).unwrap_or_default();
        let next = shown["next"].as_i64().unwrap_or(from);
        Ok((records.iter().map(|record| Read::of(partition, record)).collect(), next))
    }

    /// All committed records of a topic, partition by partition, up to the ends that it has at the call.
    ///
    /// # Errors
    /// Control's.
    pub fn read_all(&self, topic: &str) -> Result<Vec<Read>, Refused> {
        let shown = self.topic(topic)?;
        let ends = shown["ends"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut all = Vec::new();
        for (partition, end) in (0..).zip(ends.iter().filter_map(Value::as_i64)) {
            let mut from = 0;
            while from < end {
                let (records, next) = self.read(topic, partition, from, Duration::ZERO)?;
                if next <= from {
                    break;
                }
                all.extend(records.into_iter().filter(|record| record.offset < end));
                from = next;
            }
        }
        Ok(all)
    }

    /// Waits until a topic has at least this many committed records, and gives all of them.
    ///
    /// # Errors
    /// After [`crate::DEADLINE`].
    pub fn wait_records(&self, topic: &str, count: usize) -> Result<Vec<Read>> {
        until(&format!("{count} records in `{topic}`"), || match self.read_all(topic) {
            Ok(records) if records.len() >= count => Ok(records),
            Ok(records) => Err(format!("{} records", records.len())),
            Err(refused) => Err(refused.to_string()),
        })
    }
}
