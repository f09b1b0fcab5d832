//! Both examples on the embedded log: records over HTTP in, and all that they wrote compared with what was computed without them.

use crate::scenes;
use anyhow::Result;
use bulkhead_testbed::{Host, Serve};

#[test]
fn both_examples_do_what_they_should_on_the_embedded_log() -> Result<()> {
    let host = Host::start(Serve::all())?;
    scenes::both(&host, ["acme", "globex"], 19_811, 8_705)?;
    // What ran can also be seen by whoever looks at the whole host, and by nobody else.
    let log = host.process()?.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(!log.contains("carrier"), "records are in the log");
    Ok(())
}
