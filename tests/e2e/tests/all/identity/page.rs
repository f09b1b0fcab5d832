//! A page in the browser, by WebDriver's HTTP.
//!
//! Must never: press what a person would not see.

use super::realm::PASSWORD;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::Browser;
use bulkhead_testbed::until;
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use std::time::Duration;

/// The name under which WebDriver tells an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page. It ends with this value.
pub(super) struct Page {
    http: Client,
    session: String,
    _browser: Browser,
}

impl Page {
    /// A new browser, which knows nobody.
    pub(super) fn open() -> Result<Self> {
        let browser = Browser::start()?;
        let http = Client::builder().timeout(Duration::from_secs(120)).no_proxy().build()?;
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": {"args": browser.arguments()}});
        let body = json!({"capabilities": {"alwaysMatch": wanted}});
        let said: Value = http.post(format!("{}/session", browser.url())).json(&body).send()?.json()?;
        let id = said["value"]["sessionId"].as_str().with_context(|| format!("no session: {said}"))?;
        Ok(Self { session: format!("{}/session/{id}", browser.url()), http, _browser: browser })
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send()?;
        let status = answer.status();
        let mut said: Value = answer.json()?;
        ensure!(status.is_success(), "{path}: {said}");
        Ok(said["value"].take())
    }

    /// Goes to an address.
    pub(super) fn go(&self, url: &str) -> Result<()> {
        self.call(Method::POST, "/url", Some(&json!({"url": url}))).map(drop)
    }

    fn find(&self, selector: &str) -> Result<String> {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.call(Method::POST, "/element", Some(&wanted))?;
        Ok(found[ELEMENT].as_str().context("an element")?.to_owned())
    }

    fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let id = self.find(selector)?;
        self.call(Method::POST, &format!("/element/{id}/value"), Some(&json!({"text": text}))).map(drop)
    }

    /// Presses what is found so.
    pub(super) fn press(&self, selector: &str) -> Result<()> {
        let id = self.find(selector)?;
        self.call(Method::POST, &format!("/element/{id}/click"), Some(&json!({}))).map(drop)
    }

    /// Waits until the page has these words.
    pub(super) fn wait(&self, words: &str) -> Result<()> {
        until(&format!("the page to say `{words}`"), || {
            let source = self.call(Method::GET, "/source", None).map_err(|error| error.to_string())?;
            let source = source.as_str().unwrap_or_default();
            if source.contains(words) { Ok(()) } else { Err(source.to_owned()) }
        })
    }

    /// Fills Keycloak's login form.
    pub(super) fn log_in(&self, user: &str) -> Result<()> {
        self.wait("id=\"kc-login\"")?;
        self.fill("#username", user)?;
        self.fill("#password", PASSWORD)?;
        self.press("#kc-login")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The browser ends with its session.
        _ = self.call(Method::DELETE, "", None);
    }
}
