//! Tests of the cache on a real folder.

use super::*;
use crate::config::CompilerCommand;

fn config(folder: &Path) -> EngineConfig {
    EngineConfig::new(folder.join("code"), CompilerCommand { program: "none".into(), args: vec![] })
}

fn entry(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder.join("code")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn code_comes_back_only_for_its_digest_fingerprint_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let digest = ModuleDigest::of(b"module");
    let cache = Cache::open(&config(folder.path()), [1; 32]).unwrap();
    cache.put(&digest, b"code");
    assert_eq!(cache.get(&digest).as_deref(), Some(&b"code"[..]));
    assert_eq!(cache.get(&ModuleDigest::of(b"other")), None);
    let other_host = Cache::open(&config(folder.path()), [2; 32]).unwrap();
    assert_eq!(other_host.get(&digest), None);

    // Under another's name, with the same key.
    std::fs::copy(entry(folder.path()), folder.path().join("code").join(cache.name(&ModuleDigest::of(b"victim"))))
        .unwrap();
    assert_eq!(cache.get(&ModuleDigest::of(b"victim")), None);
    // Under another key.
    std::fs::remove_file(folder.path().join("code.key")).unwrap();
    let other_key = Cache::open(&config(folder.path()), [1; 32]).unwrap();
    assert_eq!(other_key.get(&digest), None);
}

#[test]
fn an_entry_that_was_changed_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let digest = ModuleDigest::of(b"module");
    let cache = Cache::open(&config(folder.path()), [1; 32]).unwrap();
    for change in [&b"short"[..], &[0; MAC_BYTES], &[0; 100]] {
        cache.put(&digest, b"code");
        std::fs::write(entry(folder.path()), change).unwrap();
        assert_eq!(cache.get(&digest), None);
        assert_eq!(std::fs::read_dir(folder.path().join("code")).unwrap().count(), 0);
    }
}

#[test]
fn the_key_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&config(folder.path()), [1; 32]).unwrap();
    let path = folder.path().join("code.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Cache::open(&config(folder.path()), [1; 32]).unwrap().key, cache.key);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Cache::open(&config(folder.path()), [1; 32]).err().unwrap();
    assert_eq!(refused.code, Code::ConfigInvalid);
    assert!(refused.message.contains("chmod 600"), "{refused}");
}

#[test]
fn what_was_used_longest_ago_is_removed_where_there_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EngineConfig { cache_bytes_max: 350, ..config(folder.path()) };
    let cache = Cache::open(&settings, [1; 32]).unwrap();
    let digests = [1_u8, 2, 3].map(|i| ModuleDigest::of(&[i]));
    let age = |digest: &ModuleDigest, seconds| {
        let file = std::fs::File::open(folder.path().join("code").join(cache.name(digest))).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(seconds)).unwrap();
    };
    cache.put(&digests[0], &[0; 100]);
    cache.put(&digests[1], &[0; 100]);
    age(&digests[0], 200);
    age(&digests[1], 100);
    // Used again, so the second is now the older one.
    assert!(cache.get(&digests[0]).is_some());
    let unfinished = folder.path().join("code/left.new");
    std::fs::write(&unfinished, "x").unwrap();
    cache.put(&digests[2], &[0; 100]);
    assert!(cache.get(&digests[1]).is_none());
    assert!(cache.get(&digests[0]).is_some() && cache.get(&digests[2]).is_some());
    assert!(unfinished.exists(), "it may be under way");

    let left = std::fs::File::options().write(true).open(&unfinished).unwrap();
    left.set_modified(SystemTime::now() - std::time::Duration::from_secs(7_200)).unwrap();
    cache.put(&digests[2], &[0; 100]);
    assert!(!unfinished.exists());
}

#[test]
fn what_is_not_kept_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let [kept, gone] = [b"kept", b"gone"].map(|bytes| ModuleDigest::of(bytes));
    let cache = Cache::open(&config(folder.path()), [1; 32]).unwrap();
    cache.put(&kept, b"code");
    cache.put(&gone, b"code");
    std::fs::write(folder.path().join("code").join(format!("{}.0.1.new", gone.hex())), "half").unwrap();
    cache.keep_only(&BTreeSet::from([kept]));
    assert_eq!(std::fs::read_dir(folder.path().join("code")).unwrap().count(), 1);
    assert_eq!(cache.get(&kept).as_deref(), Some(&b"code"[..]));
}
