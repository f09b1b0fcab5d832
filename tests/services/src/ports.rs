//! Free ports of 127.0.0.1.
//!
//! Ports are taken below the range from which the kernel serves outgoing connections, so that a broker that is down for a
//! while finds its port free when it comes back.
//! Must never: hand out the same port twice in one process.

use rand::Rng;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// Linux serves outgoing connections from 32768 up.
const RANGE: std::ops::Range<u16> = 18_000..32_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// `count` ports that nothing listens on at the moment.
///
/// # Panics
/// Where no free port is found among many tried.
pub(crate) fn free(count: usize) -> Vec<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut ports = Vec::with_capacity(count);
    for _ in 0..10_000 {
        if ports.len() == count {
            return ports;
        }
        let port = rand::rng().random_range(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            ports.push(port);
        }
    }
    panic!("no free port of 127.0.0.1 in {RANGE:?}: end what listens there");
}
