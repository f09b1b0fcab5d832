//! A worker whose control is away has the secrets that it had, and its disk shows none of them.

use super::*;
use crate::client::TokenSource;
use bulkhead_core::secret::{LentSecret, SecretValue};
use bulkhead_vault::LocalMaster;

const VALUE: &[u8] = b"value-of-a-secret-6e2b90";

/// A control that nobody answers for: the port of `tcpmux`.
fn away() -> Client {
    Client::new("http://127.0.0.1:1", TokenSource::Fixed("none".to_owned()), &[]).unwrap()
}

fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(Arc::new(LocalMaster::generate().unwrap()), None))
}

/// A pipeline that is granted `token`, whose value has this stamp.
fn assigned(stamp: &str) -> PipelineAssignment {
    let manifest =
        "{apiVersion: bulkhead/v1, kind: Pipeline, name: p, inputs: [{topic: in}], deadLetter: {topic: dead},
        stages: [{name: s, module: m, secrets: [token], outputs: {out: {topic: out}}}]}";
    let spec = bulkhead_core::manifest::parse(manifest).unwrap();
    let spec = spec.resolve(|_| Some(bulkhead_core::name::ModuleDigest::of(b"m"))).unwrap();
    let key = PipelineKey {
        tenant: "acme".parse().unwrap(),
        project: "default".parse().unwrap(),
        pipeline: "p".parse().unwrap(),
    };
    PipelineAssignment {
        key,
        incarnation: String::new(),
        starts: 0,
        revision: 1,
        spec,
        paused: false,
        held: None,
        initialised: BTreeMap::new(),
        secrets: BTreeMap::from([("token".parse().unwrap(), stamp.to_owned())]),
        key_version: 0,
        ticks: false,
    }
}

async fn fetched(secrets: &WorkerSecrets, stamp: &str) -> Result<Vec<u8>, HostFault> {
    let values = secrets.fetch(Arc::new(assigned(stamp))).await?;
    Ok(values[&"token".parse().unwrap()].expose().to_vec())
}

#[tokio::test]
async fn what_was_fetched_is_there_after_a_restart_without_control_and_sealed_meanwhile() {
    let (folder, vault) = (tempfile::tempdir().unwrap(), vault());
    let open = |vault: &Arc<Vault>, slot| WorkerSecrets::open(away(), vault.clone(), folder.path(), slot).unwrap();
    let first = open(&vault, "pool-0");
    assert_eq!(fetched(&first, "1").await.unwrap_err().code, Code::SecretUnavailable, "it never had it");
    let lent = LentSecret { stamp: "1".to_owned(), value: SecretValue::new(VALUE.to_vec()) };
    let lent = Lent { secrets: BTreeMap::from([("token".parse().unwrap(), lent)]), keys: None };
    first.0.known.lock().insert(assigned("1").key, lent);
    first.remember().await;
    drop(first);

    let bytes = std::fs::read(folder.path().join("secrets.sealed")).unwrap();
    let hex = VALUE.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for text in [VALUE, hex.as_bytes()] {
        assert!(!bytes.windows(text.len()).any(|window| window == text), "in plain");
    }
    let again = open(&vault, "pool-0");
    assert_eq!(fetched(&again, "1").await.unwrap(), VALUE);
    assert_eq!(
        fetched(&again, "2").await.unwrap(),
        VALUE,
        "the new value is out of reach: it goes on with the old one"
    );
    // Another slot's file and another key's are none.
    assert!(fetched(&open(&vault, "pool-1"), "1").await.is_err());
    let other = Arc::new(Vault::new(Arc::new(LocalMaster::generate().unwrap()), None));
    assert!(fetched(&open(&other, "pool-0"), "1").await.is_err());
}

#[tokio::test]
async fn an_assignment_whose_new_secrets_cannot_be_fetched_is_not_taken_over_and_what_is_not_assigned_is_forgotten() {
    let (folder, vault) = (tempfile::tempdir().unwrap(), vault());
    let secrets = WorkerSecrets::open(away(), vault.clone(), folder.path(), "pool-0").unwrap();
    let assignment = Assignment { generation: 1, pipelines: vec![assigned("1")], ..Assignment::default() };
    assert!(secrets.follow(&assignment).await.is_err());
    let lent = LentSecret { stamp: "1".to_owned(), value: SecretValue::new(VALUE.to_vec()) };
    let lent = Lent { secrets: BTreeMap::from([("token".parse().unwrap(), lent)]), keys: None };
    secrets.0.known.lock().insert(assigned("1").key, lent);
    secrets.follow(&assignment).await.unwrap();
    secrets.follow(&Assignment { generation: 2, ..Assignment::default() }).await.unwrap();
    let again = WorkerSecrets::open(away(), vault, folder.path(), "pool-0").unwrap();
    assert!(again.0.known.lock().is_empty() && secrets.0.known.lock().is_empty());
}

#[tokio::test]
async fn a_worker_whose_control_is_away_has_the_keys_that_it_had_and_waits_for_those_that_it_never_had() {
    let (folder, vault) = (tempfile::tempdir().unwrap(), vault());
    let open = |slot| WorkerSecrets::open(away(), vault.clone(), folder.path(), slot).unwrap();
    let sealed = |version| PipelineAssignment { key_version: version, secrets: BTreeMap::new(), ..assigned("1") };
    let secrets = open("pool-0");
    assert_eq!(secrets.keys(Arc::new(sealed(1))).await.unwrap_err().code, Code::SecretUnavailable);
    let wrapped = vault.new_key(&sealed(1).key.tenant, 1).unwrap();
    let theirs = vault.open(&sealed(1).key.tenant, vec![wrapped]).unwrap().of_pipeline(&sealed(1).key);
    let lent = Lent { secrets: BTreeMap::new(), keys: Some(theirs.lend()) };
    secrets.0.known.lock().insert(sealed(1).key, lent);
    let assignment = |version| Assignment { pipelines: vec![sealed(version)], ..Assignment::default() };
    secrets.follow(&assignment(1)).await.unwrap();
    secrets.remember().await;
    assert!(secrets.follow(&assignment(2)).await.is_err(), "a rotation that it cannot follow is not taken over");
    drop(secrets);
    let again = open("pool-0");
    let value = theirs.seal("state", &[], b"a change").unwrap();
    let keys = again.keys(Arc::new(sealed(2))).await.unwrap();
    assert_eq!(keys.open("state", &[], &value).unwrap().as_slice(), b"a change");
    again.follow(&Assignment::default()).await.unwrap();
    assert!(open("pool-0").keys(Arc::new(sealed(1))).await.is_err(), "kept for a pipeline that is not assigned");
}
