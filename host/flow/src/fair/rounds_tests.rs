//! Tests of `rounds.rs`: shares by weight, no wait for who is within their share, debts, and invariants over random histories.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

fn tenant(i: usize) -> TenantId {
    format!("tenant-{i}").parse().unwrap()
}

/// Runs turns of work that costs what `cost` says and then waits again, and says what each tenant burnt.
fn saturate(rounds: &mut Rounds<usize>, tenants: usize, turns: usize, mut cost: impl FnMut(usize) -> i64) -> Vec<i64> {
    let mut burnt = vec![0; tenants];
    for _ in 0..turns {
        let Turn { tenant, work, advance } = rounds.next().expect("all have work");
        let fuel = cost(work);
        burnt[work] += fuel;
        rounds.push(&tenant, work);
        rounds.ended(&tenant, advance, fuel);
    }
    burnt
}

/// Jain's index: 1 where all have the same, 1/n where one has all.
fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn whoever_wants_all_has_a_share_by_weight_whatever_a_turn_costs() {
    let mut random = StdRng::seed_from_u64(7);
    let mut rounds = Rounds::default();
    rounds.weigh((0..10).map(|i| (tenant(i), 10 * (i as u64 + 1))).collect());
    (0..10).for_each(|i| rounds.push(&tenant(i), i));
    // What was saved up before is used up first.
    saturate(&mut rounds, 10, 5_000, |_| QUANTUM);
    // Odd ones have short turns, even ones have turns of up to three intervals.
    let burnt = saturate(&mut rounds, 10, 50_000, |i| match i % 2 {
        1 => random.random_range(QUANTUM / 50..QUANTUM / 5),
        _ => random.random_range(QUANTUM..3 * QUANTUM),
    });
    let shares: Vec<_> = burnt.iter().enumerate().map(|(i, fuel)| *fuel as f64 / (i + 1) as f64).collect();
    assert!(jain(&shares) > 0.995, "{shares:?}");
}

#[test]
fn who_is_within_its_share_goes_before_those_that_want_more() {
    let mut rounds = Rounds::default();
    for i in 1..=100 {
        (0..100).for_each(|_| rounds.push(&tenant(i), i));
    }
    saturate(&mut rounds, 101, 20_000, |_| QUANTUM);
    for _ in 0..5 {
        rounds.push(&tenant(0), 0);
        // A batch of several turns, from its first to its last.
        for turn in 0..10 {
            let Turn { tenant: whose, work, advance } = rounds.next().unwrap();
            assert_eq!(work, 0, "turn {turn}");
            if turn < 9 {
                rounds.push(&whose, work);
            }
            rounds.ended(&whose, advance, QUANTUM);
        }
        saturate(&mut rounds, 101, 2_000, |_| QUANTUM);
    }
}

#[test]
fn those_that_come_with_something_saved_alternate() {
    let mut rounds = Rounds::default();
    [0, 0, 0, 1, 1, 1].into_iter().for_each(|i| rounds.push(&tenant(i), i));
    let mut turn = || {
        let Turn { tenant, work, advance } = rounds.next().unwrap();
        rounds.ended(&tenant, advance, QUANTUM);
        work
    };
    assert_eq!([(); 6].map(|()| turn()), [0, 1, 0, 1, 0, 1]);
}

#[test]
fn who_owes_is_not_forgotten_with_those_that_are_gone() {
    let mut rounds = Rounds::default();
    rounds.push(&tenant(0), 0);
    let Turn { tenant: owes, advance, .. } = rounds.next().unwrap();
    rounds.ended(&owes, advance, COST_MAX);
    // So many others come and go that accounts are closed.
    for i in 1..1_000 {
        rounds.push(&tenant(i), i);
        let Turn { tenant, advance, .. } = rounds.next().unwrap();
        rounds.ended(&tenant, advance, QUANTUM / 100);
    }
    assert!(rounds.accounts.get(&owes).is_some_and(|account| account.credit < 0), "a debt was forgotten");
}

#[test]
fn a_pause_forgives_no_debt() {
    let mut rounds = Rounds::default();
    rounds.push(&tenant(1), 1);
    saturate(&mut rounds, 2, 200, |_| QUANTUM);
    // One turn of a hundred intervals, such as a host's copy that nothing can interrupt, each time after a pause.
    let (mut greedy, mut steady) = (0, 0);
    for _ in 0..200 {
        rounds.push(&tenant(0), 0);
        while let Some(Turn { tenant: whose, work, advance }) = rounds.next() {
            let fuel = if work == 0 { 100 * QUANTUM } else { QUANTUM };
            if work == 0 {
                greedy += fuel;
                rounds.ended(&whose, advance, fuel);
                break;
            }
            steady += fuel;
            rounds.push(&whose, work);
            rounds.ended(&whose, advance, fuel);
        }
    }
    let part = f64::from(u32::try_from(greedy / QUANTUM).unwrap()) / (steady / QUANTUM) as f64;
    assert!(part < 1.1, "{greedy} of one that pauses, {steady} of one that does not");
}

#[test]
fn time_that_fuel_does_not_see_costs_too() {
    let cost = |fuel, busy_ns| Spent { fuel, busy_ns }.cost();
    assert_eq!(cost(1_000_000, 300_000), 1_000_000, "an honest guest's");
    assert_eq!(cost(100_000, 8_000_000), 8_000_000, "one that touches memory page by page");
    assert_eq!(cost(0, 20_000), 20_000, "the host's own work for it");
    assert_eq!(cost(-900_000, 50_000), -850_000, "what was charged too much comes back");
}

#[test]
fn nobody_waits_while_nobody_runs() {
    let mut rounds = Rounds::default();
    rounds.weigh(BTreeMap::from([(tenant(0), 1), (tenant(1), 10_000)]));
    rounds.push(&tenant(0), 0);
    for _ in 0..1_000 {
        let Turn { tenant, work, advance } = rounds.next().expect("the only one that has work");
        rounds.push(&tenant, work);
        rounds.ended(&tenant, advance, 50 * QUANTUM);
    }
}

#[test]
fn tenants_that_are_long_gone_are_forgotten() {
    let mut rounds = Rounds::default();
    for i in 0..10_000 {
        rounds.push(&tenant(i), i);
        let Turn { tenant: one, advance, .. } = rounds.next().unwrap();
        rounds.ended(&one, advance, QUANTUM / 100);
        // Time passes, which is the work of others.
        rounds.push(&tenant(1_000_000), 0);
        let Turn { tenant: other, advance, .. } = rounds.next().unwrap();
        rounds.ended(&other, advance, QUANTUM);
    }
    assert!(rounds.accounts.len() < 1_000, "{}", rounds.accounts.len());
}

/// Pushes, turns, ends and weights in any order: all work comes out once and in its tenant's order, there is some whenever any waits, and
/// no account grows beyond what may be saved.
#[test]
fn any_history_loses_nothing_doubles_nothing_and_leaves_nobody_waiting() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rounds = Rounds::default();
        let (mut pushed, mut taken) = (vec![0_u64; 8], vec![0_u64; 8]);
        let mut running = Vec::new();
        for _ in 0..500 {
            match random.random_range(0..10) {
                0..4 => {
                    let i = random.random_range(0..8);
                    rounds.push(&tenant(i), (i, pushed[i]));
                    pushed[i] += 1;
                }
                4..7 => match rounds.next() {
                    Some(turn) => {
                        let (i, number) = turn.work;
                        assert_eq!((turn.tenant.clone(), number), (tenant(i), taken[i]), "seed {seed}");
                        taken[i] += 1;
                        running.push(turn);
                    }
                    None => assert_eq!(pushed, taken, "seed {seed}"),
                },
                7..9 if !running.is_empty() => {
                    let Turn { tenant, advance, .. } = running.swap_remove(random.random_range(0..running.len()));
                    let burnt = (random.next_u64() as i64) >> random.random_range(0..64);
                    rounds.ended(&tenant, advance, burnt);
                }
                9 => {
                    let mut weigh = |i| (tenant(i), 1_u64 << random.random_range(0..14));
                    rounds.weigh((0..8).map(&mut weigh).collect());
                }
                _ => {}
            }
            for account in rounds.accounts.values() {
                assert!(account.credit <= 1_000 * QUANTUM * SAVED_ROUNDS as i64 + COST_MAX, "seed {seed}");
            }
        }
        while let Some(Turn { work: (i, number), .. }) = rounds.next() {
            assert_eq!(number, taken[i]);
            taken[i] += 1;
        }
        assert_eq!(pushed, taken, "seed {seed}");
    }
}
