//! The host's buckets; outside wasm those that the case of a test lends, one set for each thread.
//!
//! Must never: keep native buckets when their test ends; `testing` takes them.

#[cfg(target_family = "wasm")]
pub(super) use super::contract::{Container, Upload, open};
#[cfg(not(target_family = "wasm"))]
pub(super) use native::{Container, Upload, open};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native {
    //! The stand-in, with the signatures that are generated for wasm.
    use super::super::contract::{Condition, Error, ObjectInfo};
    use crate::testing::{Access, Bucket, bucket_key, bucket_prefix};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// What is lent, by grant.
    pub(crate) type Lent = BTreeMap<String, (Access, Bucket)>;

    thread_local! {
        static LENT: RefCell<Lent> = const { RefCell::new(Lent::new()) };
    }

    /// Lends these and gives back what was lent before.
    pub(crate) fn lend(buckets: Lent) -> Lent {
        LENT.replace(buckets)
    }

    #[derive(Clone)]
    pub(crate) struct Container {
        grant: String,
    }

    pub(crate) struct Upload {
        to: Container,
        key: String,
        bytes: RefCell<Vec<u8>>,
    }

    pub(crate) fn open(grant: &str) -> Container {
        let lent = LENT.with_borrow(|lent| lent.contains_key(grant));
        assert!(lent, "the case lends no bucket under the name `{grant}`: see `Case::bucket`");
        Container { grant: grant.to_owned() }
    }

    fn key(key: &str) -> Result<&str, Error> {
        bucket_key(key).map(|()| key).map_err(Error::KeyRefused)
    }

    impl Container {
        fn with<R>(&self, allows: fn(Access) -> bool, work: impl FnOnce(&mut Bucket) -> R) -> R {
            let in_reach = crate::state::native::is_in_reach();
            assert!(in_reach, "buckets are in reach while a record is worked on and in a tick, not in `init`");
            LENT.with_borrow_mut(|lent| {
                let (access, bucket) = lent.get_mut(&self.grant).expect("it was opened");
                assert!(allows(*access), "the case lends the bucket `{}` for something else", self.grant);
                work(bucket)
            })
        }

        pub(crate) fn get(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
            let length = length.min(super::super::OBJECT_BYTES_MAX as u64);
            self.with(Access::reads, |bucket| bucket.get(key(name)?, offset, length).ok_or(Error::NoSuchObject))
        }

        pub(crate) fn info(&self, name: &str) -> Result<ObjectInfo, Error> {
            self.with(Access::reads, |bucket| bucket.info(key(name)?).map(told).ok_or(Error::NoSuchObject))
        }

        pub(crate) fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<ObjectInfo>, Error> {
            bucket_prefix(prefix).map_err(Error::KeyRefused)?;
            let after = after.map(key).transpose()?;
            let limit = limit.min(super::super::LIST_MAX) as usize;
            self.with(Access::reads, |bucket| Ok(bucket.list(prefix, after, limit).into_iter().map(told).collect()))
        }

        pub(crate) fn put(&self, name: &str, bytes: &[u8], condition: &Condition) -> Result<ObjectInfo, Error> {
            self.with(Access::writes, |bucket| {
                let (name, found) = (key(name)?, bucket.info(name));
                let holds = match condition {
                    Condition::None => true,
                    Condition::IfAbsent => found.is_none(),
                    Condition::IfMatch(etag) => found.is_some_and(|found| found.etag == *etag),
                };
                if holds { Ok(told(bucket.put(name, bytes))) } else { Err(Error::PreconditionFailed) }
            })
        }

        pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
            self.with(Access::writes, |bucket| key(name).map(|name| bucket.delete(name)))
        }

        pub(crate) fn upload(&self, name: &str) -> Result<Upload, Error> {
            let name = self.with(Access::writes, |_| key(name))?;
            Ok(Upload { to: self.clone(), key: name.to_owned(), bytes: RefCell::default() })
        }
    }

    impl Upload {
        pub(crate) fn write(&self, bytes: &[u8]) {
            self.bytes.borrow_mut().extend_from_slice(bytes);
        }

        pub(crate) fn finish(&self) -> Result<u64, Error> {
            let bytes = self.bytes.take();
            self.to.with(Access::writes, |bucket| bucket.put(&self.key, &bytes));
            Ok(bytes.len() as u64)
        }
    }

    fn told(info: super::super::ObjectInfo) -> ObjectInfo {
        let super::super::ObjectInfo { key, size, etag, modified } = info;
        ObjectInfo { key, size, etag, modified }
    }
}
