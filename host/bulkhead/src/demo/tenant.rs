//! One tenant of the demo: declares topics, uploads stages, applies its pipeline, feeds it, waits, shows and checks what came of it.
//!
//! Must never: use another token than its tenant's, but for making the tenant.

use super::check::Check;
use crate::arguments::DemoArguments;
use crate::client::{Client, accepted};
use anyhow::{Context, bail};
use bulkhead_core::code::Code;
use bulkhead_example_data::{Record, expected::Expected};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Records in one request.
const RECORDS_PER_REQUEST: usize = 1000;
/// How long the pipelines may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a tenant of the demo does.
pub(super) struct Scene {
    pub(super) tenant: &'static str,
    pub(super) what: &'static str,
    /// Folder under `examples/`.
    pub(super) folder: &'static str,
    /// Modules by name; the file is the same with underscores.
    pub(super) modules: &'static [&'static str],
    pub(super) pipeline: &'static str,
    pub(super) input: &'static str,
    pub(super) outputs: &'static [&'static str],
    pub(super) dead_letters: &'static str,
    pub(super) partitions: i32,
    pub(super) records: Vec<Record>,
    pub(super) expected: fn(&Record) -> anyhow::Result<Expected>,
}

/// A scene with its tenant's client.
pub(super) struct Tenant {
    scene: Scene,
    client: Client,
}

impl Tenant {
    pub(super) fn new(scene: Scene, client: Client) -> Self {
        Self { scene, client }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/tenants/{}{rest}", self.scene.tenant)
    }

    fn say(&self, text: &str) {
        println!("{:8}{text}", self.scene.tenant);
    }

    /// Makes the tenant with `admin`, and the rest with the tenant's own token.
    pub(super) async fn set_up(&self, admin: &Client, arguments: &DemoArguments) -> anyhow::Result<()> {
        let scene = &self.scene;
        let tenant = json!({"name": scene.tenant});
        accepted(admin.request(Method::POST, "/api/v1/tenants")?.json(&tenant).send().await?).await?;
        self.say(scene.what);
        for topic in [scene.input, scene.dead_letters].iter().chain(scene.outputs) {
            let topic = json!({"name": topic, "partitions": scene.partitions});
            accepted(self.client.request(Method::POST, &self.path("/topics"))?.json(&topic).send().await?).await?;
        }
        for module in scene.modules {
            self.upload(module, arguments).await?;
        }
        let file = arguments.examples.join(scene.folder).join("pipeline.yaml");
        let manifest = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let path = self.path(&format!("/projects/default/pipelines/{}", scene.pipeline));
        let request =
            self.client.request(Method::PUT, &path)?.header("content-type", "application/yaml").body(manifest);
        accepted(request.send().await?).await?;
        self.say(&format!("applied {}", file.display()));
        Ok(())
    }

    async fn upload(&self, module: &str, arguments: &DemoArguments) -> anyhow::Result<()> {
        let file = arguments.stages.join(format!("{}.wasm", module.replace('-', "_")));
        let hint = "build the examples first: cargo xtask wasm";
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}; {hint}", file.display()))?;
        let (size, started) = (bytes.len(), Instant::now());
        let path = self.path(&format!("/projects/default/modules/{module}?tag=v1"));
        let request = self.client.request(Method::PUT, &path)?.header("content-type", "application/wasm").body(bytes);
        let answer: Value = accepted(request.send().await?).await?.json().await?;
        let digest = answer["digest"].as_str().unwrap_or_default();
        let digest = digest.get(..19).unwrap_or(digest);
        let seconds = started.elapsed().as_secs_f64();
        self.say(&format!(
            "uploaded {module}:v1, {} KiB, {digest}…, checked and compiled in {seconds:.1} s",
            size / 1024
        ));
        Ok(())
    }

    async fn status(&self) -> anyhow::Result<Value> {
        let path = self.path(&format!("/projects/default/pipelines/{}", self.scene.pipeline));
        Ok(accepted(self.client.request(Method::GET, &path)?.send().await?).await?.json().await?)
    }

    /// Writes all records over HTTP and waits until the pipeline has done them. Gives the last status.
    pub(super) async fn feed_and_watch(&self, bars: &MultiProgress) -> anyhow::Result<Value> {
        let total = self.scene.records.len() as u64;
        let style = ProgressStyle::with_template("{prefix:8}{bar:40} {human_pos}/{human_len} records {elapsed} {msg}")?;
        let bar = bars.add(ProgressBar::new(total).with_style(style).with_prefix(self.scene.tenant));
        let feed = async {
            for records in self.scene.records.chunks(RECORDS_PER_REQUEST) {
                let lines: Vec<String> =
                    records.iter().map(|r| json!({"key": r.key, "value": r.value}).to_string()).collect();
                let path = self.path(&format!("/topics/{}/records", self.scene.input));
                let request = self.client.request(Method::POST, &path)?.header("content-type", "application/x-ndjson");
                accepted(request.body(lines.join("\n")).send().await?).await?;
            }
            anyhow::Ok(())
        };
        let watch = async {
            let until = Instant::now() + PATIENCE;
            loop {
                let status = self.status().await?;
                let done = status["status"]["totals"]["recordsIn"].as_u64().unwrap_or_default();
                bar.set_position(done);
                bar.set_message(format!(
                    "fuel {}",
                    short(status["status"]["totals"]["fuel"].as_u64().unwrap_or_default())
                ));
                if done >= total {
                    bar.finish();
                    return anyhow::Ok(status);
                }
                if Instant::now() > until {
                    bail!(
                        "`{}` did {done} of {total} records in {} s: {status}",
                        self.scene.pipeline,
                        PATIENCE.as_secs()
                    );
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let ((), status) = futures::future::try_join(feed, watch).await?;
        Ok(status)
    }

    /// Prints what the tenant got, with an example of each output, after comparing all of it.
    pub(super) async fn show(&self, status: &Value) -> anyhow::Result<()> {
        let totals = &status["status"]["totals"];
        let count = |name: &str| totals[name].as_u64().unwrap_or_default();
        let mut check = Check::default();
        let mut dead_expected = 0;
        for record in &self.scene.records {
            let expected = (self.scene.expected)(record)?;
            dead_expected += u64::from(expected.dead_letter);
            expected.outputs.iter().for_each(|output| check.expect(output.topic, &output.key, &output.value));
        }
        let mut examples = Vec::new();
        for topic in self.scene.outputs {
            let records = self.read_all(topic).await?;
            for record in &records {
                check.found(
                    topic,
                    record["key"].as_str().unwrap_or_default(),
                    record["value"].as_str().unwrap_or_default(),
                );
            }
            examples.push((topic, records.len(), records.into_iter().next()));
        }
        let dead = self.read_all(self.scene.dead_letters).await?.len() as u64;
        if dead != dead_expected {
            bail!("{dead} dead letters where {dead_expected} were expected");
        }
        let right = check.conclude()?;
        let fuel = count("fuel");
        self.say(&format!(
            "{} records in, {right} out, {dead} dead letters; fuel {} ({} a record)",
            count("recordsIn"),
            short(fuel),
            fuel / count("recordsIn").max(1),
        ));
        for (topic, number, example) in examples {
            let value = example.and_then(|record| Some(record["value"].as_str()?.to_owned())).unwrap_or_default();
            println!("        {topic}: {number}, for instance {value}");
        }
        Ok(())
    }

    async fn read_all(&self, topic: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        for partition in 0..self.scene.partitions {
            let mut from = 0;
            loop {
                let path = self.path(&format!("/topics/{topic}/records?partition={partition}&from={from}&limit=1000"));
                let mut page: Value =
                    accepted(self.client.request(Method::GET, &path)?.send().await?).await?.json().await?;
                let Value::Array(records) = page["records"].take() else {
                    bail!("{}: a page without records", Code::Internal);
                };
                let next = page["next"].as_i64().context("a page without `next`")?;
                if records.is_empty() && next <= from {
                    break;
                }
                from = next;
                all.extend(records);
            }
        }
        Ok(all)
    }
}

/// A large number in a few characters.
fn short(number: u64) -> String {
    match number {
        0..1_000_000 => format!("{number}"),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.2} G", number as f64 / 1e9),
    }
}
