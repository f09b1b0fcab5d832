//! One Kafka node: its configuration, its formatted data folder, its process.
//!
//! Every node is a broker and a controller. Clients come in by SASL SCRAM-SHA-512, and what no ACL allows is denied.
//! Must never: show the passwords or keys that formatting prints.

use crate::spawner::spawn;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A node starts in about 5 seconds on a quiet machine; a busy one may take much longer.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a node may take to hand over its partitions before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

const LOGGING: &str = r#"<Configuration status="WARN"><Appenders><Console name="C"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>
"#;

/// What nodes of a cluster agree on.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) libs: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) cluster_id: String,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) admin: (&'static str, &'static str),
    /// More lines of every node's configuration, which win over the others.
    pub(crate) settings: String,
}

/// Where a node is reached.
#[derive(Debug)]
pub(crate) struct NodePlan {
    pub(crate) id: i32,
    pub(crate) port: u16,
    pub(crate) controller_port: u16,
    pub(crate) directory_id: String,
}

impl Plan {
    fn join(&self, text: impl Fn(&NodePlan) -> String) -> String {
        self.nodes.iter().map(text).collect::<Vec<_>>().join(",")
    }

    fn java(&self, main_class: &str) -> Command {
        let mut java = Command::new("java");
        // Small heaps and the first compiler only: tests want a quick start and little memory, not throughput.
        java.args(["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .arg(format!("-Dlog4j2.configurationFile={}", self.folder.join("log4j2.xml").display()))
            .arg("-cp")
            .arg(format!("{}/*", self.libs.display()))
            .arg(main_class)
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        java
    }

    fn config(&self, node: &NodePlan) -> PathBuf {
        self.folder.join(format!("node-{}.properties", node.id))
    }

    fn properties(&self, node: &NodePlan) -> String {
        let (user, password) = self.admin;
        let voters = self.join(|n| format!("127.0.0.1:{}", n.controller_port));
        let listeners = format!("SASL://127.0.0.1:{},CONTROLLER://127.0.0.1:{}", node.port, node.controller_port);
        let data = self.folder.join(format!("data-{}", node.id));
        let copies = self.nodes.len().min(3);
        let in_sync = if copies > 2 { 2 } else { 1 };
        let login = |mechanism: &str, more: &str| {
            format!(
                "org.apache.kafka.common.security.{mechanism} required username=\"{user}\" password=\"{password}\"{more};"
            )
        };
        let scram = login("scram.ScramLoginModule", "");
        let plain = login("plain.PlainLoginModule", &format!(" user_{user}=\"{password}\""));
        let mut text = format!(
            "node.id={id}\ncontroller.quorum.bootstrap.servers={voters}\nlisteners={listeners}\nadvertised.listeners={listeners}\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config={scram}\nlistener.name.controller.plain.sasl.jaas.config={plain}\n\
             super.users=User:{user}\nlog.dirs={data}\n",
            id = node.id,
            data = data.display(),
        );
        for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            let _ = writeln!(text, "{topic}.replication.factor={copies}\n{topic}.num.partitions=4");
        }
        let _ = write!(
            text,
            "transaction.state.log.min.isr={in_sync}\nshare.coordinator.state.topic.min.isr={in_sync}\n\
             default.replication.factor={copies}\nmin.insync.replicas={in_sync}\n{COMMON}{}",
            self.settings
        );
        text
    }

    /// Writes the node's configuration and formats its data folder.
    pub(crate) fn format(&self, node: &NodePlan) -> Result<()> {
        fs::write(self.folder.join("log4j2.xml"), LOGGING)?;
        fs::write(self.config(node), self.properties(node))?;
        let (user, password) = self.admin;
        let controllers = self.join(|n| format!("{}@127.0.0.1:{}:{}", n.id, n.controller_port, n.directory_id));
        let output = self
            .java("kafka.tools.StorageTool")
            .args(["format", "--cluster-id", &self.cluster_id, "--initial-controllers", &controllers])
            .arg("--config")
            .arg(self.config(node))
            .args(["--add-scram", &format!("SCRAM-SHA-512=[name={user},password={password}]")])
            .output()
            .context("cannot run java")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Kafka's storage tool failed: {}", said.lines().last().unwrap_or_default());
        Ok(())
    }
}

/// The same for every node. Groups answer fast so that tests which move partitions need not wait: with KIP-848, a member
/// learns of its partitions at its heartbeat, every 5 seconds by default.
const COMMON: &str = "process.roles=broker,controller
listener.security.protocol.map=SASL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.assignment.interval.ms=0
group.consumer.assignment.interval.ms=0
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
quota.window.num=11
quota.window.size.seconds=1
";

/// A node's process.
#[derive(Debug)]
pub(crate) struct Node {
    child: Child,
    log: PathBuf,
}

impl Node {
    /// Starts the process; `run` tells its starts apart.
    pub(crate) fn spawn(plan: &Plan, node: &NodePlan, run: u32) -> Result<Self> {
        let log = plan.folder.join(format!("node-{}-{run}.log", node.id));
        let out = File::create(&log)?;
        let mut command = plan.java("kafka.Kafka");
        command.arg(plan.config(node)).stdout(out.try_clone()?).stderr(out);
        let child = spawn(command).context("cannot run java")?;
        Ok(Self { child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the node says that it has started.
    pub(crate) fn wait_started(&mut self) -> Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        while Instant::now() < until {
            let said = read(&self.log);
            if said.contains("Kafka Server started") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("Kafka ended with {status} while it started: {}", last_lines(&read(&self.log)));
            }
            sleep(POLL);
        }
        bail!("Kafka did not start within {START_TIMEOUT:?}: {}", last_lines(&read(&self.log)))
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id fits");
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Kills the process at once.
    pub(crate) fn kill9(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets the node hand over and end.
    pub(crate) fn stop(mut self) {
        self.signal(libc::SIGTERM);
        let until = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(POLL);
        }
        self.kill9();
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
