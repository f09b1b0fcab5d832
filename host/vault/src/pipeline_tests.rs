//! What is sealed for a pipeline opens for it alone, whatever was rotated since, and names stay what they were.

use super::*;
use crate::{LocalMaster, MasterKey, Vault};
use bulkhead_core::code::Code;
use std::sync::Arc;

fn key(pipeline: &str) -> PipelineKey {
    PipelineKey {
        tenant: "acme".parse().unwrap(),
        project: "shop.eu".parse().unwrap(),
        pipeline: pipeline.parse().unwrap(),
    }
}

/// The tenant's keys before and after a rotation.
fn rotated() -> (TenantKeys, TenantKeys) {
    let master: Arc<dyn MasterKey> = Arc::new(LocalMaster::generate().unwrap());
    let vault = Vault::new(master, None);
    let tenant = key("p").tenant;
    let [one, two] = [1, 2].map(|version| vault.new_key(&tenant, version).unwrap());
    (vault.open(&tenant, vec![one.clone()]).unwrap(), vault.open(&tenant, vec![one, two]).unwrap())
}

#[test]
fn a_value_opens_for_its_pipeline_beside_what_it_stood_and_after_a_rotation() {
    let (before, after) = rotated();
    let keys = before.of_pipeline(&key("p"));
    let sealed = keys.seal("state", &[b"a", b"b"], b"hunter2").unwrap();
    assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
    let lent = PipelineKeys::lent(&key("p"), &after.of_pipeline(&key("p")).lend()).unwrap();
    assert_eq!(lent.open("state", &[b"a", b"b"], &sealed).unwrap().as_slice(), b"hunter2");
    let refused =
        |keys: &PipelineKeys, kind, beside: &[&[u8]], sealed: &[u8]| keys.open(kind, beside, sealed).unwrap_err().code;
    assert_eq!(refused(&lent, "letter", &[b"a", b"b"], &sealed), Code::SealBroken);
    assert_eq!(refused(&lent, "state", &[b"ab", b""], &sealed), Code::SealBroken);
    assert_eq!(refused(&after.of_pipeline(&key("q")), "state", &[b"a", b"b"], &sealed), Code::SealBroken);
    let newer = lent.seal("state", &[], b"x").unwrap();
    assert_eq!((keys.current(), lent.current(), refused(&keys, "state", &[], &newer)), (1, 2, Code::KeysShredded));
    for byte in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[byte] ^= 1;
        assert!(lent.open("state", &[b"a", b"b"], &changed).is_err(), "byte {byte} does not matter");
    }
}

/// Else a compacted topic would keep what was removed.
#[test]
fn a_name_is_the_same_bytes_each_time_after_a_rotation_too_and_no_others() {
    let (before, after) = rotated();
    let (before, after) = (before.of_pipeline(&key("p")), after.of_pipeline(&key("p")));
    let name = before.name("state", b"customer-17").unwrap();
    assert_eq!(name, after.name("state", b"customer-17").unwrap());
    assert_eq!(after.open_name("state", &name).unwrap().as_slice(), b"customer-17");
    assert!(!name.windows(8).any(|window| window == b"customer"));
    let others = [
        before.name("state", b"customer-18").unwrap(),
        before.name("letter", b"customer-17").unwrap(),
        rotated().0.of_pipeline(&key("p")).name("state", b"customer-17").unwrap(),
    ];
    assert!(!others.contains(&name));
    // Two names under one nonce would show how they differ.
    let nonce = |name: &[u8]| name[1..25].to_vec();
    assert!(others.iter().all(|other| nonce(other) != nonce(&name)));
    let other = rotated().0.of_pipeline(&key("q"));
    assert_eq!(other.open_name("state", &name).unwrap_err().code, Code::SealBroken);
    for byte in 0..name.len() {
        let mut changed = name.clone();
        changed[byte] ^= 1;
        assert!(after.open_name("state", &changed).is_err(), "byte {byte} does not matter");
    }
    assert!(after.open_name("state", &[]).is_err());
}
