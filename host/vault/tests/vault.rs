//! The whole of the vault as its users see it, with each of the master keys that there are.
//!
//! Must never: sleep, or look at a format's inside but where the test is about it.

use bulkhead_core::code::Code;
use bulkhead_core::name::TenantId;
use bulkhead_vault::{CommandMaster, LocalMaster, MasterKey, Place, SEAL_BYTES, TenantKeys, Vault};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

const PLAIN: &[u8] = b"correct horse battery staple";
const HERE: Place<'static> = Place(&["secret", "shop.eu", "db-password", "1"]);

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn local() -> Arc<dyn MasterKey> {
    Arc::new(LocalMaster::generate().unwrap())
}

/// A key service of three lines: it keeps the place beside the key, reversed, and compares.
fn program(folder: &Path, name: &str) -> Arc<dyn MasterKey> {
    let path = folder.join(name);
    let script = format!(
        "#!/bin/sh\ncase $1 in\nid) echo {name};;\nwrap) read -r place; read -r key; echo \"$place$key\" | rev;;\n\
         unwrap) read -r place; read -r wrapped; found=$(echo \"$wrapped\" | rev); key=${{found#\"$place\"}}; \
         [ \"$found\" = \"$place$key\" ] || exit 1; echo \"$key\";;\nesac\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    Arc::new(CommandMaster::open(&path, Vec::new()).unwrap())
}

fn keys(vault: &Vault, name: &str, versions: u32) -> TenantKeys {
    let wrapped = (1..=versions).map(|version| vault.new_key(&tenant(name), version).unwrap()).collect();
    vault.open(&tenant(name), wrapped).unwrap()
}

#[test]
fn every_master_key_opens_what_it_wrapped_for_the_same_tenant_and_version_only() {
    let folder = tempfile::tempdir().unwrap();
    let file: Arc<dyn MasterKey> = Arc::new(LocalMaster::file_or_new(&folder.path().join("master.key")).unwrap());
    for master in [local(), file, program(folder.path(), "kms-a")] {
        let vault = Vault::new(master.clone(), None);
        let wrapped = vault.new_key(&tenant("acme"), 1).unwrap();
        let sealed = vault.open(&tenant("acme"), vec![wrapped.clone()]).unwrap().seal(HERE, PLAIN).unwrap();
        // Another process, with nothing opened yet.
        let again = Vault::new(master.clone(), None);
        let opened = again.open(&tenant("acme"), vec![wrapped.clone()]).unwrap().open(HERE, &sealed).unwrap();
        assert_eq!(opened.as_slice(), PLAIN);
        let mut moved = wrapped.clone();
        moved.version = 2;
        for (name, key) in [("other", wrapped.clone()), ("acme", moved)] {
            assert!(Vault::new(master.clone(), None).open(&tenant(name), vec![key]).is_err(), "{master:?} {name}");
        }
    }
}

#[test]
fn a_value_opens_nowhere_but_where_it_was_sealed_for() {
    let vault = Vault::new(local(), None);
    let acme = keys(&vault, "acme", 1);
    let sealed = acme.seal(HERE, PLAIN).unwrap();
    assert_eq!(sealed.len(), PLAIN.len() + SEAL_BYTES);
    let elsewhere: [&[&str]; 5] = [
        &["secret", "shop.eu", "db-password", "2"],
        &["secret", "shop.eu", "db-passwor", "d1"],
        &["secret", "shop", "db-password", "1"],
        &["config", "shop.eu", "db-password", "1"],
        &[],
    ];
    for place in elsewhere {
        assert_eq!(acme.open(Place(place), &sealed).unwrap_err().code, Code::SealBroken, "{place:?}");
    }
    let globex = keys(&vault, "globex", 1);
    assert_eq!(globex.open(HERE, &sealed).unwrap_err().code, Code::SealBroken);
}

/// Each bit that is kept matters, and so does each byte that is missing.
#[test]
fn a_changed_or_shortened_value_does_not_open() {
    let acme = keys(&Vault::new(local(), None), "acme", 1);
    let sealed = acme.seal(HERE, PLAIN).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(acme.open(HERE, &changed).is_err(), "bit {bit} does not matter");
    }
    for length in 0..sealed.len() {
        assert!(acme.open(HERE, &sealed[..length]).is_err(), "{length} bytes are enough");
    }
}

#[test]
fn values_of_every_length_come_back_and_no_two_ciphertexts_are_the_same() {
    let acme = keys(&Vault::new(local(), None), "acme", 1);
    for length in [0, 1, 15, 16, 17, 63, 64, 65, 4_096, 65_536] {
        let plain: Vec<u8> = (0..length).map(|i| (i * 7 + 3) as u8).collect();
        let (one, two) = (acme.seal(HERE, &plain).unwrap(), acme.seal(HERE, &plain).unwrap());
        assert_ne!(one, two, "a nonce came twice");
        assert_eq!(*acme.open(HERE, &one).unwrap(), plain);
    }
}

#[test]
fn a_new_version_seals_from_then_on_and_the_old_one_still_opens() {
    let vault = Vault::new(local(), None);
    let first = vault.new_key(&tenant("acme"), 1).unwrap();
    let before = vault.open(&tenant("acme"), vec![first.clone()]).unwrap();
    let old = before.seal(HERE, PLAIN).unwrap();
    let second = vault.new_key(&tenant("acme"), 2).unwrap();
    let after = vault.open(&tenant("acme"), vec![first, second.clone()]).unwrap();
    let new = after.seal(HERE, PLAIN).unwrap();
    assert_eq!((before.current(), after.current()), (1, 2));
    assert_eq!(*before.pepper(), *after.pepper());
    assert_eq!(after.open(HERE, &old).unwrap().as_slice(), PLAIN);
    assert_eq!(after.open(HERE, &new).unwrap().as_slice(), PLAIN);
    assert_eq!(before.open(HERE, &new).unwrap_err().code, Code::KeysShredded);
    // Once the first is shredded, what it sealed is gone and the rest is not.
    let shredded = vault.open(&tenant("acme"), vec![second]).unwrap();
    assert_eq!(shredded.open(HERE, &old).unwrap_err().code, Code::KeysShredded);
    assert_eq!(shredded.open(HERE, &new).unwrap().as_slice(), PLAIN);
}

#[test]
fn a_master_key_rotates_into_another_kind_without_touching_what_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (local(), program(folder.path(), "kms-b"));
    let vault = Vault::new(old.clone(), None);
    let wrapped = vault.new_key(&tenant("acme"), 1).unwrap();
    let sealed = vault.open(&tenant("acme"), vec![wrapped.clone()]).unwrap().seal(HERE, PLAIN).unwrap();

    let alone = Vault::new(new.clone(), None);
    let refused = alone.open(&tenant("acme"), vec![wrapped.clone()]).unwrap_err();
    assert_eq!(refused.code, Code::KeyNotOpened);
    assert!(refused.message.contains(&old.id().to_string()), "{refused}");

    let both = Vault::new(new.clone(), Some(old));
    let again = both.wrapped_by_current(&tenant("acme"), &wrapped).unwrap().expect("it was the old one's");
    assert_eq!(both.wrapped_by_current(&tenant("acme"), &again).unwrap(), None);
    let alone = Vault::new(new, None);
    let opened = alone.open(&tenant("acme"), vec![again]).unwrap().open(HERE, &sealed).unwrap();
    assert_eq!(opened.as_slice(), PLAIN);
}

#[test]
fn without_its_keys_a_tenant_has_nothing() {
    let vault = Vault::new(local(), None);
    assert_eq!(vault.open(&tenant("acme"), Vec::new()).unwrap_err().code, Code::KeysShredded);
}

#[test]
fn a_program_that_fails_or_talks_nonsense_is_said_without_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken");
    for (script, shown) in [
        ("echo leaked-by-the-program; exit 3", "failed"),
        ("printf '\\377'", "no answer that can be read"),
        ("echo two words", "name of 1 to 200"),
        ("yes | head -c 100000", "program"),
    ] {
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let refused = CommandMaster::open(&path, Vec::new()).unwrap_err();
        assert_eq!(refused.code, Code::MasterKeyUnusable);
        assert!(refused.message.contains(shown) && !refused.message.contains("leaked"), "{refused}");
    }
    assert!(CommandMaster::open(&folder.path().join("missing"), Vec::new()).is_err());
}

#[test]
fn nothing_secret_is_in_what_is_printed() {
    let vault = Vault::new(local(), None);
    let acme = keys(&vault, "acme", 2);
    let shown = format!("{vault:?} {acme:?}");
    assert_eq!(shown.matches("DataKey(..)").count(), 2, "{shown}");
    assert!(!shown.contains("["), "bytes are shown: {shown}");
}
