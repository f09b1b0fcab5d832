//! The stores that every test runs on.

use bulkhead_bucket::{Buckets, BucketsConfig, Granted};
use bulkhead_core::bucket::Access;
use bulkhead_core::scope::TenantScope;
use bulkhead_test_services::{S3, S3_PASSWORD, S3_USER};
use std::sync::OnceLock;

/// One server for all tests, which keep apart by tenant.
fn server() -> &'static S3 {
    static SERVER: OnceLock<S3> = OnceLock::new();
    SERVER.get_or_init(|| S3::start().expect("the S3 server"))
}

/// Buckets of the server at this endpoint, or behind something in front of it.
pub(crate) fn remote(endpoint: Option<&str>) -> Buckets {
    static KEYS: OnceLock<()> = OnceLock::new();
    KEYS.get_or_init(|| {
        // SAFETY: no other thread of this program reads the environment before: each comes here first.
        unsafe {
            std::env::set_var("AWS_ACCESS_KEY_ID", S3_USER);
            std::env::set_var("AWS_SECRET_ACCESS_KEY", S3_PASSWORD);
        }
    });
    let text = match endpoint {
        Some(endpoint) => format!("s3://{}?endpoint={endpoint}&region=us-east-1", bulkhead_test_services::S3_BUCKET),
        None => server().buckets(),
    };
    Buckets::open(&text.parse().unwrap()).unwrap()
}

/// The endpoint of the server.
pub(crate) fn endpoint() -> String {
    server().endpoint()
}

pub(crate) fn folder(path: &std::path::Path) -> Buckets {
    Buckets::open(&BucketsConfig::Folder(path.to_owned())).unwrap()
}

pub(crate) fn scope(tenant: &str) -> TenantScope {
    TenantScope::assume(tenant.parse().unwrap())
}

pub(crate) fn granted(buckets: &Buckets, tenant: &str, prefix: &str) -> Granted {
    buckets.granted(&scope(tenant), &"data".parse().unwrap(), &prefix.parse().unwrap(), Access::ReadWrite)
}

/// Runs a future that needs a runtime.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}
