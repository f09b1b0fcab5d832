//! What happens to workers and brokers, in which order.
//!
//! Must never: let an event go because another took long; each waits for its share of the records instead.

use crate::options::Options;

/// Slots of workers that are killed, in turn, and start again.
pub(crate) const STEADY: [&str; 2] = ["pool-0", "pool-1"];
/// The slot of the worker that comes and goes.
pub(crate) const GUEST: &str = "pool-2";

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A worker joins.
    Join,
    /// It drains and leaves.
    Leave,
    /// A worker is killed, and another started in its slot.
    KillWorker(&'static str),
    /// The leader of an input partition is killed, and started again once output flows without it.
    KillLeader,
}

impl Event {
    /// For people.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Join => format!("{GUEST} joins"),
            Self::Leave => format!("{GUEST} leaves (SIGTERM)"),
            Self::KillWorker(slot) => format!("{slot} killed (SIGKILL)"),
            Self::KillLeader => "partition leader killed (SIGKILL)".to_owned(),
        }
    }
}

/// All events, kills spread among joins and leaves, which take turns.
pub(crate) fn plan(options: &Options) -> Vec<Event> {
    let mut kills: Vec<Event> =
        (0..options.worker_kills).map(|i| Event::KillWorker(STEADY[i % STEADY.len()])).collect();
    for i in 0..options.broker_kills {
        let at = (2 * i + 1) * kills.len() / (2 * options.broker_kills);
        kills.insert(at, Event::KillLeader);
    }
    let mut events = Vec::new();
    for (i, kill) in kills.into_iter().enumerate() {
        events.push(if i % 2 == 0 { Event::Join } else { Event::Leave });
        events.push(kill);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn every_kill_asked_for_happens_and_joins_and_leaves_take_turns() {
        let options = Options::parse_from(["fire"]);
        let events = plan(&options);
        let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|event| matches!(event, Event::KillWorker(_))), 5);
        assert_eq!(count(|event| *event == Event::KillLeader), 1);
        let guests: Vec<_> = events.iter().filter(|e| matches!(e, Event::Join | Event::Leave)).collect();
        assert!(guests.len() >= 6 && guests.chunks(2).all(|pair| *pair[0] == Event::Join));
    }
}
