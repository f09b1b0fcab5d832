//! The erasure of a tenant: what has to go, in which order, and the proof that it went.
//!
//! ```text
//! rows ─▶ workers stop, groups empty ─▶ topics, objects, modules ─▶ looked for again ─▶ the name ─▶ files written anew ─▶ report
//! ```
//!
//! A tenant's keys are shredded when nothing is left that needs them, so that what others have copied in sealed form is noise from then on.
//! Each pass does what can be done and notes what cannot, so that an erasure goes on over restarts and outages until a look finds
//! nothing. Only then is its report signed as complete.
//! Must never: say `complete` of what was not looked for, or remove what somebody may still write.

mod report;

pub use report::verify_report;

use crate::api::App;
use crate::policy::Permit;
use crate::policy::action::DeleteTenant;
use crate::port::Left;
use crate::problem::Problem;
use crate::store::{Erasure, Looked, Store, now_ms};
use bulkhead_core::code::Code;
use bulkhead_core::scope::TenantScope;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a request waits for an erasure before it leaves it to the background.
const SOON: Duration = Duration::from_secs(5);
/// How long a worker is waited for that ran at the begin and has been silent since. Then the report names it.
const SILENT_MS_MAX: i64 = 10 * 60 * 1_000;

impl App {
    /// Deletes a tenant and erases it as far as a request may wait for.
    pub(crate) async fn begin_erasure(&self, permit: &Permit<DeleteTenant>) -> Result<Erasure, Problem> {
        let by = permit.principal();
        // What its pipelines have there goes with them, and is not counted when it goes.
        let had = self.topics().left_of(permit.scope()).await.unwrap_or_default();
        let had = [("topics", had.topics), ("groups", had.groups), ("objects", had.objects)]
            .map(|(kind, count)| (format!("{kind} at the begin"), count));
        let workers = self.live_workers();
        let erasure = permit.store().delete_tenant(permit.scope(), by.subject(), (&workers, had.into())).await?;
        match tokio::time::timeout(SOON, self.erase(permit.store(), &erasure.id, 1)).await {
            Ok(Err(problem)) if problem.code() != Code::Conflict => {
                tracing::warn!(code = %problem.code(), cause = problem.cause, "an erasure is not done yet");
            }
            _ => {}
        }
        let now = permit.store().find_erasure(&erasure.id).await?;
        now.ok_or_else(|| Problem::internal("an erasure that was just begun is not there"))
    }

    /// One pass over an erasure, by one caller at a time. `own` of the tenant's requests under way are the caller's.
    ///
    /// # Errors
    /// Where something is away, or workers are still leaving: the next pass tries again.
    pub(crate) async fn erase(&self, store: &Store, id: &str, own: usize) -> Result<(), Problem> {
        let _one = self.erasing().lock().await;
        let Some(mut erasure) = store.find_erasure(id).await?.filter(|erasure| !erasure.complete) else {
            return Ok(());
        };
        if let Some(scope) = erasure.scope.clone() {
            let before = (erasure.deleted.clone(), erasure.remaining.clone());
            let cleared = self.clear_tenant(store, &scope, &mut erasure, own).await;
            if let Err(problem) = &cleared {
                erasure.remaining = vec![problem.detail.clone()];
            }
            if before != (erasure.deleted.clone(), erasure.remaining.clone()) {
                store.note_erasure(&erasure).await?;
            }
            if !cleared? {
                return Ok(());
            }
            store.shred_keys(&scope, self.vault()).await?;
            let left = store.forget_tenant(&mut erasure).await?;
            if left > 0 {
                return Err(Problem::conflict(format!("{left} rows of the tenant are still there")));
            }
        }
        self.finish(store, erasure).await
    }

    /// Removes what is not in the metadata. `false` where something has to be waited for, or was found afterwards.
    async fn clear_tenant(
        &self,
        store: &Store,
        scope: &TenantScope,
        erasure: &mut Erasure,
        own: usize,
    ) -> Result<bool, Problem> {
        erasure.remaining = self.awaited(store, scope, erasure, own).await?;
        if !erasure.remaining.is_empty() {
            return Ok(false);
        }
        for topic in self.topics().list(scope).await? {
            self.topics().delete(scope, &topic).await?;
            add(erasure, "topics", 1);
        }
        loop {
            let hidden = self.topics().delete_hidden(scope).await?;
            add(erasure, "hidden topics", hidden.topics);
            add(erasure, "groups", hidden.groups);
            add(erasure, "objects", hidden.objects);
            if hidden == Left::default() {
                break;
            }
            store.note_erasure(erasure).await?;
        }
        {
            let _together = self.blobs().together().await;
            add(erasure, "module files", self.blobs().delete_tenant(scope).await? as u64);
        }
        self.modules().keep_only(&store.all_digests().await?).await?;
        erasure.verified = self.look(scope, erasure).await?;
        erasure.remaining = erasure
            .verified
            .iter()
            .filter(|looked| looked.left > 0)
            .map(|l| format!("{} {}", l.left, l.what))
            .collect();
        Ok(erasure.remaining.is_empty())
    }

    /// What has to end before anything may be removed: who is at work could write again.
    async fn awaited(
        &self,
        store: &Store,
        scope: &TenantScope,
        erasure: &Erasure,
        own: usize,
    ) -> Result<Vec<String>, Problem> {
        let mut awaited = Vec::new();
        let requests = self.policy().requests_under_way(scope);
        if requests > own {
            awaited.push(format!("{} requests are under way", requests - own));
        }
        if store.has_left_groups(scope).await? {
            awaited.push("workers are leaving the groups of its pipelines".to_owned());
        }
        let patience = now_ms() - erasure.begun_ms < SILENT_MS_MAX;
        let mut workers = self.live().unsettled(erasure.told_generation);
        workers.extend(self.silent(erasure).into_iter().filter(|_| patience));
        awaited.extend(workers.iter().map(|slot| format!("worker {slot} has not yet said that it has let go")));
        Ok(awaited)
    }

    /// Workers that ran at the begin, and have not said since that they have let go.
    fn silent(&self, erasure: &Erasure) -> BTreeSet<String> {
        let settled = self.live().settled(erasure.told_generation);
        erasure.workers.difference(&settled).cloned().collect()
    }

    /// Looks for what may be left.
    async fn look(&self, scope: &TenantScope, erasure: &Erasure) -> Result<Vec<Looked>, Problem> {
        let looked = |what: &str, how: &str, left: u64| Looked { what: what.to_owned(), how: how.to_owned(), left };
        let left = self.topics().left_of(scope).await?;
        let modules = self.blobs().left_of(scope).await?;
        let silent: Vec<_> = self.silent(erasure).into_iter().collect();
        let heard = if silent.is_empty() {
            "every worker that ran has stopped its stages, rewritten its memory of what to run and removed local state and compiled code"
                .to_owned()
        } else {
            format!("not heard of since, so not known: {}", silent.join(", "))
        };
        Ok(vec![
            looked("topics", "listed by the tenant's prefixes, those of state and of rows that wait too", left.topics),
            looked("groups", "listed by the tenant's prefixes", left.groups),
            looked("objects", "listed below the tenant's prefixes, staged ones too", left.objects),
            looked("module files", "listed below the tenant's folder", modules),
            looked("worker files", &heard, 0),
        ])
    }

    /// Writes anew what held the tenant, signs and keeps the report.
    async fn finish(&self, store: &Store, mut erasure: Erasure) -> Result<(), Problem> {
        let mut outside = self.topics().scrub().await?;
        erasure.verified.push(Looked { what: "files of records".to_owned(), how: outside.how, left: 0 });
        let metadata = store.scrub().await?;
        outside.elsewhere.extend(metadata.elsewhere.iter().map(|place| (*place).to_owned()));
        erasure.verified.push(Looked { what: "files of metadata".to_owned(), how: metadata.how.to_owned(), left: 0 });
        erasure.ended_ms = Some(now_ms());
        erasure.complete = true;
        erasure.report = self.sign_report(&erasure, &outside.elsewhere)?;
        store.complete_erasure(&erasure).await?;
        tracing::info!(erasure = erasure.id, "an erasure is complete");
        Ok(())
    }

    fn live_workers(&self) -> BTreeSet<String> {
        self.live().heard()
    }
}

fn add(erasure: &mut Erasure, kind: &str, more: u64) {
    *erasure.deleted.entry(kind.to_owned()).or_default() += more;
}
