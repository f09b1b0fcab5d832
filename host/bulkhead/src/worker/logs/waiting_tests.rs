//! Who floods loses its own lines, and nobody else waits for it.

use super::*;
use bulkhead_core::limits::WAITING_LINES_WORKER_BYTES_MAX;

fn line(tenant: &str, pipeline: &str, message: impl Into<String>) -> LogLine {
    let key = PipelineKey {
        tenant: tenant.parse().unwrap(),
        project: "default".parse().unwrap(),
        pipeline: pipeline.parse().unwrap(),
    };
    LogLine { key, stage: None, at_ms: 1, level: LogLevel::Info, code: None, message: message.into() }
}

fn all(waiting: &mut Waiting) -> Vec<LogLine> {
    std::iter::from_fn(|| Some(waiting.take().lines).filter(|lines| !lines.is_empty())).flatten().collect()
}

fn of<'a>(lines: &'a [LogLine], tenant: &str) -> Vec<&'a str> {
    let own = lines.iter().filter(|line| line.key.tenant.as_str() == tenant);
    own.map(|line| line.message.as_str()).collect()
}

/// How many lines went, as it was told.
fn dropped(lines: &[LogLine]) -> usize {
    let told = lines.iter().filter_map(|line| line.message.split_once(" lines were dropped"));
    told.map(|(count, _)| count.parse::<usize>().unwrap()).sum()
}

fn lines() -> Waiting {
    Waiting::new(WAITING_LINES_WORKER_BYTES_MAX)
}

#[test]
fn a_flood_costs_only_its_own_pipeline_and_is_told() {
    let (mut waiting, memory) = (lines(), TenantMemory::default());
    (0..WAITING_LINES_MAX + 7).for_each(|n| waiting.push(line("acme", "loud", n.to_string()), &memory));
    waiting.push(line("acme", "quiet", "heard"), &memory);
    let sent = all(&mut waiting);
    assert!(sent.iter().any(|line| line.message == "heard"));
    let told: Vec<_> = sent.iter().filter(|line| line.message.contains("dropped")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.starts_with("7 lines") && told[0].key.pipeline.as_str() == "loud");
    assert_eq!(sent.len(), WAITING_LINES_MAX + 2);
    let kept: Vec<_> = sent.iter().filter_map(|line| line.message.parse::<usize>().ok()).collect();
    assert_eq!(kept, (0..WAITING_LINES_MAX).collect::<Vec<_>>(), "a pipeline's lines keep their order");
    assert!(waiting.tenants.is_empty() && waiting.by_bytes.is_empty(), "nothing is remembered of what is gone");
}

#[test]
fn ten_noisy_pipelines_hold_up_no_line_of_a_neighbour() {
    let (mut waiting, noisy, quiet) = (lines(), TenantMemory::default(), TenantMemory::default());
    let flood = |waiting: &mut Waiting| {
        for n in 0..20_000 {
            waiting.push(line("noisy", &format!("p{}", n % 10), format!("{n} {}", "x".repeat(n % 300))), &noisy);
        }
    };
    flood(&mut waiting);
    ["first", "second", "third"].iter().for_each(|text| waiting.push(line("quiet", "p", *text), &quiet));
    flood(&mut waiting);
    assert!(noisy.held() <= WAITING_LINES_BYTES_MAX, "{} bytes", noisy.held());
    let sent = waiting.take().lines;
    assert_eq!(of(&sent, "quiet"), ["first", "second", "third"]);
    let last = sent.iter().rposition(|line| line.key.tenant.as_str() == "quiet").unwrap();
    // Between two of them is a line of the other tenant, and what it has to tell of dropped ones.
    assert!(last < 10, "the third is line {last}");
    let rest = all(&mut waiting);
    assert_eq!(of(&rest, "quiet"), [""; 0]);
    let noisy = [of(&sent, "noisy"), of(&rest, "noisy")].concat();
    let kept = noisy.iter().filter(|text| !text.contains("dropped")).count();
    assert_eq!(kept + dropped(&sent) + dropped(&rest), 40_000, "each is sent or told");
}

#[test]
fn a_pipeline_of_long_lines_leaves_room_for_those_of_its_own_tenant() {
    let (mut waiting, memory) = (lines(), TenantMemory::default());
    (0..900).for_each(|_| waiting.push(line("acme", "long", "x".repeat(4_000)), &memory));
    (0..900).for_each(|n| waiting.push(line("acme", "short", n.to_string()), &memory));
    let sent = all(&mut waiting);
    let short = sent.iter().filter(|line| line.key.pipeline.as_str() == "short");
    assert_eq!(short.count(), 900);
    assert!(dropped(&sent) > 0 && dropped(&sent) < 900, "{}", dropped(&sent));
}

#[test]
fn where_all_hold_too_much_whoever_holds_most_loses_lines() {
    let few = 64 * WAITING_LINE_BYTES;
    let (mut waiting, big, small) = (Waiting::new(few), TenantMemory::default(), TenantMemory::default());
    (0..8).for_each(|n| waiting.push(line("small", "p", n.to_string()), &small));
    (0..500).for_each(|n| waiting.push(line("big", "p", n.to_string()), &big));
    (8..16).for_each(|n| waiting.push(line("small", "p", n.to_string()), &small));
    assert!(big.held() + small.held() <= few);
    let sent = all(&mut waiting);
    assert_eq!(of(&sent, "small"), (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(dropped(&sent) > 400);
}

#[test]
fn bytes_are_the_tenants_until_they_are_sent() {
    let (mut waiting, memory) = (lines(), TenantMemory::default());
    (0..100).for_each(|n| waiting.push(line("acme", &format!("p{}", n % 3), "x".repeat(n)), &memory));
    let held = 100 * WAITING_LINE_BYTES + (0..100).sum::<u64>();
    assert_eq!((memory.held(), waiting.bytes), (held, held));
    let taken = waiting.take();
    assert_eq!(taken.lines.len(), 100);
    assert_eq!((memory.held(), waiting.bytes), (held, 0), "they are on their way, and in memory");
    drop(taken);
    assert_eq!(memory.held(), 0);
}

#[test]
fn what_is_sent_together_is_bounded_in_bytes() {
    let (mut waiting, memory) = (lines(), TenantMemory::default());
    (0..10).for_each(|_| waiting.push(line("acme", "p", "x".repeat((TOGETHER_BYTES / 12) as usize)), &memory));
    let taken = waiting.take();
    assert!(taken.bytes <= TOGETHER_BYTES + TOGETHER_BYTES / 10, "{} bytes", taken.bytes);
    let mut tenants = lines();
    for n in 0..10 {
        let whose = format!("t{n}");
        tenants.push(line(&whose, "p", "x".repeat((TOGETHER_BYTES / 2) as usize)), &TenantMemory::default());
    }
    assert_eq!(tenants.take().lines.len(), 2);
}
