//! Where a pipeline begins at its first start, and that it never begins there again.

use crate::shared::{Guests, host, manifest, tenant_with_guests};
use anyhow::Result;
use bulkhead_testbed::{Line, Status};

#[test]
fn a_pipeline_begins_where_its_manifest_says_and_goes_on_where_it_was() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "starter")?;
    tenant.create_topic("all", 1)?;
    let lines: Vec<Line> = (0..6)
        .map(|i| Line { timestamp: Some(1_767_225_600_000 + i * 60_000), ..Line::text("key", &format!("{i}")) })
        .collect();
    tenant.produce("all", &lines)?;
    let cases: [(&str, &str, &[&str]); 4] = [
        ("earliest", "earliest", &["0", "1", "2", "3", "4", "5", "late"]),
        ("latest", "latest", &["late"]),
        ("offset", "{ offset: 4 }", &["4", "5", "late"]),
        ("time", "{ time: 2026-01-01T00:02:30Z }", &["3", "4", "5", "late"]),
    ];
    for (name, start, _) in cases {
        tenant.topics(name)?;
        let text = manifest(name, "passthrough", "");
        let text = text.replace(&format!("[{{ topic: {name}-in }}]"), &format!("[{{ topic: all, start: {start} }}]"));
        assert!(text.contains(start), "{text}");
        tenant.apply(name, text)?;
        tenant.wait_running(name)?;
    }
    let late = Line { timestamp: Some(1_767_229_200_000), ..Line::text("key", "late") };
    tenant.produce("all", &[late])?;
    for (name, _, wanted) in cases {
        assert_eq!(tenant.out(name, wanted.len())?, wanted, "{name}");
    }
    // Paused and resumed, it goes on; it does not begin again.
    for (name, ..) in cases {
        tenant.pause(name)?;
        tenant.wait_status(name, "it to be paused", |s: &Status| s.phase.as_deref() == Some("paused"))?;
    }
    tenant.produce("all", &[Line::text("key", "last")])?;
    for (name, _, wanted) in cases {
        tenant.resume(name)?;
        assert_eq!(tenant.out(name, wanted.len() + 1)?, [wanted, &["last"]].concat(), "{name}");
    }
    Ok(())
}
