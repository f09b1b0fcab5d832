//! What a guest can see of the world around it.

use crate::support::*;
use bulkhead_engine::Mode;

async fn asked(mode: Mode, question: &str) -> String {
    let mut instance = stage("surroundings").await.instantiate(mode).await.unwrap();
    let outcome = instance.process(&batch(&[question])).await.unwrap().outcome;
    values(&outcome.outputs).remove(0)
}

#[tokio::test]
pub(crate) async fn surroundings() {
    let nothing = "0 variables, 0 arguments, 0 folders, / closed";
    assert_eq!(asked(Mode::Live, "!environment").await, nothing);
}

#[tokio::test]
async fn random_numbers_are_real_in_a_live_run_and_seeded_in_a_confirming_one() {
    assert_ne!(asked(Mode::Live, "!random").await, asked(Mode::Live, "!random").await);
    assert_eq!(asked(CONFIRM, "!random").await, asked(CONFIRM, "!random").await);
    let other = Mode::Confirm { seed: 8, time_ms: 0 };
    assert_ne!(asked(CONFIRM, "!random").await, asked(other, "!random").await);
}

#[tokio::test]
async fn live_clocks_are_real_and_coarse() {
    let millis = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let before = millis();
    let wall: u128 = asked(Mode::Live, "!wall").await.parse().unwrap();
    assert!((before..=millis()).contains(&(wall / 1_000_000)), "{wall}");
    assert_eq!(wall % 1_000_000, 0);
    let monotonic: u64 = asked(Mode::Live, "!monotonic").await.parse().unwrap();
    assert_eq!(monotonic % 1_000_000, 0);
    assert!(monotonic < 3_600_000_000_000, "it tells how long the host has been up");
}

#[tokio::test]
async fn virtual_clocks_start_where_they_are_told_and_pass() {
    assert_eq!(asked(CONFIRM, "!wall").await, "1700000000000000000");
    assert_eq!(asked(CONFIRM, "!waits").await, "49");
}
