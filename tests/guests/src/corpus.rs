//! The corpus of attacks: what each does, what stops it, and what its author is told.
//!
//! [`foreach_attack`](crate::foreach_attack) makes a test of each, so that one without a test cannot be; [`Guest`] has a variant for each file
//! in `wasm/`, so that a guest of which nobody said what it is for does not compile.
//! Must never: name a defence that no test has seen at work.

use crate::Guest;

/// What becomes of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The record becomes a dead letter with this code.
    Letter(&'static str),
    /// The request is refused with this status and code.
    Refused(u16, &'static str),
    /// The pipeline does not run, and says this code.
    Stopped(&'static str),
    /// It does what it wants, and gains nothing by it.
    Harmless,
}

impl Answer {
    /// The code that is told, where there is one.
    pub fn code(self) -> Option<&'static str> {
        match self {
            Answer::Letter(code) | Answer::Refused(_, code) | Answer::Stopped(code) => Some(code),
            Answer::Harmless => None,
        }
    }
}

macro_rules! attacks {
    ($d:tt $($name:ident $variant:ident: $does:literal, $by:literal, $answer:expr;)*) => {
        /// An attack on the host, or on those who share it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Attack {
            $(#[doc = $does] $variant,)*
        }

        impl Attack {
            /// All of them.
            pub const ALL: &'static [Attack] = &[$(Attack::$variant),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Attack::$variant => stringify!($name)),* }
            }

            /// What it does.
            pub const fn does(self) -> &'static str {
                match self { $(Attack::$variant => $does),* }
            }

            /// What stops it.
            pub const fn stopped_by(self) -> &'static str {
                match self { $(Attack::$variant => $by),* }
            }

            /// What comes of it.
            pub const fn answer(self) -> Answer {
                match self { $(Attack::$variant => $answer),* }
            }
        }

        /// Calls the macro `$each` with the name and the variant of each attack.
        #[macro_export]
        macro_rules! foreach_attack {
            ($d each:ident) => {
                $($d each!($name, $variant);)*
            };
        }
    };
}

use Answer::{Harmless, Letter, Refused, Stopped};

attacks! { $
    spin Spin: "a loop without end", "fuel per record", Letter("BH0302");
    nameless_spin NamelessSpin: "a loop without end that names no record", "bisection, with fuel per record", Letter("BH0302");
    spin_then_trap SpinThenTrap: "a long loop that calls nobody and then traps", "an interval of fuel for each trap", Letter("BH0301");
    init_spins InitSpins: "a loop without end in `init`", "fuel for a start", Stopped("BH0309");
    start_spins StartSpins: "a loop without end in the core module's start", "fuel for a start", Stopped("BH0309");
    init_traps InitTraps: "a trap in `init`, always", "backoff", Stopped("BH0309");
    sleep Sleep: "an hour's sleep in `poll`", "the wall deadline", Letter("BH0304");
    poll_flood PollFlood: "a list of a million pollables", "a bound on one poll", Letter("BH0305");
    exhaust_memory ExhaustMemory: "taking memory without end", "the memory limit", Letter("BH0303");
    table_growth TableGrowth: "growing a table without end", "the table limit", Letter("BH0303");
    bulk_fill BulkFill: "filling 31 MiB with one instruction, without end", "fuel by the byte", Letter("BH0302");
    recursion Recursion: "recursion without end", "the guest's stack", Letter("BH0301");
    deep_call DeepCall: "calling the host where the stack ends", "a stack of the host's own part", Letter("BH0301");
    handles Handles: "taking handles without end", "a bound on handles", Letter("BH0305");
    call_flood CallFlood: "calling the host without end", "fuel, which calls burn too", Letter("BH0302");
    random_flood RandomFlood: "draining randomness", "fuel by the byte", Letter("BH0302");
    log_flood LogFlood: "a flood of log lines", "a ration of lines, and of bytes a line", Harmless;
    stdout_flood StdoutFlood: "a flood on stdout and stderr", "the same ration", Harmless;
    clock_probe ClockProbe: "looking for a fine clock", "clocks of a millisecond", Harmless;
    remnant Remnant: "reading what another tenant left in memory", "memory that is zeroed before it is lent", Harmless;
    surroundings Surroundings: "looking for variables, arguments and folders", "nothing is linked that was not granted", Harmless;
    exits Exits: "ending the process", "it ends the instance", Letter("BH0301");
    malformed Malformed: "columns whose ends fall, run past or overflow", "a check of every column", Letter("BH0305");
    wild_outcome WildOutcome: "an outcome outside of its memory", "the canonical ABI's bounds", Letter("BH0305");
    wild_column WildColumn: "a column that runs beyond its memory", "the canonical ABI's bounds", Letter("BH0305");
    stacked_columns StackedColumns: "columns that all lie on the same bytes", "a bound on what one call passes", Letter("BH0306");
    bad_calls BadCalls: "host calls with wild pointers and made-up handles", "the canonical ABI's bounds, handles by instance", Letter("BH0305");
    marks_backwards MarksBackwards: "marks that go back, for more fuel", "marks must rise", Letter("BH0305");
    marks_beyond MarksBeyond: "marks of records that are not there", "marks lie in the batch", Letter("BH0305");
    marks_ahead MarksAhead: "marks that blame another record", "each verdict is confirmed alone", Letter("BH0301");
    many_outputs ManyOutputs: "outputs a thousand times the input", "a bound on outputs", Letter("BH0306");
    huge_output HugeOutput: "an output of 24 MiB", "a bound on outputs' bytes", Letter("BH0306");
    huge_record HugeRecord: "a record of 100 MB sent in", "the topic's bound, before it is read", Refused(413, "BH0030");
    scratch Scratch: "filling the disk, leaving the folder, links", "a ledger of bytes, a folder without a way out", Harmless;
    declares_4_gib Declares4Gib: "a memory of 4 GiB declared", "the pool's slot", Refused(422, "BH0108");
    declares_memories DeclaresMemories: "a hundred memories declared", "the pool's slot", Refused(422, "BH0108");
    declares_shared_memory DeclaresSharedMemory: "a memory for threads: a fine clock", "an allow-list of features", Refused(422, "BH0108");
    declares_table DeclaresTable: "a table of ten million declared", "the pool's slot", Refused(422, "BH0108");
    functions Functions: "more functions than may be", "a count before compiling", Refused(422, "BH0107");
    functions_100k Functions100k: "100,000 functions", "a child with bounds of its own", Harmless;
    long_function LongFunction: "a function of megabytes", "a size before compiling", Refused(422, "BH0107");
    many_locals ManyLocals: "a function of 50,000 locals", "a count before compiling", Refused(422, "BH0107");
    jump_tables JumpTables: "20 MB of jump tables", "the child's CPU seconds", Refused(422, "BH0107");
    types Types: "types that double at each level", "the validator's size of types", Refused(422, "BH0108");
    nested Nested: "components nested 100 deep", "a bound on nesting", Refused(422, "BH0107");
    imports Imports: "imports that nobody granted", "an allow-list of imports", Refused(422, "BH0104");
    sockets Sockets: "imports of sockets", "an allow-list of imports", Refused(422, "BH0104");
    forged_tenant ForgedTenant: "the header of another tenant with one's own token", "path, header and token must agree", Refused(400, "BH0042");
    others_topics OthersTopics: "another tenant's topics by every spelling", "names are parsed, physical ones are the host's", Harmless;
    others_buckets OthersBuckets: "another tenant's bucket by every spelling of name, prefix and key", "names and keys are parsed, prefixes are the host's", Harmless;
    forged_headers ForgedHeaders: "headers of another tenant's dead letters, replays, usage and revisions on one's own records", "no header says whose a record is, and the last evidence is the host's", Harmless;
    stranger_in_group StrangerInGroup: "joining a pipeline's Kafka group, and moving its positions", "the broker's ACLs", Harmless;
    stranger_transaction StrangerTransaction: "using a worker's transactional id", "the broker's ACLs", Harmless;
    topic_deleted TopicDeleted: "an output topic deleted in mid-flight", "the lane's checks and its quarantine", Stopped("BH0402");
    topic_shrunk TopicShrunk: "a topic that takes less than it is sent", "the lane's checks", Letter("BH0307");
    positions_gone PositionsGone: "positions deleted from outside", "a missing position is an error, never a reset", Stopped("BH0403");
    positions_moved PositionsMoved: "positions moved from outside, while it runs and while it does not", "its owner commits its own again; a position without the host's mark is an error", Stopped("BH0670");
}

/// The attacks that a guest is for; none for one that behaves.
pub const fn attacks(guest: Guest) -> &'static [Attack] {
    match guest {
        Guest::BadCalls => &[Attack::BadCalls],
        Guest::CallFlood => &[Attack::CallFlood],
        Guest::ClockProbe => &[Attack::ClockProbe],
        Guest::DeepCall => &[Attack::DeepCall],
        Guest::ExhaustMemory => &[Attack::ExhaustMemory],
        Guest::Exits => &[Attack::Exits],
        Guest::ForgedHeaders => &[Attack::ForgedHeaders],
        Guest::Handles => &[Attack::Handles],
        Guest::HugeOutput => &[Attack::HugeOutput],
        Guest::InitSpins => &[Attack::InitSpins],
        Guest::InitTraps => &[Attack::InitTraps],
        Guest::LogFlood => &[Attack::LogFlood],
        Guest::Malformed => &[Attack::Malformed],
        Guest::ManyOutputs => &[Attack::ManyOutputs],
        Guest::MarksAhead => &[Attack::MarksAhead],
        Guest::MarksBackwards => &[Attack::MarksBackwards],
        Guest::MarksBeyond => &[Attack::MarksBeyond],
        Guest::PollFlood => &[Attack::PollFlood],
        Guest::RandomFlood => &[Attack::RandomFlood],
        Guest::Recursion => &[Attack::Recursion],
        Guest::Remnant => &[Attack::Remnant],
        Guest::Scratch => &[Attack::Scratch],
        Guest::Sleep => &[Attack::Sleep],
        Guest::Sockets => &[Attack::Sockets],
        Guest::Spin => &[Attack::Spin],
        Guest::SpinThenTrap => &[Attack::SpinThenTrap],
        Guest::StdoutFlood => &[Attack::StdoutFlood],
        Guest::Surroundings => &[Attack::Surroundings],
        // These behave, or misbehave in ways that harm nobody but themselves: each has a test of its own.
        Guest::Bucketed
        | Guest::Company
        | Guest::DeniedThenTrap
        | Guest::Exceptions
        | Guest::FanOut
        | Guest::Filter
        | Guest::GrowSlowly
        | Guest::InitFails
        | Guest::InitMarks
        | Guest::NeverMarks
        | Guest::Passthrough
        | Guest::RetryTwice
        | Guest::Secretive
        | Guest::Stateful
        | Guest::Stdio
        | Guest::ThirdCall
        | Guest::ToRows
        | Guest::Trap
        | Guest::Work
        | Guest::WorkFirst => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_of_a_guest_is_named_after_it() {
        for guest in Guest::ALL {
            for attack in attacks(*guest) {
                assert_eq!(attack.name(), guest.name());
            }
        }
    }
}
