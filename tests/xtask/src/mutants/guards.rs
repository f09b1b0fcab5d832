//! The places that [`super::run`] breaks of seals, limits and rates, each with the test that must notice.
//!
//! Must never: name a test that would fail for another reason, or a place that a reader of the code would not take for a guard.

use super::list::Mutant;

/// One guard, broken, and who sees it.
pub(super) struct Guard {
    pub(super) mutant: Mutant,
    /// Which test programs, as Cargo is told: `--lib`, `--bins` or `--test=all`.
    pub(super) program: &'static str,
    /// How the names of the tests begin.
    pub(super) test: &'static str,
}

const fn guard(mutant: Mutant, program: &'static str, test: &'static str) -> Guard {
    Guard { mutant, program, test }
}

/// All of them, those that take minutes at the end of their kind.
pub(super) const GUARDS: &[Guard] = &[
    guard(
        Mutant {
            name: "a seal: a dead letter is tied to its place",
            file: "host/vault/src/letter.rs",
            find: "then(&[self.topic.as_str().as_bytes(), topic.as_str().as_bytes(), &partition, &offset])",
            replace: "then(&[self.topic.as_str().as_bytes(), topic.as_str().as_bytes(), &partition, &offset][..0])",
        },
        "--lib",
        "letter::tests",
    ),
    guard(
        Mutant {
            name: "a seal: a pipeline's keys are its own",
            file: "host/vault/src/pipeline.rs",
            find: "[self.tenant().as_str(), key.project.as_str(), key.pipeline.as_str()].map(str::as_bytes)",
            replace: "[self.tenant().as_str(), key.project.as_str(), \"\"].map(str::as_bytes)",
        },
        "--lib",
        "pipeline::tests",
    ),
    guard(
        Mutant {
            name: "a seal: a name has a nonce of its own",
            file: "host/vault/src/pipeline.rs",
            find: "mac(&self.nonces, &[&kind, name])",
            replace: "mac(&self.nonces, &[&kind])",
        },
        "--lib",
        "pipeline::tests",
    ),
    guard(
        Mutant {
            name: "a seal: dead letters",
            file: "host/flow/src/pipeline/source/join.rs",
            find: "keys.filter(|_| spec.dead_letter_sealed)",
            replace: "keys.filter(|_| spec.dead_letter_sealed && false)",
        },
        "--test=all",
        "sealed::a_sealed_dead_letter",
    ),
    guard(
        Mutant {
            name: "a seal: changes of state",
            file: "host/flow/src/state/changelog.rs",
            find: "let Some(keys) = keys else {\n                outputs.push",
            replace: "let Some(keys) = keys.filter(|_| false) else {\n                outputs.push",
        },
        "--test=all",
        "sealed::sealed_state",
    ),
    guard(
        Mutant {
            name: "a limit: topics",
            file: "host/control/src/api/topics.rs",
            find: "if topics >= limits.topics {",
            replace: "if topics > limits.topics {",
        },
        "--test=all",
        "limits::a_tenant_has_limits_of_its_own",
    ),
    guard(
        Mutant {
            name: "a limit: the partitions of a topic",
            file: "host/control/src/api/topics.rs",
            find: "if wanted > limits.partitions {",
            replace: "if wanted > u64::MAX - limits.partitions {",
        },
        "--test=all",
        "records::topics_are_bounded",
    ),
    guard(
        Mutant {
            name: "a limit: roles",
            file: "host/control/src/store/access.rs",
            find: "if others.cast_unsigned() >= max {",
            replace: "if others.cast_unsigned() > max {",
        },
        "--test=all",
        "limits::a_tenant_at_each_limit",
    ),
    guard(
        Mutant {
            name: "a limit: bytes of logs",
            file: "host/control/src/store/logs.rs",
            find: " || bytes.cast_unsigned() > bound.bytes;",
            replace: " || bytes.cast_unsigned() > u64::MAX - bound.bytes;",
        },
        "--test=all",
        "logs::the_oldest_lines",
    ),
    guard(
        Mutant {
            name: "a limit: the month's fuel",
            file: "host/control/src/watch.rs",
            find: "    if used < allowed {",
            replace: "    if used <= allowed {",
        },
        "--lib",
        "watch::tests",
    ),
    guard(
        Mutant {
            name: "a limit: bytes of objects",
            file: "host/control/src/watch.rs",
            find: "(\"objectBytes\", sample.and_then(|sample| sample.object_bytes))",
            replace: "(\"objectBytes\", sample.and_then(|_| None))",
        },
        "--test=all",
        "limits::a_tenant_at_each_limit",
    ),
    guard(
        Mutant {
            name: "a limit: instances",
            file: "host/flow/src/tenant/room.rs",
            find: "if self.instances >= self.instances_max =>",
            replace: "if self.instances >= u64::MAX - self.instances_max =>",
        },
        "--test=all",
        "limits::a_tenant_at_each_limit",
    ),
    guard(
        Mutant {
            name: "a limit: a replica counts once",
            file: "host/log/src/kafka/sizes.rs",
            find: "*largest = size.max(*largest);",
            replace: "*largest += size;",
        },
        "--lib",
        "kafka::sizes",
    ),
    guard(
        Mutant {
            name: "a rate: what is owed is waited for",
            file: "host/core/src/rate.rs",
            find: "self.level -= used as f64;",
            replace: "self.level = (self.level - used as f64).max(0.0);",
        },
        "--lib",
        "rate::tests",
    ),
    guard(
        Mutant {
            name: "a rate: workers share it",
            file: "host/flow/src/tenant/mod.rs",
            find: "state.share = share;",
            replace: "state.share = 1_000;",
        },
        "--test=all",
        "workers::a_rate_is_shared",
    ),
    guard(
        Mutant {
            name: "a rate: requests of a token",
            file: "host/control/src/rates/mod.rs",
            find: "const TOKEN_PERCENT: u32 = 80;",
            replace: "const TOKEN_PERCENT: u32 = 100;",
        },
        "--test=all",
        "rates::a_token_has",
    ),
    guard(
        Mutant {
            name: "a rate: requests of a tenant",
            file: "host/control/src/rates/mod.rs",
            find: "told(\"tenant\", &self.tenants.check(tenant, rate), rate, tally)",
            replace: "told(\"tenant\", &self.tenants.check(tenant, rate.percent(1_000)), rate, tally)",
        },
        "--test=all",
        "rates::a_token_has",
    ),
    guard(
        Mutant {
            name: "a rate: requests without a token",
            file: "host/control/src/rates/mod.rs",
            find: "map(network_of) else",
            replace: "map(network_of).filter(|_| false) else",
        },
        "--test=all",
        "rates::whoever_has_no_token",
    ),
    guard(
        Mutant {
            name: "a rate: bytes written over HTTP",
            file: "host/control/src/api/records/produce.rs",
            find: "    if wait > longest {",
            replace: "    if wait > longest && wait == Duration::MAX {",
        },
        "--test=all",
        "limits::whoever_writes",
    ),
    guard(
        Mutant {
            name: "a rate: seconds of compiling",
            file: "host/control/src/api/upload.rs",
            find: "    if !wait.is_zero() {",
            replace: "    if wait == Duration::MAX {",
        },
        "--test=all",
        "limits::compiling_has",
    ),
];
