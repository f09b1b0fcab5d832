//! What `fire` tells people.
//!
//! Must never: call a run clean in which something is missing, doubled, changed or out of order.

use crate::events::Event;
use crate::options::Options;
use crate::scene::Played;
use bulkhead_fire::table::table;
use std::time::Duration;

/// Prints the tables, and says whether nothing is wrong.
pub(crate) fn print(options: &Options, played: &Played) -> bool {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!(
        "\nfire: {} flights, {} partitions, protocol {}, {profile} build; written in {:.1} s, rest and drain {:.1} s\n",
        played.verdict.sources,
        options.partitions,
        options.protocol.name(),
        played.feeding.as_secs_f64(),
        played.draining.as_secs_f64(),
    );
    println!("{}", gaps(played));
    println!("{}", verdict(played));
    let counts = |counts: &[(String, f64)]| match counts {
        [] => "none".to_owned(),
        counts => counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
    };
    println!("transactions, as far as workers could still be asked: {}", counts(&played.commits));
    println!("faults, likewise: {}", counts(&played.faults));
    for example in &played.verdict.examples {
        println!("  {example}");
    }
    played.verdict.is_clean() && played.verdict.sources == options.flights as u64
}

fn gaps(played: &Played) -> String {
    let seconds = |gap: Duration| format!("{:.2} s", gap.as_secs_f64());
    let rows: Vec<_> = played
        .happened
        .iter()
        .map(|happened| {
            let (from, to) = (happened.at, happened.until);
            vec![
                happened.event.map_or_else(|| "quiet (from the first record)".to_owned(), Event::name),
                happened.sent.to_string(),
                seconds(played.arrivals.longest_gap_of_all(from, to)),
                seconds(played.arrivals.longest_gap_of_any(from, to)),
            ]
        })
        .collect();
    let headings = ["event", "at record", "longest gap, any output", "longest gap, worst partition"];
    table(&headings, &rows)
}

fn verdict(played: &Played) -> String {
    let verdict = &played.verdict;
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string()];
    let rows = [
        row("source records", verdict.sources),
        row("outputs wanted", verdict.wanted),
        row("outputs committed", verdict.found),
        row("lost", verdict.lost),
        row("doubled", verdict.doubled),
        row("changed or not wanted", verdict.wrong),
        row("out of order", verdict.disordered),
    ];
    table(&["compared record by record", ""], &rows)
}
