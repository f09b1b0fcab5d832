//! The store of all buckets, as the operator names it.
//!
//! Must never: read a secret from a command line; keys of an S3 server come from the environment.

use crate::folder::Folder;
use crate::granted::Granted;
use crate::output::OutputBucket;
use crate::remote::Remote;
use bulkhead_core::bucket::{Access, KeyPrefix};
use bulkhead_core::name::BucketName;
use bulkhead_core::scope::{OutputPath, TenantScope};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Where buckets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketsConfig {
    /// In a folder, for one machine: every worker of the installation must see the same one.
    Folder(PathBuf),
    /// In one bucket of an S3 server, below a prefix for each tenant and bucket. Credentials are `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY` of the environment, or what else the AWS SDKs read there.
    S3 {
        /// The server's bucket.
        bucket: String,
        /// The server, for instance `http://127.0.0.1:9000`; AWS where there is none.
        endpoint: Option<String>,
        /// The region; `us-east-1` where there is none.
        region: Option<String>,
    },
}

impl FromStr for BucketsConfig {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(folder) = text.strip_prefix("folder:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Folder(folder.into()));
        }
        let usage =
            || format!("`{text}` is neither `folder:/path` nor `s3://bucket?endpoint=http://host:port&region=name`");
        let rest = text.strip_prefix("s3://").ok_or_else(usage)?;
        let (bucket, query) = rest.split_once('?').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains('/') {
            return Err(usage());
        }
        let (mut endpoint, mut region) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').ok_or_else(usage)? {
                ("endpoint", value) => endpoint = Some(value.to_owned()),
                ("region", value) => region = Some(value.to_owned()),
                (other, _) => {
                    return Err(format!("`{other}` is no setting of a bucket; there are `endpoint` and `region`"));
                }
            }
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), endpoint, region })
    }
}

/// Which store it is.
#[derive(Debug)]
pub(crate) enum Store {
    Folder(Folder),
    Remote(Remote),
}

/// All buckets of the installation. Cheap to clone.
#[derive(Clone)]
pub struct Buckets {
    pub(crate) store: Arc<Store>,
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.store {
            Store::Folder(_) => "Buckets(folder)",
            Store::Remote(_) => "Buckets(s3)",
        })
    }
}

impl Buckets {
    /// Opens the store. A folder is made where it is missing, for its owner alone; an S3 server need not answer yet.
    ///
    /// # Errors
    /// A folder that cannot be made or opened, or settings that are no S3 server's.
    pub fn open(config: &BucketsConfig) -> Result<Self, String> {
        let store = match config {
            BucketsConfig::Folder(path) => Store::Folder(
                Folder::open(path).map_err(|error| format!("cannot keep buckets in `{}`: {error}", path.display()))?,
            ),
            BucketsConfig::S3 { bucket, endpoint, region } => Store::Remote(
                Remote::open(bucket, endpoint.as_deref(), region.as_deref())
                    .map_err(|error| format!("cannot use the S3 bucket `{bucket}`: {error}"))?,
            ),
        };
        Ok(Self { store: Arc::new(store) })
    }

    /// Whether they are on a server, which may keep more than it shows.
    pub fn is_remote(&self) -> bool {
        matches!(&*self.store, Store::Remote(_))
    }

    /// The part of a tenant's bucket that lies below `prefix`.
    pub fn granted(&self, scope: &TenantScope, bucket: &BucketName, prefix: &KeyPrefix, access: Access) -> Granted {
        Granted::new(self.store.clone(), scope.bucket(bucket), prefix.clone(), access)
    }

    /// The bucket of a declared output, with the output's own staging area.
    pub fn output(&self, scope: &TenantScope, output: &OutputPath<'_>, bucket: &BucketName) -> OutputBucket {
        OutputBucket::new(self.store.clone(), scope.bucket(bucket), scope.staging(bucket, output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_a_misspelt_one_is_refused() {
        assert_eq!("folder:/tmp/b".parse(), Ok(BucketsConfig::Folder("/tmp/b".into())));
        let s3 = BucketsConfig::S3 {
            bucket: "data".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".to_owned()),
            region: Some("eu".to_owned()),
        };
        assert_eq!("s3://data?endpoint=http://127.0.0.1:9000&region=eu".parse(), Ok(s3));
        for bad in ["", "folder:", "s3://", "s3://a/b", "s3://a?endpiont=x", "/tmp", "s3://a?x"] {
            assert!(bad.parse::<BucketsConfig>().is_err(), "{bad}");
        }
    }
}
