//! A client that checks what every response must have.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use std::net::SocketAddr;

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self { http: reqwest::Client::new(), base: format!("http://{address}"), token }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path).send().await.unwrap()).await
    }

    /// A request with one header more.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        header: (&str, &str),
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        Answer::of(self.request(method, path).header(header.0, header.1).body(body).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("POST", path).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.request("POST", path).body(body).send().await.unwrap()).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        Answer::of(self.request("PUT", path).body(body).send().await.unwrap()).await
    }
}

impl Answer {
    /// Reads a response and checks what holds for all: an id, and a problem in full where it is an error.
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let id = headers.get("x-request-id").expect("every response has an id").to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        let answer = Self { status, headers, text };
        if status >= 400 {
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text);
            let problem = answer.json();
            let code = problem["code"].as_str().unwrap();
            assert_eq!(problem["type"], format!("/api/v1/errors/{code}"));
            assert_eq!(problem["status"], status);
            assert_eq!(problem["requestId"], id.as_str());
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
            assert!(!answer.text.contains(crate::ports::SECRET_CAUSE), "a cause was shown: {problem}");
            assert!(!answer.text.contains("/tmp/"), "a path of the server was shown: {problem}");
        }
        answer
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The entity tag.
    #[track_caller]
    pub(crate) fn etag(&self) -> String {
        self.headers.get("etag").unwrap_or_else(|| panic!("no tag: {}", self.text)).to_str().unwrap().to_owned()
    }

    /// The answer's JSON, or null, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Fails unless it is a problem with this status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }
}
