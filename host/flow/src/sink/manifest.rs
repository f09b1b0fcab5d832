//! The record that names what was staged: written with the position of its rows, read by whoever publishes.
//!
//! Must never: name an object by anything but its rows' place.

use bulkhead_core::bucket::{KeyPrefix, ObjectKey};
use bulkhead_core::name::{BucketName, ModuleDigest};
use serde::{Deserialize, Serialize};

/// Objects of one roll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The partition of the rows topic.
    pub(super) partition: i32,
    /// The rows topic that they were read from.
    pub(super) rows: String,
    /// The position in it that was committed with this.
    pub(super) next: i64,
    /// The bucket that they are for.
    pub(super) bucket: BucketName,
    /// Each with where it is and where it goes.
    pub(super) objects: Vec<ManifestObject>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestObject {
    /// Its name in the staging area.
    pub(super) staged: ObjectKey,
    /// Its final key in the bucket.
    pub(super) key: ObjectKey,
    /// How many rows it holds.
    pub(super) rows: u64,
    /// Bytes.
    pub(super) bytes: u64,
    /// As the store made it when it was staged.
    pub(super) etag: String,
    /// Offset of its first row.
    pub(super) first: i64,
    /// Offset of its last row.
    pub(super) last: i64,
}

/// The final key of an object: from its first row's place, so it is the same whatever a batch or a restart cut. The place is of one rows
/// topic: outputs that share a prefix, one whose columns change, and a pipeline that is deleted and made again count from nought in
/// topics of their own, and must not write over each other's objects.
///
/// # Errors
/// Where prefix and name are too long together.
pub(super) fn final_key(
    prefix: &KeyPrefix,
    segment: Option<&str>,
    (rows, partition, first): (&str, i32, i64),
    extension: &str,
) -> Result<ObjectKey, bulkhead_core::bucket::KeyError> {
    let topic = ModuleDigest::of(rows.as_bytes()).hex();
    let name = format!("{partition}-{first:020}-{}.{extension}", &topic[..8]);
    prefix.join(&segment.map_or(name.clone(), |segment| format!("{segment}/{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_rows_do() {
        let prefix: KeyPrefix = "by-hour/".parse().unwrap();
        let key = |rows, first| final_key(&prefix, Some("carrier=AA"), (rows, 3, first), "parquet").unwrap();
        let digest = &ModuleDigest::of(b"rows").hex()[..8];
        assert_eq!(key("rows", 7).as_str(), format!("by-hour/carrier=AA/3-00000000000000000007-{digest}.parquet"));
        assert!(key("rows", 9) < key("rows", 10) && key("rows", 10) < key("rows", i64::MAX));
        assert_ne!(key("rows", 7), key("others", 7), "another topic's rows");
    }
}
