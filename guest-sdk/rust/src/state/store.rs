//! The host's store; outside wasm a map in memory, one for each thread, input and partition.
//!
//! What it promises: both behave as the contract says, a page of a scan included.
//! Must never: keep a native store when its test ends; `testing` takes it.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::bulkhead::stage::state::{delete, get, set};

/// A page of entries: empty only at the end.
#[cfg(target_family = "wasm")]
pub(crate) fn scan(start: &[u8], end: Option<&[u8]>, limit: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let page = crate::bindings::bulkhead::stage::state::scan(start, end, limit);
    page.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{delete, get, scan, set};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    //! The stand-in.
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::ops::Bound;

    /// Keys and values of one partition.
    pub(crate) type Store = BTreeMap<Vec<u8>, Vec<u8>>;
    /// Stores by input and partition.
    pub(crate) type Stores = BTreeMap<(u16, i32), Store>;

    /// Bytes of one page, as in the contract.
    const PAGE_BYTES_MAX: usize = 1024 * 1024;

    thread_local! {
        static STORES: RefCell<Stores> = const { RefCell::new(Stores::new()) };
        static IN_REACH: Cell<Option<(u16, i32)>> = const { Cell::new(None) };
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn enter(input: u16, partition: i32) {
        IN_REACH.set(Some((input, partition)));
    }

    pub(crate) fn leave() {
        IN_REACH.set(None);
    }

    /// Whether a record is worked on, or a tick.
    pub(crate) fn is_in_reach() -> bool {
        IN_REACH.get().is_some()
    }

    /// Takes all stores of this thread; what was empty is left out.
    pub(crate) fn take() -> Stores {
        let mut stores = STORES.take();
        stores.retain(|_, store| !store.is_empty());
        stores
    }

    /// How often this thread called a store.
    #[cfg(test)]
    pub(crate) fn calls() -> u64 {
        CALLS.get()
    }

    fn with<R>(work: impl FnOnce(&mut Store) -> R) -> R {
        let partition =
            IN_REACH.get().expect("state is in reach while a record is worked on and in a tick, not in `init`");
        CALLS.set(CALLS.get() + 1);
        STORES.with_borrow_mut(|stores| work(stores.entry(partition).or_default()))
    }

    pub(crate) fn get(key: &[u8]) -> Option<Vec<u8>> {
        with(|store| store.get(key).cloned())
    }

    pub(crate) fn set(key: &[u8], value: &[u8]) {
        with(|store| store.insert(key.to_vec(), value.to_vec()));
    }

    pub(crate) fn delete(key: &[u8]) {
        with(|store| store.remove(key));
    }

    pub(crate) fn scan(start: &[u8], end: Option<&[u8]>, limit: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        if end.is_some_and(|end| end <= start) {
            return Vec::new();
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        let fits = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
            let first = bytes == 0;
            bytes += key.len() + value.len();
            first || bytes <= PAGE_BYTES_MAX
        };
        with(|store| {
            let entries = store.range::<[u8], _>((Bound::Included(start), end)).take(limit as usize).take_while(fits);
            entries.map(|(key, value)| (key.clone(), value.clone())).collect()
        })
    }
}
