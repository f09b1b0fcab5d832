//! The attacker's pipelines, one for each attack: made, fed, attacked, watched, restored, counted.
//!
//! Must never: leave a pipeline of one attack running during the next.

use crate::attack::{Attack, Strike};
use crate::victim::manifest;
use anyhow::{Context, Result, ensure};
use bulkhead_fire::feed::{Feed, ID_HEADER};
use bulkhead_fire::topics::{header, read_all};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Status, Tenant};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the attacker's pipeline is asked how it fares.
const ASK: Duration = Duration::from_millis(100);

/// How an attack went.
pub(crate) struct Struck {
    pub(crate) attack: Attack,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    /// Phases and codes that the attacker's pipeline was in.
    pub(crate) said: BTreeSet<String>,
    /// From the end of the attack until all is done.
    pub(crate) recovered_in: Duration,
    /// What became of the records.
    pub(crate) account: Result<String>,
}

/// Runs one attack from beginning to end.
pub(crate) fn strike(attack: Attack, kafka: &Kafka, mallory: &Tenant, rate: u32, window: Duration) -> Result<Struck> {
    let (input, dead) = (format!("{}-in", attack.id()), format!("{}-dead", attack.id()));
    attack.make_output(kafka, mallory)?;
    mallory.create_topic(&input, 1)?;
    mallory.create_topic(&dead, 1)?;
    mallory.apply(attack.id(), manifest(attack.id(), &input, &attack.output(), &dead))?;
    let mut strike = Strike::new(attack, kafka, mallory);
    let physical = |topic: &str| format!("{}.{topic}", mallory.name());
    let feed = Feed::start(&kafka.admin_client(), &physical(&input), rate.into(), strike.records())?;
    mallory.wait_status(attack.id(), "the attacker's pipeline to run", |status| {
        status.phase.as_deref() == Some("running") && status.totals.records_out > u64::from(rate)
    })?;

    let from = Instant::now();
    strike.begin()?;
    let mut said = BTreeSet::new();
    // A window of measurement: its length is what is asked for, nothing is expected at its end.
    while from.elapsed() < window {
        if let Ok(status) = mallory.status(attack.id()) {
            said.insert(shown(&status));
        }
        std::thread::sleep(ASK);
    }
    let to = Instant::now();
    strike.end()?;
    let account = aftermath(&strike, feed, &said);
    let recovered_in = to.elapsed();
    // Also of an attacker that did not recover: the next one wants the lane to itself.
    mallory.delete_pipeline(attack.id())?;
    let account =
        account.and_then(|sent| strike.account(sent, &ids(&strike, &attack.output())?, &ids(&strike, &dead)?));
    Ok(Struck { attack, from, to, said, recovered_in, account })
}

/// Waits until the attacker's pipeline is well again and done. Gives how many records it was sent.
fn aftermath(strike: &Strike, feed: Feed, said: &BTreeSet<String>) -> Result<u64> {
    let (attack, mallory) = (strike.attack, strike.mallory);
    let recovered = |sent: Option<u64>| {
        mallory.wait_status(attack.id(), "the attacker's pipeline to recover", |status| {
            let all = sent.is_none() || status.lag == Some(0);
            all && status.phase.as_deref() == Some("running")
        })
    };
    // Records go on coming, since one that passes is what shows that all is well again.
    recovered(None)?;
    let sent = feed.stop()?;
    recovered(Some(sent))?;
    ensure!(!attack.is_told() || said.iter().any(|said| said.contains("BH")), "the pipeline said nothing but {said:?}");
    Ok(sent)
}

/// Ids of the records of one of the attacker's topics, in offset order.
fn ids(strike: &Strike, topic: &str) -> Result<Vec<u64>> {
    let physical = format!("{}.{topic}", strike.mallory.name());
    let mut ids = Vec::new();
    read_all(&strike.kafka.admin_client(), &[(physical, 1)], |message| {
        let id = header(message, ID_HEADER).and_then(|id| id.parse().ok());
        ids.push(id.context("an output of the attacker's names no source")?);
        Ok(())
    })?;
    Ok(ids)
}

fn shown(status: &Status) -> String {
    let phase = status.phase.as_deref().unwrap_or("silent");
    match &status.code {
        Some(code) => format!("{phase} {code}"),
        None => phase.to_owned(),
    }
}
