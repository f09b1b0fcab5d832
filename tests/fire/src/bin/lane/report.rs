//! What `lane` tells people.
//!
//! Must never: call a run clean in which a victim lost a record, or an attacker's record is unaccounted for.

use crate::Options;
use crate::scene::Played;
use bulkhead_fire::table::table;

/// Prints the tables, and says whether nothing is wrong.
pub(crate) fn print(options: &Options, played: &Played) -> bool {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!(
        "\nlane: 3 victims and an attacker at {} records a second each, Kafka {}, protocol {}, {profile} build, {} s an attack\n",
        options.rate, options.kafka, options.protocol, options.window_s
    );
    println!("{}", attacks(played));
    println!("{}", victims(played));
    let mut clean = true;
    for (name, verdict) in &played.verdicts {
        clean &= verdict.is_clean() && verdict.wanted > 0;
        verdict.examples.iter().for_each(|example| println!("  {name}: {example}"));
    }
    for (struck, _) in &played.strikes {
        if let Err(error) = &struck.account {
            println!("  {}: {error:#}", struck.attack.name());
            clean = false;
        }
    }
    clean
}

fn attacks(played: &Played) -> String {
    let rows: Vec<_> = played
        .strikes
        .iter()
        .map(|(struck, commits)| {
            let gap = played.arrivals.longest_gap_of_any(struck.from, struck.to).as_secs_f64();
            vec![
                struck.attack.name().to_owned(),
                format!("{gap:.2} s"),
                commits.committed.to_string(),
                commits.aborted.to_string(),
                commits.other.to_string(),
                commits.quarantined.to_string(),
                struck.said.iter().cloned().collect::<Vec<_>>().join(", "),
                format!("{:.1} s", struck.recovered_in.as_secs_f64()),
                struck.account.as_ref().map_or("WRONG", String::as_str).to_owned(),
            ]
        })
        .collect();
    let headings = [
        "attack",
        "victims' longest gap",
        "commits",
        "aborts",
        "other",
        "quarantine",
        "the attacker's pipeline says",
        "recovered in",
        "the attacker's records",
    ];
    table(&headings, &rows)
}

fn victims(played: &Played) -> String {
    let row = |(name, verdict): &(&str, bulkhead_fire::judge::Verdict)| {
        let counts = [verdict.sources, verdict.found, verdict.lost, verdict.doubled, verdict.wrong, verdict.disordered];
        std::iter::once((*name).to_owned()).chain(counts.iter().map(u64::to_string)).collect()
    };
    let rows: Vec<Vec<String>> = played.verdicts.iter().map(row).collect();
    table(&["victim", "records", "outputs", "lost", "doubled", "changed", "out of order"], &rows)
}
