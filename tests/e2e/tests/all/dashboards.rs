//! The dashboards against a real Prometheus that scrapes a real host at work: every panel's queries are understood and find something.
//!
//! With `BULKHEAD_DASHBOARDS` naming a folder, the panels are also drawn there as pictures, after the host has worked for some minutes:
//! `cargo xtask dashboards FOLDER`. Grafana is in no package registry that this machine could ask, so a page of our own draws them.
//! Must never: count a panel as filled by a query that always has an answer, unless nothing else can be had from a healthy host.

use crate::shared::Guests;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::Prometheus;
use bulkhead_testbed::{Host, Serve, Tenant, root, until_within};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A healthy host has nothing in them.
const MAY_BE_EMPTY: [&str; 1] = ["Unusual"];
/// What `$pipeline` and Grafana's own variable stand for.
const VARIABLES: [(&str, &str); 3] = [("tenant", "acme"), ("pipeline", ".*"), ("__rate_interval", "30s")];
/// How long the host works before its dashboards are drawn.
const DRAWN_AFTER: Duration = Duration::from_secs(150);
/// Between two rounds of work.
const ROUND: Duration = Duration::from_millis(100);
/// Pixels of a picture.
const WINDOW: &str = "--window-size=1600,1470";

/// A host with two tenants, whose pipelines work, and one that fails.
struct Scene {
    host: Host,
    tenants: Vec<Tenant>,
}

impl Scene {
    fn new() -> Result<Self> {
        let host = Host::start(Serve::all())?;
        let mut tenants = Vec::new();
        for name in ["acme", "globex"] {
            let tenant = host.tenant(name)?;
            tenant.upload_guests()?;
            tenant.run_guest("orders", "passthrough", "")?;
            tenants.push(tenant);
        }
        tenants[0].run_guest("broken", "trap", "")?;
        Ok(Self { host, tenants })
    }

    /// A little work of every kind that the dashboards show.
    fn work(&self, round: usize) -> Result<()> {
        for (at, tenant) in self.tenants.iter().enumerate() {
            let values = vec!["some order of some length"; 20 + (round * (at + 3)) % 50];
            tenant.put("orders", &values)?;
        }
        if round.is_multiple_of(5) {
            self.tenants[0].put("broken", &["fine", "!poison"])?;
        }
        let stranger = reqwest::blocking::Client::new().get(format!("{}/api/v1/whoami", self.host.url()));
        // 401, and 429 where there were too many of them.
        ensure!(stranger.bearer_auth("nonsense").send()?.status().is_client_error(), "nonsense was let in");
        Ok(())
    }
}

fn dashboards() -> Result<Vec<(String, Value)>> {
    let read = |name: &str| -> Result<(String, Value)> {
        let text = std::fs::read_to_string(root().join(format!("deploy/grafana/{name}.json")))?;
        Ok((name.to_owned(), serde_json::from_str(&text)?))
    };
    Ok(vec![read("platform")?, read("tenant")?])
}

/// Whether a query finds something; an error where Prometheus does not understand it.
fn finds(prometheus: &Prometheus, expression: &str) -> Result<bool> {
    let mut query = expression.to_owned();
    for (name, value) in VARIABLES {
        query = query.replace(&format!("${name}"), value);
    }
    let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/query", prometheus.url()), [("query", &query)])?;
    let answer: Value = reqwest::blocking::get(url)?.json()?;
    ensure!(answer["status"] == "success", "{query}: {answer}");
    let samples = answer["data"]["result"].as_array().context("no result")?;
    Ok(samples.iter().any(|sample| sample["value"][1] != "NaN"))
}

/// Titles of panels none of whose queries finds anything.
fn empty(prometheus: &Prometheus, dashboard: &Value) -> Result<Vec<String>> {
    let mut empty = Vec::new();
    for panel in dashboard["panels"].as_array().context("no panels")? {
        let (title, targets) = (panel["title"].as_str().context("no title")?, panel["targets"].as_array());
        let mut found = false;
        for target in targets.context("a panel without queries")? {
            found |= finds(prometheus, target["expr"].as_str().context("no expression")?)?;
        }
        if !found && !MAY_BE_EMPTY.contains(&title) {
            empty.push(title.to_owned());
        }
    }
    Ok(empty)
}

/// Draws a dashboard into `NAME.png` of the folder.
fn draw(prometheus: &Prometheus, name: &str, dashboard: &Value, folder: &Path) -> Result<()> {
    let variables =
        if name == "tenant" { serde_json::json!({"tenant": "acme", "pipeline": ".*"}) } else { Value::Null };
    let page = include_str!("../../dashboards/show.html")
        .replace("/*DASHBOARD*/null", &dashboard.to_string())
        .replace("/*PROMETHEUS*/\"\"", &format!("{:?}", prometheus.url()))
        .replace("/*VARIABLES*/{}", &if variables.is_null() { "{}".to_owned() } else { variables.to_string() })
        .replace("/*SECONDS*/300", &DRAWN_AFTER.as_secs().to_string());
    let (file, picture) = (folder.join(format!("{name}.html")), folder.join(format!("{name}.png")));
    std::fs::write(&file, page)?;
    let status = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=20000",
            WINDOW,
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .context("cannot run chromium (Debian package chromium)")?;
    ensure!(status.status.success() && picture.exists(), "{}", String::from_utf8_lossy(&status.stderr));
    std::fs::remove_file(file)?;
    std::fs::remove_dir_all(folder.join("profile"))?;
    println!("{}", picture.display());
    Ok(())
}

#[test]
fn every_panel_of_the_dashboards_shows_something_of_a_host_at_work() -> Result<()> {
    let scene = Scene::new()?;
    let prometheus =
        Prometheus::start(&[scene.host.process()?.metrics_url()], &root().join("deploy/prometheus/rules"))?;
    let dashboards = dashboards()?;
    let mut round = 0;
    until_within(Duration::from_secs(90), "all panels to have something to show", || {
        round += 1;
        scene.work(round).map_err(|error| format!("{error:#}"))?;
        for (name, dashboard) in &dashboards {
            let empty = empty(&prometheus, dashboard).map_err(|error| format!("{error:#}"))?;
            if !empty.is_empty() {
                return Err(format!("nothing in {name}: {empty:?}"));
            }
        }
        Ok(())
    })?;
    let Some(folder) = std::env::var_os("BULKHEAD_DASHBOARDS") else { return Ok(()) };
    let (folder, until) = (Path::new(&folder), Instant::now() + DRAWN_AFTER);
    std::fs::create_dir_all(folder)?;
    while Instant::now() < until {
        round += 1;
        scene.work(round)?;
        std::thread::sleep(ROUND);
    }
    dashboards.iter().try_for_each(|(name, dashboard)| draw(&prometheus, name, dashboard, folder))
}
