//! An S3 server that is away, or answers 500.

use crate::support::*;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bulkhead_bucket::{BucketErrorKind, Condition};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that answers every request with 500, and counts them.
async fn broken() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let answer = move |_: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response() as Response }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, asked)
}

#[test]
fn a_server_that_answers_500_is_asked_a_few_times_and_then_called_away() {
    run(async {
        let (endpoint, asked) = broken().await;
        let bucket = granted(&remote(Some(&endpoint)), "acme", "");
        let key = "x".parse().unwrap();
        let error = bucket.put(&key, "x".into(), Condition::None).await.unwrap_err();
        assert_eq!(error.kind, BucketErrorKind::Away, "{error}");
        assert!((2..20).contains(&asked.load(Ordering::Relaxed)), "asked {asked:?} times");
        assert_eq!(bucket.info(&key).await.unwrap_err().kind, BucketErrorKind::Away);
    });
}

#[test]
fn a_server_without_the_platforms_bucket_is_away_and_it_is_not_the_tenants_fault() {
    run(async {
        let text = format!("s3://not-there?endpoint={}&region=us-east-1", endpoint());
        let _keys = remote(None);
        let buckets = bulkhead_bucket::Buckets::open(&text.parse().unwrap()).unwrap();
        let error = granted(&buckets, "acme", "").put(&"x".parse().unwrap(), "x".into(), Condition::None).await;
        assert_eq!(error.unwrap_err().kind, BucketErrorKind::Away);
    });
}

#[test]
fn nobody_there_is_away() {
    run(async {
        let bucket = granted(&remote(Some("http://127.0.0.1:1")), "acme", "");
        let error = bucket.get(&"x".parse().unwrap(), 0..1).await.unwrap_err();
        assert_eq!(error.kind, BucketErrorKind::Away, "{error}");
    });
}
