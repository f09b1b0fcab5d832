//! What must have come of an attacker's records.
//!
//! Must never: overlook a good record of the attacker's own.

use super::play::Came;
use anyhow::{Result, ensure};

/// The good records of each time passed, and each bad one became a dead letter of the promised code.
pub(super) fn only_the_bad_one(came: &Came) -> Result<()> {
    let good = ["a", "b"].repeat(came.times);
    ensure!(came.out == good, "{:?} where {good:?} should be", came.out);
    came.letters(came.dead.len() / came.times.max(1))?;
    ensure!(!came.dead.is_empty(), "nothing became a dead letter: the attack did not take place");
    Ok(())
}

/// The same of a stage that puts nothing out.
pub(super) fn only_a_letter(came: &Came) -> Result<()> {
    ensure!(came.out.is_empty(), "{:?}", came.out);
    came.letters(1)
}

/// All passed, the bad one without an output.
pub(super) fn passes(came: &Came) -> Result<()> {
    ensure!(came.dead.is_empty(), "{:?}", came.dead);
    ensure!(came.out == ["a", "b"].repeat(came.times), "{:?}", came.out);
    Ok(())
}

/// Each record is in one place, and the bad one is a dead letter by its own doing; whom else the stage blames is its author's loss.
pub(super) fn accounted(came: &Came) -> Result<()> {
    let mut all: Vec<String> = came.dead.iter().map(bulkhead_testbed::Read::text).chain(came.out.clone()).collect();
    all.sort();
    let mut sent = ["!", "a", "b"].repeat(came.times);
    sent.sort_unstable();
    ensure!(all == sent, "{all:?} where {sent:?} were sent");
    let bad = came.dead.iter().filter(|letter| letter.text() == "!");
    for letter in bad {
        ensure!(letter.header("bulkhead-code").as_deref() == came.attack.answer().code(), "{letter:?}");
    }
    Ok(())
}

/// What the bad record was answered with, each time.
fn answered(came: &Came) -> Result<Vec<&str>> {
    ensure!(came.dead.is_empty(), "{:?}", came.dead);
    let said: Vec<&str> = came.out.iter().map(String::as_str).filter(|text| *text != "a" && *text != "b").collect();
    ensure!(!said.is_empty() && came.out.len() == said.len() + 2 * came.times, "{:?}", came.out);
    Ok(said)
}

/// No clock made a finer step than a millisecond.
pub(super) fn coarse_clocks(came: &Came) -> Result<()> {
    for step in answered(came)? {
        ensure!(step.parse::<u64>()? >= 1_000_000, "a clock steps by {step} ns");
    }
    Ok(())
}

/// There is nothing around it.
pub(super) fn empty_world(came: &Came) -> Result<()> {
    for found in answered(came)? {
        ensure!(found == "0 variables, 0 arguments, 0 folders, / closed", "{found}");
    }
    Ok(())
}

/// No file was opened, made or linked outside, and none was larger than may be.
pub(super) fn no_way_out(came: &Came) -> Result<()> {
    for said in answered(came)? {
        ensure!(said != "done" && said != "all", "it did: {:?}", came.out);
    }
    Ok(())
}
