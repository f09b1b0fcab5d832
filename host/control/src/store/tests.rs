//! What the background does to rows, whose conditions no request can bring about in a test's time: ages are set by hand.

use super::*;
use crate::policy::{Fleet, Platform};
use bulkhead_core::assignment::{Phase, PipelineKey, PipelineReport, Totals};
use bulkhead_core::scope::TenantScope;
use bulkhead_test_services::ScratchDatabase;
use std::collections::BTreeMap;
use std::time::Duration;

struct Fixture {
    store: Store,
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
    the_audit_is_bounded_by_age_and_by_rows
    a_new_tenant_does_not_see_the_audit_of_an_earlier_one_of_its_name
    kept_answers_are_bounded_by_number_by_bytes_and_by_age
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
        Self::of(Place::Postgres(access), Some(database), tempfile::tempdir().unwrap()).await
    }

    async fn of(place: Place, database: Option<ScratchDatabase>, dir: tempfile::TempDir) -> Self {
        let store = Store::open(&place).await.unwrap();
        store.create_tenant(&Platform::for_test(), &key().tenant).await.unwrap();
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
        Self { store, scope, _database: database, _dir: dir }
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
            code: None,
            message: None,
            lag: Some(0),
            partitions: 1,
            totals,
            state_bytes: 0,
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
