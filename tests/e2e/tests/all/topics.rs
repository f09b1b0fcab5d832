//! Topics that do not take what is written, that go and that come again: the pipeline says so, and its neighbour goes on.

use crate::shared::{Guests, host, refused, tells_nothing, tenant_with_guests};
use anyhow::{Context, Result};
use bulkhead_testbed::{Line, Status};
use serde_json::json;

#[test]
fn an_output_above_its_topics_limit_is_a_dead_letter() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "wide")?;
    let neighbour = tenant_with_guests(&host, "narrow")?;
    neighbour.run_guest("pass", "passthrough", "")?;
    for topic in ["big-in", "big-dead"] {
        tenant.create_topic(topic, 1)?;
    }
    tenant.create_topic_with(&json!({"name": "big-out", "maxRecordBytes": 2048}))?;
    tenant.apply_guest("big", "passthrough", "")?;
    let large = "x".repeat(4_000);
    tenant.put("big", &["small", &large, "also small"])?;
    assert_eq!(tenant.out("big", 2)?, ["small", "also small"]);
    let dead = tenant.wait_records("big-dead", 1)?;
    assert_eq!(dead[0].text(), large);
    assert_eq!(dead[0].header("bulkhead-code").as_deref(), Some("BH0307"));
    let reason = dead[0].header("bulkhead-reason").context("a reason")?;
    assert!(reason.contains("2048"), "{reason}");
    neighbour.put("pass", &["on"])?;
    assert_eq!(neighbour.out("pass", 1)?, ["on"]);
    // The same limit holds at the door.
    refused(tenant.produce("big-out", &[Line::text("key", &large)]), 413, "BH0030", "takes 2048");
    Ok(())
}

fn gone(status: &Status) -> bool {
    status.code.as_deref() == Some("BH0402")
}

#[test]
fn an_output_topic_that_goes_stops_its_pipeline_alone_until_it_is_made_again() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "loser")?;
    let neighbour = tenant_with_guests(&host, "keeper")?;
    tenant.run_guest("p", "passthrough", "")?;
    neighbour.run_guest("p", "passthrough", "")?;
    tenant.put("p", &["before"])?;
    tenant.out("p", 1)?;

    let safe = tenant.control().send(tenant.request(reqwest::Method::DELETE, "/topics/p-out"));
    refused(safe, 409, "BH0010", "force=true");
    tenant.delete_topic("p-out")?;
    tenant.put("p", &["meanwhile"])?;
    let status = tenant.wait_status("p", "it to say that the topic is gone", gone)?;
    assert_eq!(status.phase.as_deref(), Some("backoff"));
    let message = status.message.context("a message")?;
    assert!(message.contains("make it again"), "{message}");
    tells_nothing(&message);
    neighbour.put("p", &["on"])?;
    assert_eq!(neighbour.out("p", 1)?, ["on"]);

    tenant.create_topic("p-out", 1)?;
    assert_eq!(tenant.out("p", 1)?, ["meanwhile"]);
    tenant.put("p", &["after"])?;
    assert_eq!(tenant.out("p", 2)?, ["meanwhile", "after"]);
    assert_eq!(tenant.wait_running("p")?.code, None);
    assert_eq!(tenant.read_all("p-dead")?.len(), 0);
    Ok(())
}

#[test]
fn an_input_topic_that_goes_and_comes_again_is_read_from_its_start() -> Result<()> {
    let host = host()?;
    let tenant = tenant_with_guests(&host, "forgetful")?;
    tenant.run_guest("p", "passthrough", "")?;
    tenant.put("p", &["old 1", "old 2", "old 3"])?;
    tenant.out("p", 3)?;
    tenant.delete_topic("p-in")?;
    tenant.wait_status("p", "it to say that the topic is gone", gone)?;
    tenant.create_topic("p-in", 1)?;
    tenant.put("p", &["new 1"])?;
    assert_eq!(tenant.out("p", 4)?, ["old 1", "old 2", "old 3", "new 1"]);
    tenant.put("p", &["new 2"])?;
    assert_eq!(tenant.out("p", 5)?.last().map(String::as_str), Some("new 2"));
    Ok(())
}
