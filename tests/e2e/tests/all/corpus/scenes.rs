//! How each attack is done.
//!
//! Must never: have an arm for all others; an attack without a scene does not compile.

use super::arena::{Ground, NEIGHBOUR};
use super::checks::{accounted, coarse_clocks, empty_world, no_way_out, only_a_letter, only_the_bad_one, passes};
use super::play::{Attacker, Came};
use super::{broker, buckets, forged, moved};
use crate::brokers::Broker;
use crate::shared::{Guests, manifest, refused};
use anyhow::{Result, ensure};
use bulkhead_test_guests::corpus::{Answer, Attack};
use bulkhead_test_guests::{bombs, raw, wasm};
use bulkhead_testbed::Line;
use reqwest::Method;

/// What an attack consists of.
pub(super) enum Scene {
    /// Records through a pipeline: a good one, the bad ones, a good one.
    Records(Records),
    /// A pipeline that must not come to run.
    Start(Stage),
    /// An upload.
    Upload(Vec<u8>),
    /// Anything else, done once.
    Other(fn(&Attacker, Option<&Broker>) -> Result<()>),
}

/// Bad records, and what must have come of them.
pub(super) struct Records {
    pub(super) stage: Stage,
    pub(super) bad: &'static [&'static str],
    pub(super) check: fn(&Came) -> Result<()>,
}

/// The attacker's stage.
#[derive(Default)]
pub(super) struct Stage {
    /// Which guest of the common component it is.
    pub(super) config: &'static str,
    /// Or a component of its own.
    pub(super) raw: Option<Vec<u8>>,
    /// Of the stage, as YAML's flow form.
    pub(super) limits: &'static str,
    /// Lines of the stage.
    pub(super) grants: &'static str,
}

impl Scene {
    /// Whether it may be done again and again.
    pub(super) fn repeats(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// Where it takes place.
pub(super) fn ground(attack: Attack) -> Ground {
    match attack {
        Attack::StrangerInGroup
        | Attack::StrangerTransaction
        | Attack::TopicDeleted
        | Attack::TopicShrunk
        | Attack::PositionsGone
        | Attack::PositionsMoved => Ground::Kafka,
        _ => Ground::Embedded,
    }
}

/// A guest that makes a dead letter of each of these, and passes the rest on.
fn bad(attack: Attack, limits: &'static str, bad: &'static [&'static str]) -> Scene {
    checked(attack, limits, bad, only_the_bad_one)
}

fn checked(
    attack: Attack,
    limits: &'static str,
    bad: &'static [&'static str],
    check: fn(&Came) -> Result<()>,
) -> Scene {
    let stage = Stage { config: attack.name(), limits, ..Stage::default() };
    Scene::Records(Records { stage, bad, check })
}

/// A stage written by hand, which puts nothing out.
fn by_hand(wasm: Vec<u8>, limits: &'static str) -> Scene {
    let stage = Stage { config: "raw", raw: Some(wasm), limits, ..Stage::default() };
    Scene::Records(Records { stage, bad: &["!"], check: only_a_letter })
}

fn start(attack: Attack) -> Scene {
    Scene::Start(Stage { config: attack.name(), ..Stage::default() })
}

/// The scene of this attack.
pub(super) fn scene(attack: Attack) -> Scene {
    match attack {
        Attack::Spin => bad(attack, "fuelPerRecord: 5000000", &["!"]),
        Attack::CallFlood => bad(attack, "fuelPerRecord: 5000000", &["!"]),
        Attack::RandomFlood => bad(attack, "fuelPerRecord: 20000000", &["!", "!once"]),
        Attack::SpinThenTrap => bad(attack, "", &["!2000000"]),
        Attack::Sleep => bad(attack, "deadlineMs: 1000", &["!"]),
        Attack::ExhaustMemory => bad(attack, "memoryBytes: 16777216", &["!"]),
        Attack::BadCalls => bad(attack, "", &["!pointer", "!length", "!level", "!text", "!handle", "!twice"]),
        Attack::Malformed => bad(attack, "", &["!rows", "!ends-beyond", "!ends-short", "!nulls"]),
        Attack::ManyOutputs => bad(attack, "outputRecords: 1000", &["!1001"]),
        Attack::HugeOutput => bad(attack, "fuelPerRecord: 1000000000, memoryBytes: 268435456", &["!"]),
        Attack::MarksAhead => checked(attack, "", &["!"], accounted),
        Attack::LogFlood => checked(attack, "", &["!5000"], passes),
        Attack::StdoutFlood => checked(attack, "fuelPerRecord: 1000000000", &["!3000"], passes),
        Attack::ClockProbe => checked(attack, "fuelPerRecord: 10000000000", &["!"], coarse_clocks),
        Attack::Surroundings => checked(attack, "", &["!environment"], empty_world),
        Attack::PollFlood
        | Attack::Recursion
        | Attack::DeepCall
        | Attack::Handles
        | Attack::Exits
        | Attack::MarksBackwards
        | Attack::MarksBeyond => bad(attack, "", &["!"]),
        Attack::InitSpins | Attack::InitTraps => start(attack),
        Attack::StartSpins => Scene::Start(Stage { config: "raw", raw: Some(raw::start_spins()), ..Stage::default() }),
        Attack::NamelessSpin => by_hand(raw::nameless_spin(), "fuelPerRecord: 5000000"),
        Attack::TableGrowth => by_hand(raw::table_growth(), ""),
        Attack::BulkFill => by_hand(raw::bulk_fill(), "fuelPerRecord: 50000000"),
        Attack::WildOutcome => by_hand(raw::wild_outcome(), ""),
        Attack::WildColumn => by_hand(raw::wild_column(), ""),
        Attack::StackedColumns => by_hand(raw::columns_on_top_of_each_other(), ""),
        Attack::Scratch => files(attack),
        Attack::Remnant => Scene::Other(remnant),
        Attack::Declares4Gib => Scene::Upload(raw::declares_4_gib()),
        Attack::DeclaresMemories => Scene::Upload(raw::declares_memories()),
        Attack::DeclaresSharedMemory => Scene::Upload(raw::declares_shared_memory()),
        Attack::DeclaresTable => Scene::Upload(raw::declares_table()),
        Attack::Functions => Scene::Upload(bombs::functions(200_001, &bombs::empty())),
        Attack::Functions100k => Scene::Other(functions_100k),
        Attack::LongFunction => Scene::Upload(bombs::functions(1, &bombs::long(1 << 19))),
        Attack::ManyLocals => Scene::Upload(bombs::functions(1, &bombs::locals(50_000))),
        Attack::JumpTables => Scene::Upload(bombs::bomb()),
        Attack::Types => Scene::Upload(bombs::types(40)),
        Attack::Nested => Scene::Upload(bombs::nested(100)),
        Attack::Imports => Scene::Upload(bombs::imports(100)),
        Attack::Sockets => Scene::Upload(wasm("sockets").to_vec()),
        Attack::HugeRecord => Scene::Other(huge_record),
        Attack::ForgedTenant => Scene::Other(forged_tenant),
        Attack::OthersTopics => Scene::Other(others_topics),
        Attack::OthersBuckets => Scene::Other(buckets::others_buckets),
        Attack::ForgedHeaders => Scene::Other(forged::forged_headers),
        Attack::StrangerInGroup => Scene::Other(broker::stranger_in_group),
        Attack::StrangerTransaction => Scene::Other(broker::stranger_transaction),
        Attack::TopicDeleted => Scene::Other(broker::topic_deleted),
        Attack::TopicShrunk => Scene::Other(broker::topic_shrunk),
        Attack::PositionsGone => Scene::Other(broker::positions_gone),
        Attack::PositionsMoved => Scene::Other(moved::positions_moved),
    }
}

/// Fills its folder, and looks for ways out of it.
fn files(attack: Attack) -> Scene {
    let stage = Stage { config: attack.name(), grants: "    scratch: { maxBytes: 65536 }\n", ..Stage::default() };
    let bad: &[&str] = &[
        "!fill /scratch/big 99999",
        "!many /scratch 5000",
        "!beyond /scratch/b 9000000000000",
        "!raw open ../../../secret 0",
        "!raw open /etc/passwd 0",
        "!raw create ../out 0",
        "!raw rename ../../x y",
        "!raw symlink s /etc/passwd",
        "!raw symlink s ../../..",
        "!link /scratch/f /etc/passwd",
    ];
    Scene::Records(Records { stage, bad, check: no_way_out })
}

/// One pipeline leaves a pattern in its memory and goes; another, in its slot, looks for it.
fn remnant(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    let limits = "fuelPerRecord: 1000000000";
    let looker = "looker";
    for name in [looker, attacker.name.as_str()] {
        attacker.tenant.topics(name)?;
    }
    attacker.tenant.apply_guest(&attacker.name, "remnant", limits)?;
    attacker.tenant.put(&attacker.name, &["!leave"])?;
    ensure!(attacker.tenant.out(&attacker.name, 1)? != ["0"], "it left nothing");
    attacker.tenant.delete_pipeline(&attacker.name)?;
    attacker.tenant.apply_guest(looker, "remnant", limits)?;
    attacker.tenant.put(looker, &["!look"])?;
    ensure!(attacker.tenant.out(looker, 1)? == ["0"], "memory of another instance shows");
    attacker.tenant.delete_pipeline(looker)?;
    Ok(())
}

/// Dear, and within the limits of most hosts: it is compiled, or its child ends at its CPU seconds.
fn functions_100k(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    match attacker.tenant.upload("bomb", "v1", raw::functions_100k()) {
        Ok(_) => Ok(()),
        Err(limit) => {
            refused(Err::<(), _>(limit), 422, "BH0107", "CPU time");
            Ok(())
        }
    }
}

fn huge_record(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    attacker.tenant.create_topic("large", 1)?;
    let Answer::Refused(status, code) = attacker.attack.answer() else { anyhow::bail!("it is refused") };
    refused(attacker.tenant.produce("large", &[Line::value(&vec![b'x'; 100 << 20])]), status, code, "");
    ensure!(attacker.tenant.read_all("large")?.is_empty(), "it was kept");
    Ok(())
}

/// One's own token with the neighbour's name: in the header, in the path, in both.
fn forged_tenant(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    let control = attacker.tenant.control();
    let ask = |tenant: &str, named: &[&str]| {
        let mut request = control.request(Method::GET, &format!("/api/v1/tenants/{tenant}/topics"));
        for name in named {
            request = request.header("Bulkhead-Tenant", *name);
        }
        control.send(request)
    };
    let own = attacker.tenant.name();
    let Answer::Refused(status, code) = attacker.attack.answer() else { anyhow::bail!("it is refused") };
    refused(ask(own, &[NEIGHBOUR]), status, code, "");
    refused(ask("-", &[NEIGHBOUR]), status, code, "");
    refused(ask(own, &[own, NEIGHBOUR]), status, code, "");
    let there = refused(ask(NEIGHBOUR, &[]), 404, "BH0005", "").detail;
    let nowhere = refused(ask("nobody-at-all", &[]), 404, "BH0005", "").detail;
    ensure!(there.replace(NEIGHBOUR, "X") == nowhere.replace("nobody-at-all", "X"), "{there} tells that it is there");
    refused(ask(NEIGHBOUR, &[own]), status, code, "");
    refused(ask(NEIGHBOUR, &[NEIGHBOUR]), status, code, "");
    Ok(())
}

/// The neighbour's topics in every spelling: none is read, written, made or run on.
fn others_topics(attacker: &Attacker, _: Option<&Broker>) -> Result<()> {
    let spellings = [
        "besieged.probe-out".to_owned(),
        "BESIEGED.probe-out".to_owned(),
        "../besieged/topics/probe-out".to_owned(),
        "..%2Fbesieged%2Ftopics%2Fprobe-out".to_owned(),
        "%2e%2e/besieged/probe-out".to_owned(),
        "besieged%2Eprobe-out".to_owned(),
        "besieged\u{2024}probe-out".to_owned(),
        "besieged\u{ff0e}probe-out".to_owned(),
        "besieged.probe-out%00".to_owned(),
        " besieged.probe-out".to_owned(),
        "others-topics.besieged.probe-out".to_owned(),
        "_bulkhead.usage.besieged.commits".to_owned(),
        "_bulkhead.state.besieged.default.p".to_owned(),
        "probe-out".to_owned(),
        ".".to_owned(),
        "*".to_owned(),
    ];
    let tenant = &attacker.tenant;
    tenant.topics("mine")?;
    for spelling in &spellings {
        ensure!(tenant.read(spelling, 0, 0, std::time::Duration::ZERO).is_err(), "`{spelling}` was read");
        ensure!(tenant.produce(spelling, &[Line::value(b"forged")]).is_err(), "`{spelling}` was written");
        ensure!(tenant.delete_topic(spelling).is_err(), "`{spelling}` was deleted");
        for (own, other) in
            [("topic: mine-in", "input"), ("topic: mine-out", "output"), ("topic: mine-dead", "letters")]
        {
            let text = manifest("mine", "passthrough", "").replace(own, &format!("topic: {spelling:?}"));
            ensure!(tenant.apply("mine", text).is_err(), "`{spelling}` was taken as {other}");
        }
        // A name of its own is its own: nothing of the neighbour's is in it.
        if tenant.create_topic(spelling, 1).is_ok() {
            ensure!(tenant.read_all(spelling)?.is_empty(), "`{spelling}` has somebody's records");
            tenant.delete_topic(spelling)?;
        }
    }
    Ok(())
}
