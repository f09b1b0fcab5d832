//! An S3 server, through `object_store`.
//!
//! Every request has a time limit and a few retries of its own, so that a call ends within about half a minute whatever the server
//! does; whoever must get through tries again after that.
//! Must never: wait without a bound.

use crate::error::{BucketError, BucketErrorKind};
use bulkhead_core::bucket::{Condition, ObjectInfo};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion, WriteMultipart,
};
use std::ops::Range;
use std::time::Duration;

/// One request, with its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Retries of one call, all together.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects above this go up in parts, of this size each.
const PART_BYTES: usize = 8 << 20;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Remote {
    store: AmazonS3,
}

impl Remote {
    pub(crate) fn open(bucket: &str, endpoint: Option<&str>, region: Option<&str>) -> object_store::Result<Self> {
        let client = ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 4,
            retry_timeout: RETRY_TIMEOUT,
        };
        let mut builder =
            AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(client).with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        Ok(Self { store: builder.with_region(region.unwrap_or("us-east-1")).build()? })
    }

    pub(crate) async fn put(&self, key: &str, bytes: Bytes, condition: Condition) -> Result<ObjectInfo, BucketError> {
        let (path, size) = (path(key)?, bytes.len() as u64);
        let etag = if bytes.len() > PART_BYTES && condition == Condition::None {
            let mut upload = WriteMultipart::new_with_chunk_size(
                self.store.put_multipart(&path).await.map_err(no_bucket)?,
                PART_BYTES,
            );
            upload.put(bytes);
            upload.finish().await?.e_tag
        } else {
            let mode = match condition {
                Condition::None => PutMode::Overwrite,
                Condition::Absent => PutMode::Create,
                Condition::Match(etag) => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
            };
            let options = PutOptions { mode, ..PutOptions::default() };
            let unconditional = options.mode == PutMode::Overwrite;
            let put = self.store.put_opts(&path, PutPayload::from_bytes(bytes), options).await;
            put.map_err(|error| if unconditional { no_bucket(error) } else { error.into() })?.e_tag
        };
        Ok(ObjectInfo { key: key.to_owned(), size, etag: etag.unwrap_or_default(), modified_ms: now_ms() })
    }

    pub(crate) async fn get(&self, key: &str, range: Range<u64>) -> Result<(ObjectInfo, Bytes), BucketError> {
        let head = self.store.head(&path(key)?).await?;
        let range = range.start.min(head.size)..range.end.min(head.size);
        if range.is_empty() {
            return Ok((info(&head), Bytes::new()));
        }
        // What was looked at is what is read, or it is read again.
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: head.e_tag.clone(), ..GetOptions::default() };
        let found = match self.store.get_opts(&path(key)?, options).await {
            Err(object_store::Error::Precondition { .. }) => {
                return Err(BucketError::new(BucketErrorKind::Away, "the object changed while it was read"));
            }
            found => found?,
        };
        Ok((info(&head), found.bytes().await?))
    }

    pub(crate) async fn head(&self, key: &str) -> Result<ObjectInfo, BucketError> {
        Ok(info(&self.store.head(&path(key)?).await?))
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.store.delete(&path(key)?).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Objects whose keys begin with `below`, which ends in a slash, after the key `after`, in the order of their bytes.
    pub(crate) async fn list(
        &self,
        below: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ObjectInfo>, BucketError> {
        let prefix = path(below)?;
        let found = match after {
            Some(after) => self.store.list_with_offset(Some(&prefix), &path(after)?),
            None => self.store.list(Some(&prefix)),
        };
        let found: Vec<ObjectMeta> = found.take(limit).try_collect().await?;
        Ok(found.iter().map(info).collect())
    }

    /// Puts an object under another key, whatever lies there.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<(), BucketError> {
        let (from, to) = (path(from)?, path(to)?);
        self.store.copy(&from, &to).await?;
        Ok(self.store.delete(&from).await?)
    }

    /// Begins an object that comes in pieces. Nobody sees it before it is complete.
    pub(crate) async fn upload(&self, key: &str) -> Result<Box<dyn MultipartUpload>, BucketError> {
        self.store.put_multipart(&path(key)?).await.map_err(no_bucket)
    }
}

/// A write that asks for no object and still finds one missing: it is the server's bucket, which is the operator's.
fn no_bucket(error: object_store::Error) -> BucketError {
    match error {
        object_store::Error::NotFound { .. } => BucketError::new(BucketErrorKind::Away, error.to_string()),
        other => other.into(),
    }
}

fn path(key: &str) -> Result<Path, BucketError> {
    Path::parse(key).map_err(|error| BucketError::new(BucketErrorKind::KeyTaken, error.to_string()))
}

fn info(meta: &ObjectMeta) -> ObjectInfo {
    ObjectInfo {
        key: meta.location.to_string(),
        size: meta.size,
        etag: meta.e_tag.clone().unwrap_or_default(),
        modified_ms: meta.last_modified.timestamp_millis(),
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
