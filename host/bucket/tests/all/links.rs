//! A folder into which somebody put links, pipes and folders in the way.

use crate::support::*;
use bulkhead_bucket::{BucketErrorKind, Condition};
use bulkhead_core::bucket::{KeyPrefix, ObjectKey};
use std::os::unix::fs::symlink;

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

#[test]
fn no_link_is_followed_not_even_within_the_buckets() {
    let home = tempfile::tempdir().unwrap();
    let (root, outside) = (home.path().join("buckets"), home.path().join("outside"));
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("secret"), "of the host").unwrap();
    let buckets = folder(&root);
    run(async {
        let (mine, other) = (granted(&buckets, "acme", ""), granted(&buckets, "globex", ""));
        other.put(&key("secret"), "of another tenant".into(), Condition::None).await.unwrap();
        mine.put(&key("own"), "own".into(), Condition::None).await.unwrap();
        let bucket = root.join("acme/data");
        symlink(outside.join("secret"), bucket.join("file")).unwrap();
        symlink(&outside, bucket.join("folder")).unwrap();
        symlink("../../globex/data", bucket.join("neighbour")).unwrap();
        symlink("nowhere", bucket.join("dangling")).unwrap();
        for name in ["file", "folder/secret", "neighbour/secret", "dangling"] {
            let error = mine.get(&key(name), 0..99).await.unwrap_err();
            assert_eq!(error.kind, BucketErrorKind::KeyTaken, "{name}: {error}");
        }
        for name in ["folder/new", "neighbour/new"] {
            mine.put(&key(name), "x".into(), Condition::None).await.unwrap_err();
            mine.delete(&key(name)).await.unwrap_err();
            mine.list(&format!("{}/", name.split('/').next().unwrap()).parse().unwrap(), None, 9).await.unwrap_err();
        }
        // A put replaces the link itself; what it led to stays.
        mine.put(&key("file"), "mine now".into(), Condition::None).await.unwrap();
        mine.put(&key("dangling"), "mine now".into(), Condition::None).await.unwrap();
        let listed = mine.list(&KeyPrefix::default(), None, 9).await.unwrap();
        assert_eq!(listed.into_iter().map(|info| info.key).collect::<Vec<_>>(), ["dangling", "file", "own"]);
    });
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "of the host");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert!(!root.join("acme/data/nowhere").exists());
}

#[test]
fn a_key_that_a_folder_cannot_hold_is_told_as_such() {
    let home = tempfile::tempdir().unwrap();
    let buckets = folder(home.path());
    run(async {
        let bucket = granted(&buckets, "acme", "");
        bucket.put(&key("a"), "x".into(), Condition::None).await.unwrap();
        bucket.put(&key("f/x"), "x".into(), Condition::None).await.unwrap();
        for name in ["a/b", "f"] {
            let error = bucket.put(&key(name), "x".into(), Condition::None).await.unwrap_err();
            assert_eq!(error.kind, BucketErrorKind::KeyTaken, "{name}: {error}");
        }
        bucket.delete(&key("f")).await.unwrap();
        assert_eq!(bucket.get(&key("f/x"), 0..9).await.unwrap().1, "x");
    });
}

#[test]
fn a_disk_that_is_full_is_the_hosts_trouble() {
    // The kernel's own full disk: every write to it fails for want of space.
    let error = bulkhead_bucket::BucketError::from(std::fs::write("/dev/full", "x").unwrap_err());
    assert_eq!(error.kind, BucketErrorKind::Away);
}
