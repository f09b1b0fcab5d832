//! Which grants stages use, and how often: counted, never record by record, for the audit.
//!
//! A grant is named as its tenant wrote it: `read topic/orders`, `write topic/alerts`, `write bucket/archive`, `write state`. Records and entries count
//! when their batch commits, a stage's own calls of a bucket when they are made. Counts go on through every incarnation of a pipeline.
//! Must never: hold what was read or written, or more kinds of use than the last few revisions grant.

use bulkhead_core::assignment::GrantUse;
use bulkhead_core::bucket::Access;
use bulkhead_core::manifest::{Feed, PipelineSpec, Target};
use bulkhead_core::name::StageName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often counts that only grew are told anew.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Revisions of which counts are kept.
const REVISIONS_MAX: usize = 4;

/// The uses of one revision, by stage and grant.
type ByGrant = BTreeMap<(StageName, String), Use>;

/// A pipeline's uses.
#[derive(Default)]
pub(crate) struct Uses {
    revisions: Mutex<BTreeMap<u64, ByGrant>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    uses: Vec<GrantUse>,
}

/// One stage's use of one grant.
pub(crate) type Use = Arc<Mutex<Count>>;

/// How often, when first and when last.
#[derive(Debug, Default)]
pub(crate) struct Count {
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

impl Count {
    /// So many more, now.
    pub(crate) fn add(&mut self, more: u64) {
        if more == 0 {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        if self.count == 0 {
            self.first_ms = self.last_ms;
        }
        self.count += more;
    }
}

impl Uses {
    /// The count of a grant in a revision.
    pub(crate) fn of(&self, revision: u64, stage: &StageName, grant: String) -> Use {
        let mut revisions = self.revisions.lock();
        let uses = revisions.entry(revision).or_default();
        let found = uses.entry((stage.clone(), grant)).or_default().clone();
        while revisions.len() > REVISIONS_MAX {
            revisions.pop_first();
        }
        found
    }

    /// What was used, as of a few seconds ago; at once where something was used for the first time.
    pub(crate) fn report(&self) -> Vec<GrantUse> {
        let now = self.now();
        let mut told = self.told.lock();
        let due = told.at.is_none_or(|at| at.elapsed() >= TOLD_EVERY);
        if due || now.len() != told.uses.len() {
            *told = Told { at: Some(Instant::now()), uses: now };
        }
        told.uses.clone()
    }

    /// The next report is of the last counts: the pipeline ends here.
    pub(crate) fn flush(&self) {
        self.told.lock().at = None;
    }

    fn now(&self) -> Vec<GrantUse> {
        let revisions = self.revisions.lock();
        let all = revisions.iter().flat_map(|(revision, uses)| uses.iter().map(|(what, used)| (*revision, what, used)));
        let used = all.filter_map(|(revision, (stage, grant), used)| {
            let Count { count, first_ms, last_ms } = *used.lock();
            let (stage, grant) = (stage.clone(), grant.clone());
            (count > 0).then_some(GrantUse { revision, stage, grant, count, first_ms, last_ms })
        });
        used.collect()
    }
}

/// What the stages of a revision may use, by index of the stage.
pub(crate) struct StageUses {
    /// By input of the pipeline; `None` where it does not feed the stage.
    pub(crate) reads: Vec<Option<Use>>,
    /// By output of the stage; `None` where it leads to another stage.
    pub(crate) writes: Vec<Option<Use>>,
    pub(crate) state: Option<Use>,
    /// Its dead letters.
    pub(crate) letters: Use,
}

impl StageUses {
    /// Those of each stage.
    pub(crate) fn all(uses: &Uses, revision: u64, spec: &PipelineSpec) -> Vec<Self> {
        let of_stage = |stage: &bulkhead_core::manifest::StageSpec| {
            let used = |grant: String| uses.of(revision, &stage.name, grant);
            let reads = spec.inputs.iter().enumerate().map(|(i, input)| {
                stage.inputs.contains(&Feed::Input(i)).then(|| used(format!("read topic/{}", input.topic)))
            });
            let writes = stage.outputs.iter().map(|output| match &output.target {
                Target::Topic(topic) => Some(used(format!("write topic/{topic}"))),
                Target::Bucket(bucket) => Some(used(format!("write bucket/{}", bucket.bucket))),
                Target::Stage(_) => None,
            });
            Self {
                reads: reads.collect(),
                writes: writes.collect(),
                state: stage.state.map(|_| used("write state".to_owned())),
                letters: used(format!("write topic/{}", spec.dead_letter)),
            }
        };
        spec.stages.iter().map(of_stage).collect()
    }
}

/// How a stage was granted a part of a bucket, as a use.
pub(crate) fn bucket_grant(access: Access, bucket: &str, prefix: &str) -> String {
    let how = match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::ReadWrite => "read-write",
    };
    format!("{how} bucket/{bucket}/{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_use_is_told_at_once_and_a_growing_one_later() {
        let uses = Uses::default();
        let stage: StageName = "first".parse().unwrap();
        let used = uses.of(3, &stage, "read topic/in".to_owned());
        assert_eq!(uses.report(), []);
        used.lock().add(5);
        let told = uses.report();
        assert_eq!((told.len(), told[0].count, told[0].revision), (1, 5, 3));
        used.lock().add(1);
        assert_eq!(uses.report()[0].count, 5, "within the interval");
        uses.flush();
        assert_eq!(uses.report()[0].count, 6);
        let again = uses.of(3, &stage, "read topic/in".to_owned());
        again.lock().add(1);
        uses.of(4, &stage, "read topic/in".to_owned()).lock().add(1);
        assert_eq!(uses.report().iter().map(|used| used.count).collect::<Vec<_>>(), [7, 1]);
    }

    #[test]
    fn only_the_last_revisions_are_kept() {
        let uses = Uses::default();
        let stage: StageName = "first".parse().unwrap();
        (1..=10).for_each(|revision| uses.of(revision, &stage, "write state".to_owned()).lock().add(1));
        assert_eq!(uses.report().iter().map(|used| used.revision).collect::<Vec<_>>(), [7, 8, 9, 10]);
    }
}
