//! Buckets: folders or an S3 server, behind types that reach one tenant's granted prefix, or one output's staging area.
//!
//! [`Buckets`] is the store of the whole installation. From it come a [`Granted`], which sees the keys below one prefix of one
//! bucket, and an [`OutputBucket`], which stages objects of a declared output and publishes them. [`rows`] and [`mod@format`] turn rows
//! into objects.
//! Must never: take a physical name that [`bulkhead_core::scope`] did not make, or follow a symbolic link.

#![forbid(unsafe_code)]

mod buckets;
mod clear;
mod error;
mod folder;
pub mod format;
mod granted;
mod output;
mod remote;
pub mod rows;

pub use buckets::{Buckets, BucketsConfig};
pub use bulkhead_core::bucket::{Condition, ObjectInfo};
pub use error::{BucketError, BucketErrorKind};
pub use granted::{Granted, Upload};
pub use output::{OutputBucket, Published, Staged};
