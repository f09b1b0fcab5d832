//! What the background does to rows, whose conditions no request can bring about in a test's time: ages are set by hand.

use super::*;
use crate::audit::line::{Chain, Draft, Kind};
use crate::policy::{Fleet, Platform};
use bulkhead_core::assignment::{Phase, PipelineKey, PipelineReport, Totals};
use bulkhead_core::audit::{Anchor, Checker};
use bulkhead_core::scope::TenantScope;
use bulkhead_test_services::ScratchDatabase;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

struct Fixture {
    store: Store,
    place: Place,
    scope: TenantScope,
    _database: Option<ScratchDatabase>,
    _dir: tempfile::TempDir,
}

fn key() -> PipelineKey {
    PipelineKey { tenant: "acme".parse().unwrap(), project: "default".parse().unwrap(), pipeline: "p".parse().unwrap() }
}

/// Runs each of these on each database.
macro_rules! on_each_database {
    ($($name:ident)*) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$name(super::Fixture::sqlite().await).await })* }
        mod postgres { $(#[tokio::test] async fn $name() { super::$name(super::Fixture::postgres().await).await })* }
    };
}

on_each_database! {
    boots_that_were_followed_are_folded_and_no_total_changes
    a_boot_that_was_long_silent_and_comes_back_counts_once
    two_writers_of_one_chain_leave_no_gap_and_no_two_lines_of_one_number
    the_audit_is_bounded_by_age_and_by_rows
    kept_answers_are_bounded_by_number_by_bytes_and_by_age
    every_table_with_rows_of_tenants_is_known_to_erasures
}

impl Fixture {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("control.db");
        std::fs::write(&file, "").unwrap();
        Self::of(Place::File(file), None, dir).await
    }

    async fn postgres() -> Self {
        let database = ScratchDatabase::new(None).unwrap();
        let owner = database.owner_url_file();
        let access = Access::read(&database.server_url_file(), Some(&owner), Duration::ZERO, 4).unwrap();
        Self::of(Place::Postgres(Box::new(access)), Some(database), tempfile::tempdir().unwrap()).await
    }

    async fn of(place: Place, database: Option<ScratchDatabase>, dir: tempfile::TempDir) -> Self {
        let store = Store::open(&place).await.unwrap();
        store
            .create_tenant(&Platform::for_test(), &key().tenant, MetadataPlacement::Shared, ("standard", ""))
            .await
            .unwrap();
        let scope = TenantScope::assume(key().tenant);
        let mut tx = store.begin(&scope).await.unwrap();
        sqlx::query(
            "INSERT INTO pipelines (tenant, project, pipeline, first_revision, revision, manifest, spec, paused,
                                    created_ms, updated_ms)
             VALUES ('acme', 'default', 'p', 1, 1, '', '{}', FALSE, 0, 0)",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        Self { store, place, scope, _database: database, _dir: dir }
    }

    /// The same database, as another process opens it.
    async fn again(&self) -> Store {
        Store::open(&self.place).await.unwrap()
    }

    /// A worker's boot says that it has done `records`, at this time.
    async fn said(&self, worker: &str, boot: &str, records: u64, at_ms: i64) {
        let totals = Totals { records_in: records, fuel: records, ..Totals::default() };
        let report = PipelineReport {
            key: key(),
            incarnation: String::new(),
            starts: 0,
            revision: 1,
            phase: Phase::Running,
            parked: false,
            standby: false,
            code: None,
            message: None,
            lag: Some(0),
            partitions: 1,
            totals,
            state_bytes: 0,
            memory_bytes: 0,
            slowed: None,
            stages: BTreeMap::new(),
            initialised: BTreeMap::new(),
            uses: Vec::new(),
        };
        self.store.merge_report(&Fleet::for_test(), Reporter { worker, boot }, &[&report]).await.unwrap();
        let mut tx = self.store.begin(&self.scope).await.unwrap();
        sqlx::query("UPDATE totals SET updated_ms = $1 WHERE worker = $2 AND boot = $3")
            .bind(at_ms)
            .bind(worker)
            .bind(boot)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn total(&self) -> u64 {
        self.store.totals(&self.scope, &key().project, &key().pipeline).await.unwrap().records_in
    }
}

async fn boots_that_were_followed_are_folded_and_no_total_changes(fixture: Fixture) {
    fixture.said("pool-0", "a", 10, 100).await;
    fixture.said("pool-0", "b", 5, 200).await;
    fixture.said("pool-0", "c", 1, 900).await;
    assert_eq!(fixture.store.fold_totals(500).await.unwrap(), 2);
    assert_eq!(fixture.total().await, 16);
    fixture.said("pool-0", "d", 4, 1_000).await;
    assert_eq!(fixture.store.fold_totals(950).await.unwrap(), 1, "a second folding adds to the first");
    assert_eq!(fixture.total().await, 20);
}

async fn a_boot_that_was_long_silent_and_comes_back_counts_once(fixture: Fixture) {
    fixture.said("pool-0", "a", 10, 100).await;
    fixture.said("pool-1", "x", 1, 900).await;
    assert_eq!(fixture.store.fold_totals(500).await.unwrap(), 0);
    fixture.said("pool-0", "a", 12, 1_000).await;
    assert_eq!(fixture.total().await, 13);
}

async fn kept_answers_are_bounded_by_number_by_bytes_and_by_age(fixture: Fixture) {
    let answer = |bytes: usize| Answer {
        fingerprint: "f".to_owned(),
        status: 200,
        kind: String::new(),
        etag: String::new(),
        body: vec![0; bytes],
    };
    let aged = async |key: &str, ms: i64| {
        let mut tx = fixture.store.begin(&fixture.scope).await.unwrap();
        sqlx::query("UPDATE answers SET kept_ms = $1 WHERE key = $2")
            .bind(ms)
            .bind(key)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let kept = async |key: &str| fixture.store.answer(&fixture.scope, key).await.unwrap().is_some();
    let now = now_ms();
    for i in 0..1_001_i64 {
        fixture.store.keep_answer(&fixture.scope, &format!("k{i}"), &answer(1)).await.unwrap();
        aged(&format!("k{i}"), now - 10_000 + i).await;
    }
    assert!(!kept("k0").await && kept("k1").await && kept("k1000").await);
    fixture.store.keep_answer(&fixture.scope, "large", &answer((16 << 20) - 10)).await.unwrap();
    assert!(kept("large").await && kept("k1000").await && !kept("k980").await);
    aged("k1000", now - ANSWER_KEPT_MS - 1).await;
    assert!(!kept("k1000").await, "its day is over, pruned or not");
    assert_eq!(fixture.store.prune_answers(now - ANSWER_KEPT_MS).await.unwrap(), 1);
}

/// A line of the tenant's chain.
fn line(action: &str) -> Draft {
    Draft::new(Kind::Decision, action, "project/default")
}

/// What is wrong with a chain, and the numbers of its lines.
async fn checked(store: &Store, chain: &Chain) -> (u64, Vec<u64>) {
    let anchors = store.checkpoints(chain, 0).await.unwrap();
    let pruned = anchors.iter().map(|(_, token)| serde_json::from_str::<serde_json::Value>(token).unwrap());
    let anchors = pruned.map(|told| Anchor {
        chain: told["chain"].as_str().unwrap().to_owned(),
        seq: told["seq"].as_u64().unwrap(),
        hash: told["hash"].as_str().unwrap().to_owned(),
        pruned: told["pruned"].as_bool().unwrap(),
    });
    let mut checker = Checker::new(anchors, false);
    let lines = store.audit_from(chain, 0, 1_000).await.unwrap();
    let seqs = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    lines.into_iter().for_each(|line| checker.line(&serde_json::Value::Object(line)));
    (checker.end().wrong, seqs)
}

async fn two_writers_of_one_chain_leave_no_gap_and_no_two_lines_of_one_number(fixture: Fixture) {
    // Of two processes, which share nothing but the database.
    let other = fixture.again().await;
    let stores = [Arc::new(fixture.store), Arc::new(other)];
    for chain in [Chain::Tenant(fixture.scope.clone()), Chain::Platform] {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..40 {
            let (store, chain) = (stores[i % 2].clone(), chain.clone());
            tasks.spawn(async move {
                let drafts: Vec<_> = (0..=i % 3).map(|_| line("topics.read")).collect();
                store.append_audit(&chain, &drafts).await.unwrap().unwrap().len()
            });
        }
        let written: usize = tasks.join_all().await.into_iter().sum();
        let (wrong, seqs) = checked(&stores[0], &chain).await;
        assert_eq!((wrong, seqs), (0, (1..=written as u64).collect::<Vec<_>>()));
    }
}

async fn the_audit_is_bounded_by_age_and_by_rows(fixture: Fixture) {
    let (store, chain) = (&fixture.store, Chain::Tenant(fixture.scope.clone()));
    for _ in 0..10 {
        store.append_audit(&chain, &[line("topics.read")]).await.unwrap();
    }
    let end = async || store.audit_end(&chain).await.unwrap().unwrap();
    assert_eq!(store.prunable(&end().await, 0, 10).await.unwrap(), None);
    let prune = async |before_ms: i64, lines_max: u64| {
        let anchor = store.prunable(&end().await, before_ms, lines_max).await.unwrap().expect("there is something");
        // Whoever reads it does so by its signature; here its words do.
        let told = serde_json::json!({"chain": anchor.chain, "seq": anchor.seq, "hash": anchor.hash, "pruned": true});
        store.prune_audit(&chain, &anchor, &told.to_string()).await.unwrap();
    };
    prune(0, 4).await;
    assert_eq!(checked(store, &chain).await, (0, vec![7, 8, 9, 10]));
    store.append_audit(&chain, &[line("topics.read")]).await.unwrap();
    prune(0, 3).await;
    assert_eq!(checked(store, &chain).await, (0, vec![9, 10, 11]), "a second pruning takes over from the first");
    assert_eq!(store.checkpoints(&chain, 0).await.unwrap().len(), 1);
    prune(i64::MAX, 1_000).await;
    assert_eq!(checked(store, &chain).await, (0, vec![]), "everything is too old");
    store.append_audit(&chain, &[line("topics.read")]).await.unwrap();
    assert_eq!(checked(store, &chain).await, (0, vec![12]), "and yet it goes on where it was");
    let gone = TenantScope::assume("nobody".parse().unwrap());
    assert_eq!(store.append_audit(&Chain::Tenant(gone), &[line("topics.read")]).await.unwrap(), None);
}

async fn every_table_with_rows_of_tenants_is_known_to_erasures(fixture: Fixture) {
    let catalogue = match fixture._database {
        None => {
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND c.name = 'tenant' ORDER BY m.name"
        }
        Some(_) => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.columns
             WHERE column_name = 'tenant' AND table_schema = current_schema() ORDER BY 1"
        }
    };
    let mut tx = fixture.store.reading_background().await.unwrap();
    let found: Vec<(String,)> = sqlx::query_as(catalogue).fetch_all(&mut *tx).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|(name,)| name).collect();
    let mut known: Vec<_> = tables::TABLES.iter().map(|table| table.name).collect();
    known.sort_unstable();
    assert_eq!(found, known, "an erasure would leave rows of a table that it does not know");
}
