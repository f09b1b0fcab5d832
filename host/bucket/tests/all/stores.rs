//! What both stores promise.

use crate::support::*;
use bulkhead_bucket::{BucketErrorKind, Buckets, Condition, OutputBucket, Published};
use bulkhead_core::bucket::{KeyPrefix, ObjectKey};
use bulkhead_core::scope::{OutputPath, PipelinePath};
use bytes::Bytes;
use std::time::Duration;

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// Runs on a folder and on S3.
fn on_both(test: impl AsyncFn(&Buckets, &str)) {
    let home = tempfile::tempdir().unwrap();
    run(test(&folder(home.path()), "acme"));
    let tenant = format!("t{}", home.path().file_name().unwrap().to_string_lossy().replace('.', "").to_lowercase());
    run(test(&remote(None), &tenant));
}

#[test]
fn objects_are_put_read_in_ranges_listed_in_pages_and_deleted() {
    on_both(async |buckets, tenant| {
        let bucket = granted(buckets, tenant, "");
        for name in ["b", "a/2", "a/1", "a.x", "a/1%2e x", "ü/ä"] {
            bucket.put(&key(name), Bytes::from(format!("<{name}>")), Condition::None).await.unwrap();
        }
        let (info, bytes) = bucket.get(&key("a/2"), 1..3).await.unwrap();
        assert_eq!((&bytes[..], info.size), (&b"a/"[..], 5));
        assert_eq!(bucket.get(&key("a/2"), 3..100).await.unwrap().1, "2>");
        assert_eq!(bucket.get(&key("a/2"), 7..9).await.unwrap().1, "");
        let (mut after, mut listed) = (None, Vec::new());
        loop {
            let page = bucket.list(&KeyPrefix::default(), after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(key(&last.key));
            listed.extend(page.into_iter().map(|info| info.key));
        }
        assert_eq!(listed, ["a.x", "a/1", "a/1%2e x", "a/2", "b", "ü/ä"]);
        let below: Vec<_> = bucket.list(&"a/".parse().unwrap(), None, 9).await.unwrap();
        assert_eq!(below.iter().map(|info| info.key.as_str()).collect::<Vec<_>>(), ["a/1", "a/1%2e x", "a/2"]);
        bucket.delete(&key("a/2")).await.unwrap();
        bucket.delete(&key("a/2")).await.unwrap();
        assert_eq!(bucket.info(&key("a/2")).await.unwrap_err().kind, BucketErrorKind::Missing);
        assert_eq!(bucket.get(&key("a"), 0..1).await.unwrap_err().kind, BucketErrorKind::Missing);
    });
}

#[test]
fn a_grant_sees_its_prefix_alone() {
    on_both(async |buckets, tenant| {
        let (all, part) = (granted(buckets, tenant, ""), granted(buckets, tenant, "2013/"));
        let other = granted(buckets, &format!("{tenant}-b"), "");
        all.put(&key("2013/x"), "mine".into(), Condition::None).await.unwrap();
        all.put(&key("2014/x"), "beside".into(), Condition::None).await.unwrap();
        other.put(&key("2013/y"), "of another tenant".into(), Condition::None).await.unwrap();
        assert_eq!(part.get(&key("x"), 0..9).await.unwrap().1, "mine");
        let listed = part.list(&KeyPrefix::default(), None, 9).await.unwrap();
        assert_eq!(listed.into_iter().map(|info| info.key).collect::<Vec<_>>(), ["x"]);
        part.put(&key("sub/z"), "new".into(), Condition::None).await.unwrap();
        assert_eq!(all.info(&key("2013/sub/z")).await.unwrap().size, 3);
        assert_eq!(other.list(&KeyPrefix::default(), None, 9).await.unwrap().len(), 1);
    });
}

#[test]
fn of_many_conditional_puts_one_wins() {
    on_both(async |buckets, tenant| {
        let bucket = granted(buckets, tenant, "");
        let key = key("once");
        let put = |condition: Condition| bucket.put(&key, Bytes::from_static(b"x"), condition);
        let puts = (0..8).map(|_| put(Condition::Absent));
        let won = futures::future::join_all(puts).await;
        assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "{won:?}");
        let first = bucket.info(&key).await.unwrap();
        bucket.put(&key, "second".into(), Condition::Match(first.etag.clone())).await.unwrap();
        let stale = put(Condition::Match(first.etag)).await.unwrap_err();
        assert_eq!(stale.kind, BucketErrorKind::Precondition);
        assert_eq!(bucket.get(&key, 0..9).await.unwrap().1, "second");
    });
}

#[test]
fn an_upload_is_seen_when_it_is_whole() {
    on_both(async |buckets, tenant| {
        let bucket = granted(buckets, tenant, "");
        let piece = vec![7_u8; 1 << 20];
        let mut upload = bucket.upload(&key("big")).await.unwrap();
        for _ in 0..9 {
            upload.write(&piece).await.unwrap();
        }
        assert_eq!(bucket.info(&key("big")).await.unwrap_err().kind, BucketErrorKind::Missing);
        assert_eq!(upload.finish().await.unwrap(), 9 << 20);
        assert_eq!(bucket.info(&key("big")).await.unwrap().size, 9 << 20);
        let mut given_up = bucket.upload(&key("never")).await.unwrap();
        given_up.write(&piece).await.unwrap();
        given_up.abort().await;
        assert_eq!(bucket.list(&KeyPrefix::default(), None, 9).await.unwrap().len(), 1);
    });
}

#[test]
fn publishing_is_idempotent_and_staged_objects_are_seen_by_nobody() {
    on_both(async |buckets, tenant| {
        let all = granted(buckets, tenant, "");
        let (project, pipeline, stage, output) =
            ("default".parse().unwrap(), "p".parse().unwrap(), "s".parse().unwrap(), "out".parse().unwrap());
        let pipeline = PipelinePath { project: &project, pipeline: &pipeline, incarnation: "1" };
        let path = OutputPath { pipeline, stage: &stage, output: &output };
        let bucket = buckets.output(&scope(tenant), &path, &"data".parse().unwrap());
        // Above the size at which S3 wants parts.
        let large = Bytes::from(vec![1; 9 << 20]);
        let staged = bucket.stage(3, large.clone()).await.unwrap();
        let orphan = bucket.stage(3, "orphan".into()).await.unwrap();
        assert_eq!(staged.bytes, large.len() as u64);
        assert_eq!(all.list(&KeyPrefix::default(), None, 9).await.unwrap(), []);
        let to = key("by-hour/3-0.parquet");
        assert_eq!(bucket.publish(&staged.name, &to).await.unwrap(), Published::Now);
        assert_eq!(bucket.publish(&staged.name, &to).await.unwrap(), Published::Before);
        assert_eq!(all.get(&to, 0..u64::MAX).await.unwrap().1, large);
        all.delete(&to).await.unwrap();
        assert_eq!(bucket.publish(&staged.name, &to).await.unwrap(), Published::Deleted);
        assert_eq!(bucket.staged_before(3, Duration::from_secs(3600)).await.unwrap(), []);
        // A clock that differs by a second between here and the server does not matter for an hour.
        while bucket.staged_before(3, Duration::ZERO).await.unwrap() != std::slice::from_ref(&orphan.name) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bucket.discard(&orphan.name).await.unwrap();
        assert_eq!(bucket.staged_before(3, Duration::ZERO).await.unwrap(), []);
    });
}

/// Neighbours have names that begin alike.
#[test]
fn what_goes_with_a_pipeline_or_a_tenant_is_all_of_its_own_and_nobody_elses() {
    on_both(async |buckets, tenant| {
        let neighbour = format!("{tenant}-2");
        let (project, pipeline, stage, output) =
            ("default".parse().unwrap(), "p".parse().unwrap(), "s".parse().unwrap(), "out".parse().unwrap());
        let making = |incarnation| PipelinePath { project: &project, pipeline: &pipeline, incarnation };
        let of = |tenant: &str, incarnation, bucket: &str| {
            let path = OutputPath { pipeline: making(incarnation), stage: &stage, output: &output };
            buckets.output(&scope(tenant), &path, &bucket.parse().unwrap())
        };
        let left = async |output: &OutputBucket| output.staged_before(0, Duration::ZERO).await.unwrap().len();
        let (first, other, second) = (of(tenant, "1", "data"), of(tenant, "1", "more"), of(tenant, "2", "data"));
        let foreign = of(&neighbour, "1", "data");
        for output in [&first, &other, &second, &foreign] {
            output.stage(0, "row".into()).await.unwrap();
        }
        for owner in [tenant, &neighbour] {
            granted(buckets, owner, "").put(&key("a/b"), "mine".into(), Condition::None).await.unwrap();
        }
        for output in [&first, &other, &second, &foreign] {
            // A clock that differs by a second between here and the server would hide it that long.
            while left(output).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(buckets.discard_staged(&scope(tenant), &making("1")).await.unwrap());
        assert_eq!([left(&first).await, left(&other).await, left(&second).await, left(&foreign).await], [0, 0, 1, 1]);
        let objects =
            async |owner| granted(buckets, owner, "").list(&KeyPrefix::default(), None, 9).await.unwrap().len();
        assert_eq!(objects(tenant).await, 1, "published objects are the tenant's");
        for _ in 0..2 {
            while buckets.delete_tenant(&scope(tenant)).await.unwrap() > 0 {}
        }
        assert_eq!([left(&second).await, left(&foreign).await], [0, 1]);
        assert_eq!((objects(tenant).await, objects(&neighbour).await), (0, 1));
    });
}

#[test]
fn a_deletion_of_very_many_objects_says_that_there_are_more() {
    let home = tempfile::tempdir().unwrap();
    let (buckets, acme) = (folder(home.path()), scope("acme"));
    let objects = home.path().join("acme/data");
    std::fs::create_dir_all(&objects).unwrap();
    (0..1_500).for_each(|n| std::fs::write(objects.join(n.to_string()), "").unwrap());
    let calls = run(async {
        let mut calls = 1;
        while buckets.delete_tenant(&acme).await.unwrap() > 0 {
            calls += 1;
        }
        calls
    });
    assert!(calls > 1, "so many were deleted at once");
    assert_eq!(std::fs::read_dir(&objects).map_or(0, Iterator::count), 0);
}
