//! The scene: brokers, a control, one worker with its one shared lane, three victims; and the play, attack after attack.
//!
//! Must never: judge the victims before their streams have ended and are done.

use crate::Options;
use crate::attack::Attack;
use crate::neighbour::{Struck, strike};
use crate::victim::Victim;
use anyhow::Result;
use bulkhead_fire::judge::Verdict;
use bulkhead_fire::watch::{Arrivals, Watch};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Folder, Host, KafkaLogin, Process, Serve, Tenant, stage, until};
use rdkafka::Message;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const VICTIMS: [&str; 3] = ["acme", "globex", "initech"];
const ATTACKER: &str = "mallory";

/// Everything that the play needs.
pub(crate) struct Scene {
    options: Options,
    victims: Vec<Victim>,
    mallory: Tenant,
    worker: Process,
    host: Host,
    kafka: Kafka,
}

/// What transactions came to during an attack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Commits {
    pub(crate) committed: f64,
    pub(crate) aborted: f64,
    pub(crate) other: f64,
    pub(crate) quarantined: f64,
}

/// What the play gave.
pub(crate) struct Played {
    pub(crate) strikes: Vec<(Struck, Commits)>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) verdicts: Vec<(&'static str, Verdict)>,
}

impl Scene {
    /// Starts everything.
    pub(crate) fn set(options: &Options) -> Result<Self> {
        println!("starting 3 brokers of Kafka {} with logins and ACLs, control and one worker", options.kafka);
        let kafka = Kafka::try_start_release(&options.kafka, 3)?;
        let folder = Folder::new("lane")?;
        let tenants: Vec<&str> = VICTIMS.into_iter().chain([ATTACKER]).collect();
        let login = KafkaLogin::for_bulkhead(&kafka, &tenants, folder.path())?.protocol(&options.protocol);
        let host = Host::start_in(Serve::control().kafka(&login), folder)?;
        let worker = host.start_worker(&host.worker("pool-0")?)?;
        let victims = VICTIMS.iter().map(|name| Victim::set(host.tenant(name)?)).collect::<Result<_>>()?;
        let mallory = host.tenant(ATTACKER)?;
        mallory.upload("enrich", "v1", std::fs::read(stage("flights-enrich")?)?)?;
        Ok(Self { options: options.clone(), victims, mallory, worker, host, kafka })
    }

    /// Keeps logs and data.
    pub(crate) fn keep_folder(&mut self) -> PathBuf {
        self.host.keep_folder()
    }

    /// All attacks, one after another, over the victims' steady streams.
    pub(crate) fn play(&mut self) -> Result<Played> {
        let outputs: Vec<_> = self.victims.iter().map(Victim::output).collect();
        let names: Vec<String> = outputs.iter().map(|(topic, _)| topic.clone()).collect();
        let watch = Watch::start(&self.kafka.admin_client(), &outputs, names.len(), move |message| {
            names.iter().position(|name| name == message.topic())
        })?;
        for victim in &mut self.victims {
            victim.feed(&self.kafka, self.options.rate)?;
        }
        let arrivals = watch.arrivals().clone();
        until("output of every victim", || arrivals.last_of_all().ok_or_else(|| "silence".to_owned()))?;
        let mut strikes = Vec::new();
        for attack in Attack::ALL {
            if self.options.only.as_ref().is_some_and(|only| attack != Attack::None && !attack.id().starts_with(only)) {
                continue;
            }
            println!("  {}", attack.name());
            let before = self.commits();
            let window = Duration::from_secs(self.options.window_s.into());
            let struck = strike(attack, &self.kafka, &self.mallory, self.options.rate, window)?;
            strikes.push((struck, self.commits().since(before)));
        }
        println!("the streams end; comparing");
        self.victims.iter_mut().try_for_each(Victim::finish)?;
        let judged = VICTIMS.iter().zip(&self.victims).map(|(name, victim)| Ok((*name, victim.judge(&self.kafka)?)));
        Ok(Played { verdicts: judged.collect::<Result<_>>()?, strikes, arrivals })
    }

    /// A worker that is too busy to answer leaves the report poorer, nothing else.
    fn commits(&self) -> Commits {
        let Ok(scrape) = self.worker.scrape() else { return Commits::default() };
        const NAME: &str = "bulkhead_commits_total";
        let outcome = |outcome| scrape.sum(NAME, &[("outcome", outcome)]);
        let (all, committed, aborted) = (scrape.sum(NAME, &[]), outcome("committed"), outcome("aborted"));
        let quarantined = scrape.sum(NAME, &[("lane", "quarantine")]);
        Commits { committed, aborted, other: all - committed - aborted, quarantined }
    }
}

impl Commits {
    fn since(self, before: Self) -> Self {
        Self {
            committed: self.committed - before.committed,
            aborted: self.aborted - before.aborted,
            other: self.other - before.other,
            quarantined: self.quarantined - before.quarantined,
        }
    }
}
