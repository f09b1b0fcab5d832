//! Where a pipeline begins at its first start, and that it never begins there again.

use crate::shared::{Guests, host, manifest, tenant_with_guests};
use anyhow::Result;
use bulkhead_testbed::{Line, Status, until};
use reqwest::Method;

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

/// A running pipeline is told to begin anew, with no pause by its tenant: its worker leaves, its positions go, and it reads again.
#[test]
fn a_running_pipeline_begins_anew_where_a_deploy_says_and_only_once() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "restarter")?;
    tenant.run_guest("p", "passthrough", "")?;
    tenant.put("p", &["0", "1", "2"])?;
    assert_eq!(tenant.out("p", 3)?, ["0", "1", "2"]);
    let again = |start: &str| {
        let path = format!("/projects/default/pipelines/p?start={start}");
        tenant.control().send(tenant.request(Method::PUT, &path).body(manifest("p", "passthrough", "")))
    };
    let answer = again("offset:1")?;
    assert_eq!((&answer["applied"], &answer["startingOver"]), (&"changed".into(), &true.into()));
    assert_eq!(tenant.out("p", 5)?, ["0", "1", "2", "1", "2"]);
    tenant.put("p", &["3"])?;
    assert_eq!(tenant.out("p", 6)?[5], "3");
    // The same manifest without a start changes nothing: it goes on where it was.
    assert_eq!(tenant.apply_guest("p", "passthrough", "")?["applied"], "unchanged");
    tenant.put("p", &["4"])?;
    assert_eq!(tenant.out("p", 7)?[6], "4");
    until("the stage's numbers to arrive", || {
        let path = "/projects/default/pipelines/p/stages";
        match tenant.control().send(tenant.request(Method::GET, path)) {
            Ok(stages) if stages["items"][0]["recordsIn"] == 7 && stages["items"][0]["recordsOut"] == 7 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
}
