//! Where attacks take place: a server, a neighbour that sends a record at a time and waits for it, and one attack at a time.
//!
//! Must never: let two attacks strike the same server at the same time.

use crate::brokers::{Broker, shared};
use crate::neighbour::Neighbour;
use crate::shared::tenant_with_guests;
use anyhow::{Context, Result, ensure};
use bulkhead_testbed::{Host, Serve};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Records of the neighbour beside each attack, unasked.
const PROBES: usize = 3;
/// Seconds of a core that one module may take of the compiler here, so that a bomb is over soon.
const COMPILE_SECONDS: &str = "5";
/// The neighbour, and on the broker the attacker, which its login must know before.
pub(crate) const NEIGHBOUR: &str = "besieged";
pub(crate) const ATTACKER: &str = "besieger";

/// Which log the server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    Embedded,
    Kafka,
}

/// A server with a neighbour.
pub(super) struct Arena {
    pub(super) host: Host,
    pub(super) broker: Option<Arc<Broker>>,
    neighbour: Neighbour,
    /// Alone, before any attack.
    pub(super) alone: Seen,
}

/// The median and the slowest hundredth of the neighbour's records, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    p50: u128,
    p99: u128,
}

impl Seen {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |part: usize| took.get((took.len() * part / 100).min(took.len().saturating_sub(1)));
        Self { p50: at(50).map_or(0, Duration::as_millis), p99: at(99).map_or(0, Duration::as_millis) }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {} ms", self.p50, self.p99)
    }
}

/// How many records of the neighbour are sent beside each attack, and whether somebody wants to see.
pub(super) fn probes() -> (usize, bool) {
    static ASKED: OnceLock<Option<usize>> = OnceLock::new();
    let asked = *ASKED.get_or_init(|| std::env::var("BULKHEAD_CORPUS_PROBES").ok()?.parse().ok());
    (asked.unwrap_or(PROBES), asked.is_some())
}

/// Runs one attack on this ground; others wait. There are two servers on the embedded log, since most of an attack is waiting, and one on
/// the broker, which knows one attacker.
pub(super) fn enter(ground: Ground, attack: impl FnOnce(&mut Arena) -> Result<()>) -> Result<()> {
    static ARENAS: [Mutex<Weak<Mutex<Arena>>>; 3] = [const { Mutex::new(Weak::new()) }; 3];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let place = match ground {
        Ground::Embedded => NEXT.fetch_add(1, Ordering::Relaxed) % 2,
        Ground::Kafka => 2,
    };
    let arena = {
        let mut place = ARENAS[place].lock().unwrap_or_else(PoisonError::into_inner);
        match place.upgrade() {
            Some(arena) => arena,
            None => {
                let arena = Arc::new(Mutex::new(Arena::start(ground)?));
                *place = Arc::downgrade(&arena);
                arena
            }
        }
    };
    let mut arena = arena.lock().unwrap_or_else(PoisonError::into_inner);
    attack(&mut arena)
}

impl Arena {
    fn start(ground: Ground) -> Result<Self> {
        let serve = Serve::all().argument("--compile-cpu-s").argument(COMPILE_SECONDS);
        let broker = if ground == Ground::Kafka { Some(shared()?) } else { None };
        let serve = match &broker {
            Some(broker) => serve.slot(NEIGHBOUR).kafka(&broker.login),
            None => serve,
        };
        let host = Host::start(serve)?;
        let neighbour = Neighbour::new(tenant_with_guests(&host, NEIGHBOUR)?)?;
        if broker.is_some() {
            tenant_with_guests(&host, ATTACKER)?;
        }
        let alone = Seen { p50: 0, p99: 0 };
        let mut arena = Self { host, broker, neighbour, alone };
        // The first is slower: it starts an instance.
        arena.neighbour.probe()?;
        arena.alone = arena.probe_while(|done| done < probes().0)?;
        Ok(arena)
    }

    /// Sends records of the neighbour, one after the other, for as long as it is said.
    pub(super) fn probe_while(&mut self, go_on: impl Fn(usize) -> bool) -> Result<Seen> {
        let mut took = Vec::new();
        while go_on(took.len()) {
            took.push(self.neighbour.probe()?);
        }
        Ok(Seen::of(took))
    }

    /// Whether the server lives, and the neighbour has all its records once and no other thing to say.
    pub(super) fn judge(&self) -> Result<()> {
        self.neighbour.judge()?;
        let log = self.host.process().context("the server is gone")?.log();
        // A guest's panic is in the log, too, in lines of JSON; the host's own is a line of the standard library's.
        let panicked = log.lines().find(|line| line.starts_with("thread '") && line.contains("panicked at"));
        ensure!(panicked.is_none(), "the server panicked: {panicked:?}");
        Ok(())
    }
}
