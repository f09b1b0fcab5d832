//! A victim alone, and beside one and many attackers of each kind: its waits while it is within its share, and its share while all want more.
//!
//! `BULKHEAD_ISOLATION_ATTACKERS` says how many at most (1, 10, 100, … up to that), `BULKHEAD_ISOLATION_PROBES` how many records the victim
//! sends each time, `BULKHEAD_ISOLATION_KINDS` which kinds.
//! Must never: let an attacker run out of work while the victim is looked at.

use super::{LONG, asked, burn, feed, load};
use crate::neighbour::Neighbour;
use crate::shared::tenant_with_guests;
use anyhow::{Result, ensure};
use bulkhead_testbed::{Host, Serve, Tenant};

/// Fuel over which shares are taken, for each tenant that is at work.
const FUEL_EACH: f64 = 400e6;

/// One kind of attack.
struct Kind {
    name: &'static str,
    guest: &'static str,
    /// What each record says, and more of them than one attacker alone does for each that the victim sends.
    work: (&'static str, usize),
    does: &'static str,
    /// Whether it burns fuel as fast as it may, so that shares can be told.
    burns: bool,
    /// Whether its records become dead letters, which shows that it does what it is said to do.
    dies: bool,
}

const KINDS: [Kind; 8] = [
    Kind { name: "work", guest: "work", work: (LONG, 150), does: "works as much as it may", burns: true, dies: false },
    Kind { name: "spin", guest: "spin", work: ("!", 20), does: "never returns", burns: true, dies: true },
    Kind {
        name: "start",
        guest: "init_spins",
        work: ("x", 1),
        does: "never returns from `init`",
        burns: false,
        dies: false,
    },
    Kind {
        name: "memory",
        guest: "exhaust_memory",
        work: ("!", 400),
        does: "takes all memory",
        burns: false,
        dies: true,
    },
    Kind {
        name: "stack",
        guest: "recursion",
        work: ("!", 400),
        does: "calls itself without end",
        burns: false,
        dies: true,
    },
    Kind {
        name: "outputs",
        guest: "huge_output",
        work: ("!", 400),
        does: "puts out more than it may",
        burns: false,
        dies: true,
    },
    Kind { name: "log", guest: "log_flood", work: ("!1000", 400), does: "floods its log", burns: false, dies: false },
    Kind { name: "trap", guest: "trap", work: ("!", 800), does: "traps at once", burns: false, dies: true },
];

/// Records that an attacker has at least.
const RECORDS_MIN: usize = 500;

struct Scene {
    host: Host,
    victim: Neighbour,
    attackers: Vec<Tenant>,
    probes: usize,
}

impl Scene {
    fn start(attackers: usize, probes: usize) -> Result<Self> {
        let host = Host::start(Serve::all())?;
        let mut victim = Neighbour::new(tenant_with_guests(&host, "victim")?)?;
        load(&victim.tenant, "busy", "work", (LONG, 5_000))?;
        victim.tenant.pause("busy")?;
        victim.probes(5)?;
        let attacker = |i: usize| tenant_with_guests(&host, &format!("attacker-{i}"));
        let attackers = (0..attackers).map(attacker).collect::<Result<Vec<_>>>()?;
        Ok(Self { host, victim, attackers, probes })
    }

    /// The victim's share of the fuel while it works too, in parts of what it weighs among so many.
    fn share(&self, attackers: usize) -> Result<f64> {
        self.victim.tenant.resume("busy")?;
        // What it saved up before is used first.
        burn(&self.host, FUEL_EACH)?;
        let since = burn(&self.host, FUEL_EACH * (attackers + 1) as f64)?;
        self.victim.tenant.pause("busy")?;
        let all: f64 = since.values().sum();
        Ok(since.get("victim").copied().unwrap_or_default() / all * (attackers + 1) as f64)
    }

    /// The victim beside one attacker, ten, and so on.
    fn attack(&mut self, kind: &Kind, alone: (u128, u128)) -> Result<Vec<f64>> {
        let (mut shares, mut running, mut wanted) = (Vec::new(), 0, 1);
        while wanted <= self.attackers.len() {
            let more = &self.attackers[running..wanted];
            let (value, records) = kind.work;
            let records = (records * self.probes / wanted).max(RECORDS_MIN);
            more.iter().try_for_each(|attacker| load(attacker, kind.name, kind.guest, (value, records)))?;
            running = wanted;
            // Those that were there have worked meanwhile.
            self.attackers[..running].iter().try_for_each(|one| feed(one, kind.name, (value, records)))?;
            let (p50, p99) = self.victim.probes(self.probes)?;
            let share = if kind.burns { Some(self.share(running)?) } else { None };
            let mut died = 0;
            for attacker in &self.attackers[..running] {
                let status = attacker.status(kind.name)?;
                died += status.totals.dead_letters;
                ensure!(status.lag != Some(0), "{}, {running} of them, ran out of work: {status:?}", kind.name);
            }
            ensure!(died > 0 || !kind.dies, "{} does no harm", kind.name);
            let ratio = |beside: u128, alone: u128| beside as f64 / alone.max(1) as f64;
            println!(
                "| {}: {} | {running} | {p50} | {p99} | {:.2} | {:.2} | {} |",
                kind.name,
                kind.does,
                ratio(p50, alone.0),
                ratio(p99, alone.1),
                share.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}")),
            );
            shares.extend(share);
            wanted *= 10;
        }
        for attacker in &self.attackers[..running] {
            attacker.pause(kind.name)?;
        }
        Ok(shares)
    }
}

#[test]
fn a_victim_beside_attackers_keeps_its_share_and_its_records() -> Result<()> {
    let attackers = asked("BULKHEAD_ISOLATION_ATTACKERS", 1)?;
    let kinds = asked("BULKHEAD_ISOLATION_KINDS", "work,spin".to_owned())?;
    let mut scene = Scene::start(attackers, asked("BULKHEAD_ISOLATION_PROBES", 10)?)?;
    println!("| attack | attackers | victim p50 ms | p99 ms | p50 / alone | p99 / alone | share / weight |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for kind in KINDS.iter().filter(|kind| kinds == "all" || kinds.split(',').any(|name| name == kind.name)) {
        // Again for each kind, since the machine may have changed.
        let alone = scene.victim.probes(scene.probes)?;
        println!("| alone | 0 | {} | {} | 1 | 1 | - |", alone.0, alone.1);
        for share in scene.attack(kind, alone)? {
            ensure!(share >= 0.9, "the victim had {share} of its share beside `{}`", kind.name);
        }
    }
    let status = scene.victim.tenant.status("probe")?;
    ensure!(status.totals.dead_letters == 0 && status.totals.records_in == status.totals.records_out, "{status:?}");
    Ok(())
}
