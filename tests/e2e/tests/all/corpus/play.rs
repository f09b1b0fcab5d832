//! Plays an attack: makes its author's side, strikes while the neighbour sends, and prints what came of it.
//!
//! Must never: strike before the neighbour is there, or leave the attacker's pipeline to disturb the next attack.

use super::arena::{ATTACKER, Arena, Ground, NEIGHBOUR, enter, probes};
use super::scenes::{Scene, Stage, ground, scene};
use crate::shared::{Guests, manifest, refused, tenant_with_guests};
use anyhow::{Context, Result, ensure};
use bulkhead_test_guests::corpus::{Answer, Attack};
use bulkhead_testbed::{Read, Status, Tenant, until};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The attacker's side of one attack.
pub(super) struct Attacker {
    pub(super) tenant: Tenant,
    /// The neighbour's own hand: for what it must have before it can be stolen, and to see that nobody touched it.
    pub(super) neighbour: Tenant,
    pub(super) attack: Attack,
    /// The pipeline's name.
    pub(super) name: String,
}

/// Plays this one.
pub(super) fn play(attack: Attack) -> Result<()> {
    enter(ground(attack), |arena| {
        let name = attack.name().replace('_', "-");
        let tenant = match ground(attack) {
            Ground::Embedded => tenant_with_guests(&arena.host, &name)?,
            Ground::Kafka => arena.host.tenant_as(ATTACKER, "tenant-admin")?,
        };
        let neighbour = arena.host.tenant_as(NEIGHBOUR, "tenant-admin")?;
        let attacker = Attacker { tenant, neighbour, attack, name };
        let scene = scene(attack);
        attacker.prepare(&scene).with_context(|| format!("preparing {}", attack.name()))?;
        let outcome = strike(arena, &attacker, &scene);
        // Also where it failed: the next one wants the server to itself.
        drop(attacker.tenant.delete_pipeline(&attacker.name));
        outcome.with_context(|| attack.name())?;
        arena.judge()
    })
}

/// Strikes once, and where there is time goes on, while the neighbour sends.
fn strike(arena: &mut Arena, attacker: &Attacker, scene: &Scene) -> Result<()> {
    let (probes, shown) = probes();
    let (stop, broker) = (AtomicBool::new(false), arena.broker.clone());
    let (took, beside) = std::thread::scope(|scope| -> Result<_> {
        let attack = scope.spawn(|| -> Result<_> {
            let start = Instant::now();
            attacker.strike(scene, broker.as_deref(), 1)?;
            let took = start.elapsed();
            for times in 2.. {
                if stop.load(Ordering::Relaxed) || !scene.repeats() {
                    break;
                }
                attacker.strike(scene, broker.as_deref(), times)?;
            }
            Ok(took)
        });
        let beside = arena.probe_while(|done| done < probes || !(scene.repeats() || attack.is_finished()));
        stop.store(true, Ordering::Relaxed);
        Ok((attack.join().expect("an attack ends")?, beside?))
    })?;
    if shown {
        static HEAD: Once = Once::new();
        HEAD.call_once(|| {
            println!(
                "| attack | what it does | what stopped it | its author saw | within | neighbour p50 / p99 | alone |"
            );
            println!("|---|---|---|---|--:|--:|--:|");
        });
        let (attack, saw, alone) = (attacker.attack, saw(attacker.attack.answer()), arena.alone);
        let (does, by, ms) = (attack.does(), attack.stopped_by(), took.as_millis());
        println!("| {} | {does} | {by} | {saw} | {ms} ms | {beside} | {alone} |", attack.name());
    }
    Ok(())
}

fn saw(answer: Answer) -> String {
    match answer {
        Answer::Letter(code) => format!("a dead letter, {code}"),
        Answer::Refused(status, code) => format!("{status} {code}"),
        Answer::Stopped(code) => format!("a pipeline that waits, {code}"),
        Answer::Harmless => "that it works, and gains nothing".to_owned(),
    }
}

impl Attacker {
    /// Topics and a pipeline, where it has one from the beginning.
    fn prepare(&self, scene: &Scene) -> Result<()> {
        match scene {
            Scene::Records(records) => {
                self.apply(&records.stage)?;
                self.tenant.wait_running(&self.name)?;
            }
            Scene::Start(stage) => self.apply(stage)?,
            Scene::Upload(_) | Scene::Other(_) => {}
        }
        Ok(())
    }

    pub(super) fn apply(&self, stage: &Stage) -> Result<()> {
        self.tenant.topics(&self.name)?;
        let mut text = manifest(&self.name, stage.config, stage.limits);
        if let Some(wasm) = &stage.raw {
            self.tenant.upload("raw", "v1", wasm.clone())?;
            text = text.replace("guests:v1", "raw:v1");
        }
        text = text.replace("    config:", &format!("{}    config:", stage.grants));
        self.tenant.apply(&self.name, text)?;
        Ok(())
    }

    /// Strikes for the `times`th time, and sees that the answer is the one that is promised.
    fn strike(&self, scene: &Scene, broker: Option<&crate::brokers::Broker>, times: usize) -> Result<()> {
        match scene {
            Scene::Records(records) => {
                let values = [&["a"], records.bad, &["b"]].concat();
                self.tenant.put(&self.name, &values)?;
                self.done(values.len() * times)?;
                (records.check)(&Came::look(self, times)?)
            }
            Scene::Start(_) => {
                // There is no instance before there is a record.
                self.tenant.put(&self.name, &["a"])?;
                let code = self.attack.answer().code();
                let held =
                    |status: &Status| status.code.as_deref() == code && status.phase.as_deref() != Some("running");
                self.tenant.wait_status(&self.name, "it to say why it does not run", held)?;
                Ok(())
            }
            Scene::Upload(wasm) => self.upload(wasm),
            Scene::Other(act) => act(self, broker),
        }
    }

    fn upload(&self, wasm: &[u8]) -> Result<()> {
        let uploaded = self.tenant.upload("bomb", "v1", wasm.to_vec());
        match self.attack.answer() {
            Answer::Refused(status, code) => drop(refused(uploaded, status, code, "")),
            _ => drop(uploaded?),
        }
        Ok(())
    }

    /// Waits until so many of the pipeline's records are done.
    pub(super) fn done(&self, records: usize) -> Result<Status> {
        until(&format!("{records} records to be done"), || match self.tenant.status(&self.name) {
            Ok(status) if status.totals.records_in >= records as u64 && status.lag == Some(0) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

/// What has come of the attacker's records.
pub(super) struct Came {
    pub(super) attack: Attack,
    /// How often it struck.
    pub(super) times: usize,
    pub(super) out: Vec<String>,
    pub(super) dead: Vec<Read>,
}

impl Came {
    fn look(attacker: &Attacker, times: usize) -> Result<Self> {
        let read = |topic: &str| attacker.tenant.read_all(&format!("{}-{topic}", attacker.name));
        let out = read("out")?.iter().map(Read::text).collect();
        Ok(Self { attack: attacker.attack, times, out, dead: read("dead")? })
    }

    /// Sees that so many dead letters came each time, all with the code that is promised.
    pub(super) fn letters(&self, each: usize) -> Result<()> {
        ensure!(self.dead.len() == each * self.times, "{} dead letters: {:?}", self.dead.len(), self.dead);
        for letter in &self.dead {
            let code = letter.header("bulkhead-code");
            ensure!(code.as_deref() == self.attack.answer().code(), "{letter:?}");
            ensure!(letter.text().starts_with('!'), "a good record became a dead letter: {letter:?}");
        }
        Ok(())
    }
}
