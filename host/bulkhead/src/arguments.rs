//! The command line. Every option can also be given as an environment variable, named in the help.
//!
//! Must never: take a password as an argument, where every user of the machine can read it; passwords come from files.

use crate::serve::IdentityArguments;
use bulkhead_bucket::BucketsConfig;
use bulkhead_core::name::TenantId;
use bulkhead_vault::MasterKeySource;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// First argument of the hidden compiler role.
pub(crate) const COMPILER: &str = "compiler";

/// A multi-tenant WebAssembly host for stream processing.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    bin_name = "bulkhead",
    version,
    about = "A multi-tenant WebAssembly host for stream processing"
)]
#[command(after_help = crate::cli::EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the host: control, worker or both
    Serve(Box<ServeArguments>),
    /// Run the examples on the embedded log, with real input, and leave the host running
    Demo(DemoArguments),
    /// Prepare the database of control's metadata
    #[command(subcommand)]
    Database(DatabaseCommand),
    /// Mint a token with the issuer's key of a data folder
    Token(TokenArguments),
    /// Explain an error code
    Explain(ExplainArguments),
    #[command(flatten)]
    Developer(crate::cli::Command),
    /// Run one stage between two Kafka topics, for benchmarks
    #[command(hide = true)]
    BenchPipeline(BenchArguments),
}

/// Which role a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Control and worker.
    All,
    /// HTTP API and metadata.
    Control,
    /// Runs stages.
    Worker,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    /// What this process does
    #[arg(long, value_enum, default_value = "all", env = "BULKHEAD_ROLE")]
    pub(crate) role: Role,
    /// Folder for metadata, keys, modules, compiled code and the embedded log
    #[arg(long, default_value = ".bulkhead/data", env = "BULKHEAD_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Address of the HTTP API (port 0 takes a free one)
    #[arg(long, default_value = "127.0.0.1:7070", env = "BULKHEAD_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// Address of /metrics, which shows all tenants: keep it from them (port 0 takes a free one)
    #[arg(long, default_value = "127.0.0.1:7071", env = "BULKHEAD_METRICS_LISTEN")]
    pub(crate) metrics_listen: SocketAddr,
    /// Address or network of a proxy before this server whose X-Forwarded-For the audit believes; may be given several times
    #[arg(long = "trusted-proxy", value_name = "NETWORK", env = "BULKHEAD_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<bulkhead_control::Network>,
    /// Bytes of one uploaded module at most
    #[arg(long, default_value_t = bulkhead_core::limits::MODULE_BYTES_MAX, env = "BULKHEAD_MODULE_BYTES_MAX")]
    pub(crate) module_bytes_max: u64,
    /// CPU seconds of the compiler for one uploaded module at most
    #[arg(long, default_value_t = bulkhead_engine::CompileLimits::default().cpu_seconds, env = "BULKHEAD_COMPILE_CPU_S")]
    pub(crate) compile_cpu_s: u64,
    /// YAML file with plans: what tenants may keep, by the plan's name, for instance `gold: { topics: 5000 }`; what is left out is as
    /// in `standard`
    #[arg(long, value_name = "FILE", env = "BULKHEAD_PLANS")]
    pub(crate) plans: Option<PathBuf>,
    /// A tenant to be made at the start where it is not there, with a token in `keys/default-tenant.token` of the data folder unless the embedded issuer is off
    #[arg(long, value_name = "NAME", env = "BULKHEAD_DEFAULT_TENANT")]
    pub(crate) default_tenant: Option<TenantId>,
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(flatten)]
    pub(crate) identity: IdentityArguments,
    #[command(flatten)]
    pub(crate) keys: KeyArguments,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(flatten)]
    pub(crate) worker: WorkerArguments,
}

/// Where control's metadata is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DatabaseArguments {
    /// File with the address of PostgreSQL, postgres://ROLE:PASSWORD@HOST:5432/DATABASE, for the role that control logs in as; without
    /// it, metadata is in the data folder
    #[arg(long, value_name = "FILE", env = "BULKHEAD_DATABASE_URL_FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// File with the same for the role that owns the tables, which then are made and brought up to date at the start
    #[arg(long, value_name = "FILE", env = "BULKHEAD_DATABASE_OWNER_URL_FILE", requires = "database_url_file")]
    pub(crate) database_owner_url_file: Option<PathBuf>,
    /// Seconds that a start waits for PostgreSQL
    #[arg(long, default_value_t = 60, env = "BULKHEAD_DATABASE_WAIT_S")]
    pub(crate) database_wait_s: u64,
    /// Where a new tenant's metadata is to live that names no place: shared, schema or database
    #[arg(long, value_name = "PLACE", value_parser = placement, default_value = "shared", env = "BULKHEAD_METADATA_PLACEMENT")]
    pub(crate) metadata_placement: bulkhead_control::MetadataPlacement,
    /// Connections to PostgreSQL at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=1000), env = "BULKHEAD_DATABASE_CONNECTIONS_MAX")]
    pub(crate) database_connections_max: u32,
}

/// A placement as it is written.
fn placement(text: &str) -> Result<bulkhead_control::MetadataPlacement, &'static str> {
    text.parse()
}

/// See [`Command::Database`].
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Make control's tables on PostgreSQL, or bring them up to date, as the role that owns them
    Migrate(DatabaseArguments),
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyArguments {
    /// Where the master key is that secrets are kept under: file:/path, env:NAME or command:/path/to/program; by default
    /// keys/master.key in the data folder, made at first start
    #[arg(long, value_name = "WHERE", env = "BULKHEAD_MASTER_KEY")]
    pub(crate) master_key: Option<MasterKeySource>,
    /// Where the one before it is, while it is rotated
    #[arg(long, value_name = "WHERE", env = "BULKHEAD_MASTER_KEY_PREVIOUS")]
    pub(crate) master_key_previous: Option<MasterKeySource>,
}

impl KeyArguments {
    /// Where the master key is.
    pub(crate) fn master_key(&self) -> MasterKeySource {
        self.master_key.clone().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WorkerArguments {
    /// Name of this worker's slot; two live workers must not share one
    #[arg(long, default_value = "pool-0", env = "BULKHEAD_WORKER_SLOT")]
    pub(crate) worker_slot: String,
    /// Where control is, for a worker alone
    #[arg(long, default_value = "http://127.0.0.1:7070", env = "BULKHEAD_CONTROL_URL")]
    pub(crate) control_url: String,
    /// File with the authorities, in PEM, one of which has signed control's certificate; otherwise this system's
    #[arg(long, value_name = "FILE", env = "BULKHEAD_CONTROL_CA")]
    pub(crate) control_ca: Option<PathBuf>,
    /// File with the worker's token, for a worker alone; read at every call, so it can be renewed
    #[arg(long, env = "BULKHEAD_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Where buckets are: folder:/path, or s3://bucket?endpoint=http://host:port&region=name with AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY in the environment; by default the folder `buckets` in the data folder
    #[arg(long, env = "BULKHEAD_BUCKETS")]
    pub(crate) buckets: Option<BucketsConfig>,
    /// Threads that run guests; by default one for each core
    #[arg(long, env = "BULKHEAD_EXECUTOR_THREADS")]
    pub(crate) executor_threads: Option<usize>,
    /// Bytes of batches, outputs and guests of all tenants together; above it the tenant that holds most is set aside. By default half of
    /// the memory that this process may use
    #[arg(long, env = "BULKHEAD_MEMORY_BYTES_MAX")]
    pub(crate) memory_bytes_max: Option<u64>,
    /// Seconds without a record after which a pipeline parks: it gives up its consumer and its instances until there is one; 0 for never
    #[arg(long, default_value_t = 10, env = "BULKHEAD_PARK_AFTER_SECONDS")]
    pub(crate) park_after_seconds: u64,
    /// Seconds after which the positions of a parked pipeline are committed again; less than the brokers' offsets.retention.minutes,
    /// after which Kafka forgets those of a group that nobody uses; 0 for never
    #[arg(long, default_value_t = 24 * 60 * 60, env = "BULKHEAD_KEEP_POSITIONS_SECONDS")]
    pub(crate) keep_positions_seconds: u64,
    /// Kafka: records that a pipeline may be behind before the workers join it that do not look after it; 0: all workers run all
    /// pipelines at all times
    #[arg(long, default_value_t = 10_000, env = "BULKHEAD_HELP_LAG_RECORDS")]
    pub(crate) help_lag_records: u64,
    /// Bytes of all instances' scratch files together, each counted with its limit; an instance that finds none left waits
    #[arg(long, default_value_t = bulkhead_core::limits::SCRATCH_WORKER_BYTES, env = "BULKHEAD_SCRATCH_BYTES_MAX")]
    pub(crate) scratch_bytes_max: u64,
}

impl WorkerArguments {
    /// Where buckets are, of a host with this data folder.
    pub(crate) fn buckets_in(&self, data_dir: &Path) -> BucketsConfig {
        self.buckets.clone().unwrap_or_else(|| BucketsConfig::Folder(data_dir.join("buckets")))
    }
}

/// Which log records live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogKind {
    /// In the data folder, for one machine.
    Embedded,
    /// Apache Kafka.
    Kafka,
}

/// How consumers join groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupProtocol {
    /// KIP-848, Kafka 4.0 and later.
    Consumer,
    /// The cooperative classic one.
    Classic,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogArguments {
    /// Where records live
    #[arg(long, value_enum, default_value = "embedded", env = "BULKHEAD_LOG")]
    pub(crate) log: LogKind,
    /// Kafka: brokers to begin with
    #[arg(long, default_value = "127.0.0.1:9092", env = "BULKHEAD_KAFKA_BOOTSTRAP")]
    pub(crate) kafka_bootstrap: String,
    /// Kafka: user for SCRAM-SHA-512
    #[arg(long, env = "BULKHEAD_KAFKA_USER", requires = "kafka_password_file")]
    pub(crate) kafka_user: Option<String>,
    /// Kafka: file with the user's password
    #[arg(long, env = "BULKHEAD_KAFKA_PASSWORD_FILE")]
    pub(crate) kafka_password_file: Option<PathBuf>,
    /// Kafka: how consumers join their groups
    #[arg(long, value_enum, default_value = "consumer", env = "BULKHEAD_KAFKA_GROUP_PROTOCOL")]
    pub(crate) kafka_group_protocol: GroupProtocol,
    /// Kafka: another property of librdkafka, as name=value; can be given again
    #[arg(long = "kafka-property", value_name = "NAME=VALUE")]
    pub(crate) kafka_properties: Vec<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArguments {
    /// End when the examples are done, instead of leaving the host running
    #[arg(long)]
    pub(crate) end: bool,
    /// Folder for everything that the demo makes; emptied first, if an earlier demo made it
    #[arg(long, default_value = ".bulkhead/demo")]
    pub(crate) data_dir: PathBuf,
    /// Address of the HTTP API (port 0 takes a free one)
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub(crate) listen: SocketAddr,
    /// Address of /metrics (port 0 takes a free one)
    #[arg(long, default_value = "127.0.0.1:7071")]
    pub(crate) metrics_listen: SocketAddr,
    /// Folder with the examples
    #[arg(long, default_value = "examples")]
    pub(crate) examples: PathBuf,
    /// Folder with the compiled stages of the examples
    #[arg(long, default_value = "target/wasm32-wasip2/guest")]
    pub(crate) stages: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TokenArguments {
    /// Data folder of the control process
    #[arg(long, default_value = ".bulkhead/data", env = "BULKHEAD_DATA_DIR")]
    pub(crate) data_dir: PathBuf,
    /// Whose token; none for platform-admin, and for a worker of the pool
    #[arg(long)]
    pub(crate) tenant: Option<TenantId>,
    /// platform-admin, worker, tenant-admin, developer, operator, viewer or auditor; without one, the token is worth what roles are bound
    /// to its subject
    #[arg(long, required_unless_present = "tenant")]
    pub(crate) role: Option<String>,
    /// The slot of a worker; its token can fetch and report as this one only
    #[arg(long)]
    pub(crate) slot: Option<String>,
    /// Who carries it, for the audit
    #[arg(long, default_value = "operator")]
    pub(crate) subject: String,
    /// How long it is good for, in seconds
    #[arg(long, default_value_t = 3600)]
    pub(crate) life_s: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArguments {
    /// The code, for instance BH0104; without one, all are listed
    pub(crate) code: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArguments {
    #[arg(long)]
    pub(crate) bootstrap: String,
    /// Physical input topic, `tenant.name`
    #[arg(long)]
    pub(crate) input: String,
    /// Physical output topic of the same tenant
    #[arg(long)]
    pub(crate) output: String,
    /// Pipeline name; the group is `_bulkhead.TENANT.default.NAME`
    #[arg(long)]
    pub(crate) pipeline: String,
    /// The stage
    #[arg(long)]
    pub(crate) stage: PathBuf,
    /// Name of the stage's output
    #[arg(long, default_value = "priced")]
    pub(crate) port: String,
    /// Another property of librdkafka, as name=value; commas part several
    #[arg(
        long = "kafka-property",
        value_name = "NAME=VALUE",
        env = "BULKHEAD_BENCH_KAFKA_PROPERTIES",
        value_delimiter = ','
    )]
    pub(crate) kafka_properties: Vec<String>,
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    #[arg(long, default_value = ".bulkhead/bench")]
    pub(crate) data_dir: PathBuf,
}
