//! One Kafka broker for a benchmark: without logins or ACLs, as the peers' programs expect it, and with the heap and the
//! compiler that a broker is run with, unlike the small ones of the tests.
//!
//! Must never: listen on anything but 127.0.0.1, or outlive this program.

use crate::command::{Program, program, target};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// A running broker; it ends, and its data goes, with this value.
pub(crate) struct Broker {
    process: Child,
    folder: PathBuf,
    bootstrap: String,
}

impl Broker {
    /// Starts a broker from these jars and waits until it serves.
    ///
    /// # Errors
    /// Where it does not start; the error has the last lines of its log.
    pub(crate) fn start(libs: &Path) -> Result<Self> {
        let folder = target().join("bench").join(format!("kafka-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let [port, controller] = free_ports()?;
        let settings = folder.join("server.properties");
        fs::write(&settings, properties(port, controller, &folder))?;
        fs::write(folder.join("log4j2.xml"), LOGGING)?;
        let id = java(libs, &folder).args(["kafka.tools.StorageTool", "random-uuid"]).output()?;
        let format = ["kafka.tools.StorageTool", "format", "--standalone", "-t", id.trim(), "-c"];
        java(libs, &folder).args(format).arg(&settings).output()?;
        let log = folder.join("broker.log");
        let mut command = java(libs, &folder).arg("kafka.Kafka").arg(&settings).into_std();
        command.stdout(File::create(&log)?).stderr(File::create(folder.join("broker.err"))?);
        let process = command.spawn().context("cannot start java")?;
        let mut broker = Self { process, folder, bootstrap: format!("127.0.0.1:{port}") };
        broker.wait_started(&log)?;
        Ok(broker)
    }

    /// Where clients find it.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn wait_started(&mut self, log: &Path) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if said.contains("Kafka Server started") {
                return Ok(());
            }
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                let last: Vec<&str> = said.lines().rev().take(10).collect();
                bail!("Kafka did not start: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Java under `setpriv`, so that the kernel ends it with this program, however that ends.
fn java(libs: &Path, folder: &Path) -> Program {
    program("setpriv")
        .args(["--pdeathsig", "KILL", "java", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC"])
        .arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.xml").display()))
        .arg("-cp")
        .arg(format!("{}/*", libs.display()))
}

/// Ports that were free a moment ago.
fn free_ports() -> Result<[u16; 2]> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

fn properties(port: u16, controller: u16, folder: &Path) -> String {
    let listeners = format!("CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let data = folder.join("data");
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listeners={listeners}\nadvertised.listeners={listeners}\ninter.broker.listener.name=CLIENT\n\
         controller.listener.names=CONTROLLER\nlistener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\nauto.create.topics.enable=false\ngroup.initial.rebalance.delay.ms=0\n",
        data.display()
    );
    for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
        text += &format!("{topic}.replication.factor=1\n{topic}.num.partitions=4\n");
    }
    text + "transaction.state.log.min.isr=1\nshare.coordinator.state.topic.min.isr=1\n"
}

const LOGGING: &str = r#"<Configuration status="WARN"><Appenders><Console name="C"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>
"#;
