//! Limits that are kept by looking now and then: what a tenant stores, and its fuel of the month.
//!
//! A tenant that is over one of them is *held*: its pipelines pause, with positions, state and records as they are, and go on by themselves
//! once there is room, the month has ended or the limit was raised. At four fifths of the month's fuel its logs say so, once a month.
//! What is stored is asked of the log and of the buckets about once a minute, so a tenant may be over by what it writes in that time.
//! Where the log cannot say how many bytes a tenant's topics have, `topicBytes` holds nobody.
//! Must never: hold a tenant for what could not be looked at, or delete anything of it.

use crate::api::App;
use crate::problem::Problem;
use crate::store::{MonthRow, Store, Watched, now_ms};
use bulkhead_core::code::Code;
use bulkhead_core::log_line::{LogLevel, LogLine};
use bulkhead_core::name::TenantId;
use bulkhead_core::tenant_limits::{Held, TenantLimit, TenantLimits};
use bulkhead_core::time::{format_rfc3339_ms, month_end_ms};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How old a sample of what a tenant stores may be.
const SAMPLED_EVERY: Duration = Duration::from_secs(60);
/// Objects that are listed together, and how often at most for one sample: beyond it, the sum is of the first hundred thousand.
const OBJECTS_PAGE: usize = 1_000;
const OBJECTS_PAGES_MAX: usize = 100;
/// Part of the month's fuel at which there is a notice.
const NOTICE_AT: f64 = 0.8;

/// What tenants store, as it was last seen.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<HashMap<TenantId, Sample>>);

/// What one tenant stores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    at: Instant,
    /// `None` where the log cannot say.
    pub(crate) topic_bytes: Option<u64>,
    /// `None` where control does not know the buckets.
    pub(crate) object_bytes: Option<u64>,
}

impl Samples {
    pub(crate) fn of(&self, tenant: &TenantId) -> Option<Sample> {
        self.0.lock().get(tenant).copied()
    }
}

impl App {
    /// Looks at every tenant once, and holds those that are over a limit.
    pub(crate) async fn watch(&self, store: &Store) -> Result<(), Problem> {
        let watched = store.watched().await?;
        let there: HashSet<_> = watched.iter().map(|watched| watched.scope.tenant()).collect();
        self.samples().0.lock().retain(|tenant, _| there.contains(tenant));
        // One look at all reports, not one for each tenant.
        let (state_bytes, mut parts) = (self.live().state_bytes(), Vec::new());
        for tenant in &watched {
            // One tenant that cannot be looked at must not keep the others from it.
            let name = tenant.scope.tenant();
            match self.watch_one(store, tenant, state_bytes.get(name).copied().unwrap_or_default()).await {
                Ok(part) => parts.extend(part.map(|part| (name.clone(), part))),
                Err(problem) => {
                    tracing::debug!(tenant = %name, code = %problem.code, cause = problem.cause, "limits were not looked at");
                }
            }
        }
        self.metrics().month(&parts);
        Ok(())
    }

    /// Gives the part of the month's fuel that is used, where that has a limit.
    async fn watch_one(&self, store: &Store, watched: &Watched, state_bytes: u64) -> Result<Option<f64>, Problem> {
        let month = self.watch_month(store, watched).await?;
        self.sample(watched).await?;
        let name = watched.scope.tenant();
        let sample = self.samples().of(name);
        let used = [
            ("fuelPerMonth", month),
            ("topicBytes", sample.and_then(|sample| sample.topic_bytes)),
            ("objectBytes", sample.and_then(|sample| sample.object_bytes)),
            ("stateBytes", Some(state_bytes)),
        ];
        let over = used.into_iter().find_map(|(limit, used)| over(limit, used?, &watched.limits));
        let code = |held: &Option<Held>| held.as_ref().map(|held| held.code);
        if code(&over) != code(&watched.held) {
            match &over {
                Some(held) => tracing::warn!(tenant = %name, code = %held.code, held.message, "a tenant is held"),
                None => tracing::info!(tenant = %name, "a tenant is held no longer"),
            }
            store.hold(&watched.scope, over.as_ref()).await?;
        }
        Ok(month.map(|used| used as f64 / watched.limits.fuel_per_month as f64))
    }

    /// Looks at the month's fuel where that has a limit, and tells of four fifths of it.
    async fn watch_month(&self, store: &Store, watched: &Watched) -> Result<Option<u64>, Problem> {
        let allowed = watched.limits.fuel_per_month;
        if allowed == TenantLimits::default().fuel_per_month {
            return Ok(None);
        }
        let MonthRow { used, told } = store.month(&watched.scope).await?;
        if used as f64 >= NOTICE_AT * allowed as f64 && !told {
            let end = month_end();
            let message = format!(
                "{used} of {allowed} fuel of this month are used (`fuelPerMonth`); at all of it pipelines pause until {end}"
            );
            store.tell_month(&watched.scope, Code::BudgetNear, &message).await?;
        }
        Ok(Some(used))
    }

    /// Asks what a tenant stores, unless that was asked a short while ago.
    async fn sample(&self, watched: &Watched) -> Result<(), Problem> {
        let (scope, now) = (&watched.scope, Instant::now());
        if self.samples().of(scope.tenant()).is_some_and(|sample| now.duration_since(sample.at) < SAMPLED_EVERY) {
            return Ok(());
        }
        let topic_bytes = match self.topics().stored(scope).await {
            Ok(bytes) => bytes,
            // A log that is away for a moment frees nobody, and keeps nobody's other limits from being looked at.
            Err(refusal) => {
                tracing::debug!(tenant = %scope.tenant(), code = %refusal.code, cause = refusal.cause, "topics were not looked at");
                self.samples().of(scope.tenant()).and_then(|before| before.topic_bytes)
            }
        };
        let (mut object_bytes, mut after) = (0, None::<String>);
        for _ in 0..OBJECTS_PAGES_MAX {
            let page = self.topics().objects(scope, after.as_deref(), OBJECTS_PAGE).await?;
            object_bytes += page.iter().map(|object| object.size).sum::<u64>();
            after = page.last().map(|object| object.key.clone());
            if page.len() < OBJECTS_PAGE {
                break;
            }
        }
        let sample = Sample { at: now, topic_bytes, object_bytes: Some(object_bytes) };
        self.samples().0.lock().insert(scope.tenant().clone(), sample);
        Ok(())
    }

    /// Refuses to write more records where a tenant's topics have as many bytes as they may.
    pub(crate) fn refuse_full(&self, tenant: &TenantId, limits: &TenantLimits) -> Result<(), Problem> {
        let used = self.samples().of(tenant).and_then(|sample| sample.topic_bytes).unwrap_or_default();
        if used >= limits.topic_bytes {
            return Err(Problem::full("topicBytes", used, limits.topic_bytes, DELETE_SOME));
        }
        Ok(())
    }
}

/// What whoever stores too much can do.
const DELETE_SOME: &str = "delete topics or objects that are no longer used; it is looked at once a minute";

/// Why a tenant is held that uses so much.
fn over(limit: &str, used: u64, limits: &TenantLimits) -> Option<Held> {
    let limit = TenantLimit::find(limit).ok()?;
    let allowed = limit.of(limits);
    if used < allowed {
        return None;
    }
    let (code, todo) = match limit.name {
        "fuelPerMonth" => (Code::BudgetSpent, format!("pipelines go on when the month ends, at {}", month_end())),
        _ => (Code::StorageFull, DELETE_SOME.to_owned()),
    };
    Some(Held { code, message: limit.reached(used, allowed, &todo) })
}

/// When the next month begins.
fn month_end() -> String {
    format_rfc3339_ms(month_end_ms(now_ms()))
}

/// A notice for the log of one of a tenant's pipelines.
pub(crate) fn notice(key: bulkhead_core::assignment::PipelineKey, code: Code, message: &str) -> LogLine {
    LogLine { key, stage: None, at_ms: now_ms(), level: LogLevel::Warn, code: Some(code), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_over_a_limit_is_told_which_and_what_to_do() {
        let limits = TenantLimits { fuel_per_month: 100, topic_bytes: 10, ..TenantLimits::default() };
        assert_eq!(over("fuelPerMonth", 99, &limits), None);
        let held = over("fuelPerMonth", 100, &limits).unwrap();
        assert_eq!(held.code, Code::BudgetSpent);
        assert!(
            held.message.contains("allows 100 fuel/month, and 100 are used") && held.message.contains("-01T00:00:00Z")
        );
        assert_eq!(over("topicBytes", 11, &limits).unwrap().code, Code::StorageFull);
    }
}
