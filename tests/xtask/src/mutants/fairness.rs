//! The places that [`super::run`] breaks of what keeps tenants from each other's turns and memory, each with the test that must notice.
//!
//! Must never: name a test that would fail for another reason.

use super::guards::Guard;
use super::list::Mutant;

const fn broken(
    name: &'static str,
    file: &'static str,
    (find, replace): (&'static str, &'static str),
    (program, test): (&'static str, &'static str),
) -> Guard {
    Guard { mutant: Mutant { name, file, find, replace }, program, test }
}

const ROUNDS: &str = "host/flow/src/fair/rounds.rs";
const ROUNDS_TESTS: (&str, &str) = ("--lib", "fair::rounds::tests");
const MEMORY: &str = "host/flow/src/tenant/memory.rs";
const MEMORY_TESTS: (&str, &str) = ("--lib", "tenant::memory::tests");
const TURNS: &str = "host/core/src/turns.rs";
const TURNS_TESTS: (&str, &str) = ("--lib", "turns::tests");
const LINES: &str = "host/bulkhead/src/worker/logs/waiting.rs";
const LINES_TESTS: (&str, &str) = ("--bins", "worker::logs::waiting::tests");

/// All of them, those that take minutes at the end.
pub(super) const FAIRNESS: &[Guard] = &[
    broken(
        "the fair queue: who owes waits",
        ROUNDS,
        ("if account.credit <= 0 {", "if account.credit == i64::MIN {"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: what a turn cost is charged",
        ROUNDS,
        ("account.give(advance - cost);", "account.give(advance);"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: what was charged in advance comes back",
        ROUNDS,
        ("account.give(advance - cost);", "account.give(-cost);"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: time that fuel does not see",
        ROUNDS,
        ("self.fuel.saturating_add(unseen)", "self.fuel.saturating_add(unseen.min(0))"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: a share by weight",
        ROUNDS,
        ("all.saturating_mul(weight) / usual", "all.saturating_mul(weight.clamp(usual, usual)) / usual"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: what is saved up is bounded",
        ROUNDS,
        (".min(self.credit.max(self.saved()))", ".min(i64::MAX)"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: who comes with something saved goes first",
        ROUNDS,
        ("if account.credit > 0 { &mut self.fresh }", "if account.credit > i64::MAX - 1 { &mut self.fresh }"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: those that go first alternate",
        ROUNDS,
        ("self.fresh.push_back(tenant.clone());", "self.fresh.push_front(tenant.clone());"),
        ROUNDS_TESTS,
    ),
    broken(
        "the fair queue: a debt outlives its tenant's other work",
        ROUNDS,
        (">= self.saved()", ">= i64::MIN"),
        ROUNDS_TESTS,
    ),
    broken("the fair queue: who is long gone is forgotten", ROUNDS, ("self.sweep();\n", "\n"), ROUNDS_TESTS),
    broken(
        "memory: what is given back is not held",
        MEMORY,
        ("self.buffered.fetch_sub(bytes, Ordering::AcqRel);", "self.buffered.fetch_sub(bytes & 0, Ordering::AcqRel);"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: whoever holds most is set aside",
        MEMORY,
        ("(std::cmp::Reverse(*held), *name)", "(*held, *name)"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: no more are set aside than must be",
        MEMORY,
        ("            sum -= held;\n", "            sum -= held & 0;\n"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: who holds most again is set aside for longer",
        MEMORY,
        ("(2 * before.time).min(ASIDE_MAX)", "before.time.min(ASIDE_MAX)"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: nobody comes back before there is room",
        MEMORY,
        ("if all_held <= self.bytes / 100 * (100 - FREE_FOR_ONE) {", "if all_held <= u64::MAX {"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: nobody comes back before its time",
        MEMORY,
        ("now >= aside.until && aside.tenant", "now < aside.until + ASIDE_MAX && aside.tenant"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: consumers divide what may be fetched ahead",
        MEMORY,
        ("/ AHEAD_PART / consumers;", "/ AHEAD_PART / consumers.min(1);"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: a consumer that is gone has no part",
        MEMORY,
        ("self.0.consumers.fetch_sub(1,", "self.0.consumers.fetch_sub(0,"),
        MEMORY_TESTS,
    ),
    broken(
        "memory: the least that a consumer may fetch",
        MEMORY,
        ("ahead.max(AHEAD_MIN)", "ahead.max(0)"),
        MEMORY_TESTS,
    ),
    broken(
        "turns: the last place is for who has none",
        TURNS,
        ("{ self.spared } else { 0 }", "{ self.spared.min(0) } else { 0 }"),
        TURNS_TESTS,
    ),
    broken(
        "turns: who had its turn goes behind the others",
        TURNS,
        (
            "            self.turns.push_back(whose.clone());\n        }\n        Some",
            "            self.turns.push_front(whose.clone());\n        }\n        Some",
        ),
        TURNS_TESTS,
    ),
    broken(
        "turns: a place comes back",
        TURNS,
        ("lock(&self.turns.state).seats.give_back(&self.whose);", ""),
        TURNS_TESTS,
    ),
    broken(
        "lines: bytes of a tenant",
        LINES,
        ("while lines.bytes > WAITING_LINES_BYTES_MAX {", "while lines.bytes > u64::MAX {"),
        LINES_TESTS,
    ),
    broken(
        "lines: tenants are sent in turn",
        LINES,
        ("                self.turns.push_back(whose);\n", "                self.turns.push_front(whose);\n"),
        LINES_TESTS,
    ),
    broken("lines: whoever holds most loses", LINES, ("self.by_bytes.last()", "self.by_bytes.first()"), LINES_TESTS),
    broken("lines: they count until they are sent", LINES, ("taken.kept.push(kept);", "drop(kept);"), LINES_TESTS),
    broken(
        "positions: only the host's own",
        "host/log/src/kafka/stamp.rs",
        ("if found.metadata == of(found.offset).as_bytes() {", "if found.metadata.len() < usize::MAX {"),
        ("--lib", "kafka::stamp::tests"),
    ),
    broken(
        "turns: starts of one tenant leave some to others",
        "host/flow/src/parking/gate.rs",
        ("at_once / SPARED_PART", "at_once / SPARED_PART / at_once"),
        ("--test=all", "neighbours::new_modules_of_one_tenant"),
    ),
    broken(
        "memory: at the budget there is one batch for each",
        MEMORY,
        (
            "self.held() >= self.budget.load(Ordering::Acquire)",
            "self.held() > self.budget.load(Ordering::Acquire) * 1_000",
        ),
        ("--test=all", "pressure::"),
    ),
    broken(
        "memory: what waits beside the record path counts until it is gone",
        MEMORY,
        ("        self.memory.release(self.bytes);\n", ""),
        ("--test=all", "pressure::lines_that_wait"),
    ),
];
