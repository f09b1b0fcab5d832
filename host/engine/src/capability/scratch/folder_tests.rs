//! What becomes of folders: of instances that end, of processes that die, and of guests that nest.

use super::*;
use std::time::{Duration, Instant};

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn folders_are_private_apart_and_gone_with_their_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("scratch");
    let scratch = Scratch::new(path.clone(), 1 << 20);
    assert_eq!(names(&path), [""; 0], "nothing is made before it is needed");
    let (a, b) = (scratch.lend(10).unwrap(), scratch.lend(10).unwrap());
    assert_ne!(a.name, b.name);
    a.dir.write("file", b"a").unwrap();
    assert!(!b.dir.exists("file"));
    let own = path.join(&names(&path)[0]);
    for folder in [path.clone(), own.clone(), own.join(&a.name)] {
        assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let left = b.name.clone();
    drop(a);
    assert_eq!(names(&own), [left]);
    drop(scratch);
    assert_eq!(names(&path).len(), 1, "an instance still runs");
    drop(b);
    assert_eq!(names(&path), [""; 0]);
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_living_one_has_is_not() {
    let root = tempfile::tempdir().unwrap();
    let living = Scratch::new(root.path().to_owned(), 1 << 20);
    let kept = living.lend(10).unwrap();
    kept.dir.write("file", b"kept").unwrap();
    let dead = root.path().join("dead");
    std::fs::create_dir_all(dead.join("instance/inner")).unwrap();
    std::fs::write(dead.join("instance/inner/file"), b"left").unwrap();
    let next = Scratch::new(root.path().to_owned(), 1 << 20);
    wait_until("the dead one's folder is gone", || !dead.exists());
    drop(next);
    assert_eq!(kept.dir.read("file").unwrap(), b"kept");
}

#[test]
fn what_is_lent_in_all_is_bounded_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(root.path().to_owned(), 100);
    let first = scratch.lend(60).unwrap();
    let Err(fault) = scratch.lend(60) else { panic!("more was lent than there is") };
    assert_eq!(fault.code, Code::ScratchUnavailable);
    drop(first);
    drop(scratch.lend(60).unwrap());
}

#[test]
fn folders_nested_deeper_than_a_path_goes_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(root.path().to_owned(), 100);
    let lent = scratch.lend(10).unwrap();
    let name = "n".repeat(255);
    let mut dir = lent.dir.try_clone().unwrap();
    for _ in 0..300 {
        dir.write("file", b"x").unwrap();
        dir.create_dir(&name).unwrap();
        dir = dir.open_dir(&name).unwrap();
    }
    drop((dir, lent, scratch));
    assert_eq!(names(root.path()), [""; 0]);
}
