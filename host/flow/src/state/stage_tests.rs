//! The layers of a store, in memory and on disk.

use super::*;
use bulkhead_core::limits::STATE_ENTRY_BYTES;

fn store(max_bytes: u64) -> StageState {
    StageState::new(max_bytes, Arc::new(Disks::new(None)))
}

fn all(state: &StageState) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let found = state.scan(b"", None, usize::MAX, u64::MAX).unwrap();
    found.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn accept(state: &StageState) {
    state.keep_call();
    state.accept(|_| ()).unwrap();
}

#[test]
fn a_scan_sees_the_newest_layer_of_each_key() {
    let state = store(1 << 20);
    for key in ["a", "b", "c", "d"] {
        state.set(key.as_bytes(), b"local").unwrap();
    }
    accept(&state);
    state.set(b"b", b"batch").unwrap();
    state.delete(b"c").unwrap();
    state.set(b"e", b"batch").unwrap();
    state.keep_call();
    state.set(b"c", b"call").unwrap();
    state.delete(b"d").unwrap();
    state.delete(b"e").unwrap();
    assert_eq!(all(&state), pairs(&[("a", "local"), ("b", "batch"), ("c", "call")]));
    assert_eq!(state.scan(b"b", Some(b"c"), 9, 1 << 20).unwrap().len(), 1);
    assert_eq!(state.scan(b"", None, 2, 1 << 20).unwrap().len(), 2);
    assert_eq!(state.scan(b"", None, 9, 1).unwrap().len(), 1, "always one");
    state.discard_call();
    assert_eq!(all(&state), pairs(&[("a", "local"), ("b", "batch"), ("d", "local"), ("e", "batch")]));
    state.discard_batch();
    assert_eq!(all(&state), pairs(&[("a", "local"), ("b", "local"), ("c", "local"), ("d", "local")]));
}

#[test]
fn what_is_counted_is_what_is_there() {
    let entry = 1 + 5 + STATE_ENTRY_BYTES;
    let state = store(2 * entry);
    state.set(b"a", b"12345").unwrap();
    state.set(b"a", b"54321").unwrap();
    state.set(b"b", b"12345").unwrap();
    assert!(matches!(state.set(b"c", b""), Err(StateError::Full(_))), "a third entry does not fit");
    state.delete(b"b").unwrap();
    state.set(b"c", b"12345").unwrap();
    accept(&state);
    assert_eq!(state.bytes(), 2 * entry);
    assert!(state.set(b"a", b"123456").is_err(), "a longer value does not fit either");
    state.set(b"a", b"").unwrap();
    state.discard_call();
    assert!(state.set(b"a", b"123456").is_err(), "what was discarded made no room");
    state.delete(b"a").unwrap();
    state.delete(b"nothing").unwrap();
    accept(&state);
    assert_eq!(state.bytes(), entry);
}

#[test]
fn a_batch_does_not_write_without_end() {
    let state = store(u64::MAX);
    let value = vec![0; 1 << 20];
    let fits = (0..100_u32).take_while(|n| state.set(&n.to_be_bytes(), &value).is_ok()).count() as u64;
    assert_eq!(fits, STATE_BATCH_BYTES_MAX / ((1 << 20) + 4 + STATE_ENTRY_BYTES));
    for _ in 0..100 {
        state.set(&0_u32.to_be_bytes(), &value).unwrap_or_else(|_| panic!("the same key again is no more memory"));
    }
}

/// Enough to go to disk, written by batches as well as restored.
#[test]
fn a_large_store_is_the_same_on_disk() {
    let value = vec![b'v'; 100];
    let state = store(u64::MAX);
    let key = |n: u32| format!("{n:06}").into_bytes();
    let count = 60_000;
    for n in 0..count / 2 {
        state.set(&key(n), &value).unwrap();
    }
    accept(&state);
    for n in count / 2..count {
        state.set(&key(n), &value).unwrap();
    }
    state.delete(&key(7)).unwrap();
    accept(&state);
    let entry = entry_bytes(6, 100);
    assert_eq!(state.bytes(), u64::from(count - 1) * entry);
    let again = store(u64::MAX);
    let mut restoring = again.restoring();
    for n in (0..count).rev() {
        restoring.put(&key(n), Some(&value)).unwrap();
        restoring.put(&key(n), Some(&value)).unwrap();
    }
    restoring.put(&key(7), None).unwrap();
    restoring.finish().unwrap();
    assert_eq!(again.bytes(), state.bytes());
    for state in [&state, &again] {
        assert_eq!(state.get(&key(6)).unwrap().as_deref(), Some(value.as_slice()));
        assert_eq!(state.get(&key(7)).unwrap(), None);
        state.set(&key(7), b"new").unwrap();
        let found = state.scan(&key(6), Some(&key(10)), 99, 1 << 20).unwrap();
        let keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, [key(6), key(7), key(8), key(9)]);
        assert_eq!(found[1].1, b"new");
    }
}
