//! Clocks: coarse where a guest runs live, since a fine clock is a way to watch one's neighbours; virtual where a run must repeat.
//!
//! Must never: give a guest a finer time than a millisecond, or the real time where the mode says virtual.

use crate::instance::Mode;
use crate::state::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// The finest time that a guest sees.
const RESOLUTION: Duration = Duration::from_millis(1);
const RESOLUTION_NS: u64 = RESOLUTION.as_nanos() as u64;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    wall_clock::add_to_linker::<_, WasiClocks>(linker, State::clocks)?;
    monotonic_clock::add_to_linker::<_, WasiClocks>(linker, State::clocks)
}

pub(super) fn set(builder: &mut WasiCtxBuilder, mode: Mode) {
    match mode {
        Mode::Live => {
            builder.wall_clock(Coarse { start: Instant::now() }).monotonic_clock(Coarse { start: Instant::now() });
        }
        Mode::Confirm { time_ms, .. } => {
            let clock = Virtual {
                start_ns: u64::try_from(time_ms).unwrap_or(0).saturating_mul(RESOLUTION_NS),
                reads: Arc::default(),
            };
            builder.wall_clock(clock.clone()).monotonic_clock(clock);
        }
    }
}

/// The real time, cut to [`RESOLUTION`]. The monotonic one counts from the instance's start, so that it tells nothing of the host.
struct Coarse {
    start: Instant,
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        RESOLUTION_NS
    }

    fn now(&self) -> u64 {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        nanos - nanos % RESOLUTION_NS
    }
}

/// A time that rises by [`RESOLUTION`] each time that it is read: a guest that waits for it to pass comes to an end, and always at the
/// same one.
#[derive(Clone)]
struct Virtual {
    start_ns: u64,
    reads: Arc<AtomicU64>,
}

impl Virtual {
    fn read(&self) -> u64 {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        self.start_ns.saturating_add(reads.saturating_mul(RESOLUTION_NS))
    }
}

impl HostWallClock for Virtual {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.read())
    }
}

impl HostMonotonicClock for Virtual {
    fn resolution(&self) -> u64 {
        RESOLUTION_NS
    }

    fn now(&self) -> u64 {
        self.read()
    }
}
