//! The fair queue's turns: any history of work that comes, runs, ends and is weighed anew.
//!
//! Must never: know how the turns are found; only what tenants are promised of them.

// The host's own file: what is tried here is not for other crates to call.
#[allow(dead_code, reason = "the host calls all of it")]
#[path = "../../../host/flow/src/fair/rounds.rs"]
mod rounds;

use arbitrary::{Result, Unstructured};
use bulkhead_core::name::TenantId;
use bulkhead_core::tenant_limits::usual_weight;
use bulkhead_engine::YIELD_INTERVAL_FUEL;
use rounds::{Rounds, Turn};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const TENANTS: usize = 6;
/// Steps of one history at most.
const STEPS_MAX: usize = 1_000;
/// Turns of tenants that all want more than there is.
const TURNS: usize = 600;
/// Rounds that somebody may be ahead for having been away, as the host says; and the one under way, for each of two.
const ROUNDS_AHEAD: f64 = 64.0 + 2.0;
/// What a turn costs whatever happens in it, at most.
const TURN_COST: f64 = 10_000.0;

static NAMES: LazyLock<Vec<TenantId>> =
    LazyLock::new(|| (0..TENANTS).map(|i| format!("tenant-{i}").parse().expect("a name")).collect());

/// See the module's documentation.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Too few bytes for a whole history make a short one.
    _ = shares(&mut input);
    history(&mut input);
}

/// Work that came and has not run, by tenant: how many came, and how many ran.
#[derive(Default)]
struct Seen {
    pushed: [u64; TENANTS],
    taken: [u64; TENANTS],
}

impl Seen {
    /// A turn: the oldest work of its tenant, and none only where nothing waits.
    fn take(&mut self, turn: Option<Turn<(usize, u64)>>) -> Option<Turn<(usize, u64)>> {
        let Some(turn) = turn else {
            assert_eq!(self.pushed, self.taken, "work waits, and nobody runs");
            return None;
        };
        let (i, number) = turn.work;
        assert_eq!((&turn.tenant, number), (&NAMES[i], self.taken[i]), "not the oldest work of its tenant");
        self.taken[i] += 1;
        Some(turn)
    }
}

fn history(input: &mut Unstructured<'_>) {
    let (mut rounds, mut seen, mut running) = (Rounds::default(), Seen::default(), Vec::new());
    for _ in 0..STEPS_MAX {
        // An end of the bytes is an end of the history.
        if input.is_empty() || step(input, &mut rounds, &mut seen, &mut running).is_err() {
            break;
        }
    }
    while let Some(turn) = seen.take(rounds.next()) {
        drop(turn);
    }
    assert!(rounds.clear().is_empty(), "all work has run");
    assert!(rounds.next().is_none());
}

fn step(
    input: &mut Unstructured<'_>,
    rounds: &mut Rounds<(usize, u64)>,
    seen: &mut Seen,
    running: &mut Vec<Turn<(usize, u64)>>,
) -> Result<()> {
    match input.int_in_range(0..=9)? {
        0..4 => {
            let i = input.choose_index(TENANTS)?;
            rounds.push(&NAMES[i], (i, seen.pushed[i]));
            seen.pushed[i] += 1;
        }
        4..7 => running.extend(seen.take(rounds.next())),
        7..9 if !running.is_empty() => {
            let Turn { tenant, advance, .. } = running.swap_remove(input.choose_index(running.len())?);
            let burnt: i64 = input.arbitrary()?;
            rounds.ended(&tenant, advance, burnt >> input.int_in_range(0..=63)?);
        }
        9 => rounds.weigh(weights(input)?),
        _ => {}
    }
    Ok(())
}

fn weights(input: &mut Unstructured<'_>) -> Result<BTreeMap<TenantId, u64>> {
    let named = NAMES.iter().map(|name| Ok((name.clone(), input.int_in_range(0..=20_000)?)));
    // Who is not named weighs as usual.
    named.filter(|named| named.as_ref().map_or(true, |(_, weight)| weight % 7 != 0)).collect()
}

/// Tenants that always have work: what each burns is by weight, but for what one turn and a rest may put it ahead.
fn shares(input: &mut Unstructured<'_>) -> Result<()> {
    let weights: Vec<u64> = (0..TENANTS).map(|_| input.int_in_range(1..=10_000)).collect::<Result<_>>()?;
    let most: Vec<i64> = (0..TENANTS)
        .map(|_| Ok((YIELD_INTERVAL_FUEL as i64 * input.int_in_range(1..=300)?) / 100))
        .collect::<Result<_>>()?;
    let mut rounds = Rounds::default();
    rounds.weigh(NAMES.iter().cloned().zip(weights.iter().copied()).collect());
    NAMES.iter().enumerate().for_each(|(i, name)| rounds.push(name, i));
    let (mut burnt, mut mix) = ([0.0; TENANTS], 0_u8);
    for _ in 0..TURNS {
        let Turn { tenant, work: i, advance } = rounds.next().expect("all have work");
        mix = mix.wrapping_mul(31).wrapping_add(input.arbitrary::<u8>().unwrap_or(97));
        let fuel = most[i] * (1 + i64::from(mix)) / 256;
        burnt[i] += fuel as f64 + TURN_COST / 2.0;
        rounds.push(&tenant, i);
        rounds.ended(&tenant, advance, fuel);
    }
    // In rounds: what it burnt, of what it may burn in one; and what one turn may be beyond that, with what is charged before it is known.
    let quantum = |i: usize| YIELD_INTERVAL_FUEL as f64 * weights[i] as f64 / usual_weight() as f64;
    let had = |i: usize| burnt[i] / quantum(i);
    let turn = |i: usize| (most[i] as f64 + 4.0 * YIELD_INTERVAL_FUEL as f64 + TURN_COST) / quantum(i);
    for i in 0..TENANTS {
        for j in 0..TENANTS {
            let ahead = had(i) - had(j);
            let may = ROUNDS_AHEAD + turn(i) + turn(j);
            assert!(
                ahead <= may,
                "{i} is {ahead} rounds ahead of {j}, which may be {may}: weights {weights:?}, {most:?}"
            );
        }
    }
    Ok(())
}
