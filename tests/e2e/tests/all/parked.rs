//! A pipeline with nothing to do parks, on either log: shown as running, woken by the next record, and its positions outlive the
//! brokers' patience with groups that nobody uses.

use crate::brokers::Broker;
use crate::shared::Guests;
use anyhow::{Context, Result, ensure};
use bulkhead_test_services::Kafka;
use bulkhead_testbed::{Folder, Host, Serve, Status, Tenant, until_within};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::time::Duration;

/// Brokers of the test forget a group after a minute, and look for such once a second.
const FORGOTTEN: Duration = Duration::from_secs(300);
const ASKED: Duration = Duration::from_secs(20);

/// Waits until it is parked and has done so many records; a status may be from before the last of them.
fn wait_parked(tenant: &Tenant, name: &str, records: u64) -> Result<Status> {
    tenant.wait_status(name, "the pipeline to park", |status| status.parked && status.totals.records_in == records)
}

#[test]
fn a_parked_pipeline_runs_for_all_that_its_tenant_sees() -> Result<()> {
    let host = Host::start(Serve::all().argument("--park-after-seconds").argument("1"))?;
    let tenant = host.tenant("rests")?;
    tenant.upload_guests()?;
    tenant.run_guest("p", "passthrough", "")?;
    for round in 1..=3 {
        let status = wait_parked(&tenant, "p", round as u64 - 1)?;
        assert_eq!((status.phase.as_deref(), status.lag, status.partitions), (Some("running"), Some(0), 0));
        tenant.put("p", &[&round.to_string()])?;
        assert_eq!(tenant.out("p", round)?.len(), round);
    }
    assert_eq!(wait_parked(&tenant, "p", 3)?.totals.records_out, 3);
    // Orders reach it as ever.
    tenant.pause("p")?;
    tenant.wait_status("p", "it to be paused", |status| status.phase.as_deref() == Some("paused"))?;
    tenant.put("p", &["4"])?;
    tenant.resume("p")?;
    assert_eq!(tenant.out("p", 4)?, ["1", "2", "3", "4"]);
    wait_parked(&tenant, "p", 4)?;
    // A worker that begins anew parks it again, and says so.
    let mut host = host;
    host.stop()?;
    host.start_again()?;
    wait_parked(&tenant, "p", 4)?;
    tenant.put("p", &["5"])?;
    assert_eq!(tenant.out("p", 5)?.len(), 5);
    tenant.delete_pipeline("p")?;
    Ok(())
}

#[test]
fn kafka_forgets_who_is_away_and_not_who_is_parked() -> Result<()> {
    let settings = [("offsets.retention.minutes", "1"), ("offsets.retention.check.interval.ms", "1000")];
    let broker = Broker::of(Kafka::try_start_set(1, &settings)?, Folder::new("login")?, &["kept"])?;
    let keeps = ["--park-after-seconds", "1", "--keep-positions-seconds", "15"];
    let serve = keeps.into_iter().fold(Serve::all().kafka(&broker.login), |serve, argument| serve.argument(argument));
    let host = Host::start(serve)?;
    let tenant = host.tenant("kept")?;
    tenant.upload_guests()?;
    for name in ["parked", "paused"] {
        tenant.run_guest(name, "passthrough", "")?;
        tenant.put(name, &["before"])?;
        tenant.out(name, 1)?;
    }
    tenant.pause("paused")?;
    wait_parked(&tenant, "parked", 1)?;
    let position = |name: &str| -> Result<Option<i64>> {
        let mut config = broker.kafka.admin_client();
        config.set("group.id", format!("_bulkhead.kept.default.{name}")).set("log_level", "0");
        let asker: BaseConsumer = config.create()?;
        let mut asked = rdkafka::TopicPartitionList::new();
        asked.add_partition(&format!("kept.{name}-in"), 0);
        let found = asker.committed_offsets(asked, ASKED)?;
        let offset = found.elements().first().context("the partition")?.offset();
        Ok(match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    };
    ensure!(position("paused")?.is_some(), "it had a position");
    until_within(FORGOTTEN, "the broker to forget the group that nobody uses", || match position("paused") {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    assert!(position("parked")?.is_some(), "positions of a parked pipeline are kept");
    tenant.put("parked", &["after"])?;
    assert_eq!(tenant.out("parked", 2)?, ["before", "after"]);
    wait_parked(&tenant, "parked", 2)?;
    assert_eq!(tenant.read_all("parked-out")?.len(), 2, "nothing is doubled");
    Ok(())
}
