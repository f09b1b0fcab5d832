//! Opening a transactional id, and going on under a spare one while the id is held up.
//!
//! The coordinator gives an id to a fresh producer only when the last transaction under it has its marker in every partition that it wrote
//! to. A single partition without a leader holds that up for as long as the leader is away, and with it everybody who shares the lane.
//! Once it is known how that transaction ended nothing has to wait for it: the markers come when the leader does, whoever asks. So
//! the producer takes one of a few spare ids. What a spare id's predecessor left open, if it was killed, ends at
//! [`crate::TRANSACTION_TIMEOUT`].
//! Must never: leave an id while nobody knows how the transaction under it ended.

use super::Shared;
use super::client::{Client, Kind};
use super::config;
use super::native::{ErrorCode, NativeError, code, millis};
use crate::LogError;
use bulkhead_core::scope::TransactionalId;
use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use std::time::{Duration, Instant};

/// How long opening may take; the coordinator ends the predecessor's transaction first.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the coordinator's answer is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long an id may be held up before a spare one is taken.
pub(super) const HELD_UP: Duration = Duration::from_secs(2);
/// How many ids a lane has in all. Each is held up by a partition that lost its leader; a few suffice until the first is free again.
const IDS: u32 = 8;

/// The last transaction under the id has not ended everywhere.
const CONCURRENT: ErrorCode = code(E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS);

/// A producer that has opened an id, so that every other with it is fenced and its transaction ended; and which of the ids it is.
///
/// `may_leave` says that a spare id will do. `turn` is the id to begin with: 0 is `id` itself.
///
/// # Errors
/// Where the log refuses the id, or does not answer for [`INIT_TIMEOUT`].
pub(super) fn open(
    shared: &Shared,
    id: &TransactionalId,
    turn: u32,
    may_leave: bool,
) -> Result<(Client, u32), LogError> {
    let until = Instant::now() + INIT_TIMEOUT;
    let mut turn = turn;
    loop {
        let own = id.spare(turn);
        let leave_at = may_leave.then(|| Instant::now() + HELD_UP);
        let client = Client::new(Kind::Producer, &config::writer(&shared.config, &own))?;
        if initialise(&client, &own, until, leave_at)? {
            return Ok((client, turn));
        }
        turn = (turn + 1) % IDS;
        tracing::warn!(%own, next = %id.spare(turn), "a transactional id is held up by a partition without a leader; taking a spare one");
    }
}

/// Whether the id was opened; not so where it is held up at `leave_at`.
fn initialise(
    client: &Client,
    id: &TransactionalId,
    until: Instant,
    leave_at: Option<Instant>,
) -> Result<bool, LogError> {
    loop {
        // SAFETY: the handle is live.
        let opened = unsafe { NativeError::take(rd::rd_kafka_init_transactions(client.rk(), millis(LOOK))) };
        let Err(error) = opened else { return Ok(true) };
        client.serve(Duration::ZERO);
        if let Some(refused) = client.take_refusal() {
            return Err(refused);
        }
        if !error.retriable || Instant::now() >= until {
            return Err(client.error(&format!("opening the transactional id {id}"), &error));
        }
        if error.code == CONCURRENT && leave_at.is_some_and(|at| Instant::now() >= at) {
            return Ok(false);
        }
    }
}
