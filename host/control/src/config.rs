//! What control can be told at its start, with every default and the reason for each limit.
//!
//! Must never: be read after the start from anywhere else, or hold a secret: a master key is named by its place.

use crate::peer::Network;
use crate::plans::Plans;
use crate::rates::Rate;
use crate::store::MetadataPlacement;
use crate::token::OidcConfig;
use bulkhead_core::limits::MODULE_BYTES_MAX;
use bulkhead_core::tenant_limits::TenantLimits;
use bulkhead_vault::MasterKeySource;
use std::path::PathBuf;
use std::time::Duration;

/// How control is to run. [`ControlConfig::new`] gives every default.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where metadata, keys and modules live. Made with mode 0700 where it is not there; one process at a time may use it.
    pub data_dir: PathBuf,
    /// File that holds the address of PostgreSQL, with the role that the server logs in as and its password; without one, metadata is
    /// in the data folder.
    pub database_url_file: Option<PathBuf>,
    /// File that holds the same with the role that owns the tables; where it is named, a start brings the schema up to date.
    pub database_owner_url_file: Option<PathBuf>,
    /// How long a start waits for PostgreSQL where that is away. Default 60 s.
    pub database_wait: Duration,
    /// Connections to PostgreSQL at most. Default 20.
    pub database_connections_max: u32,
    /// Where the master key is, under which tenants' keys are wrapped. Default: in the data folder, made at first start.
    pub master_key: MasterKeySource,
    /// Where the one before it is, while it is rotated: what it wrapped still opens, and is wrapped again in the background.
    pub master_key_previous: Option<MasterKeySource>,
    /// Where a new tenant's metadata is to live that names no place. Default shared tables.
    pub metadata_placement: MetadataPlacement,
    /// The `iss` of tokens. Default `bulkhead`.
    pub issuer: String,
    /// The `aud` of tokens; a token for another audience is refused. Default `bulkhead`.
    pub audience: String,
    /// Whether the embedded issuer's tokens are taken of everybody who has one. Otherwise there are only those of the worker in this
    /// process, and people and machines have tokens of a provider. Default true.
    pub embedded_issuer: bool,
    /// The identity providers whose tokens are taken too. Default none.
    pub oidc: Vec<OidcConfig>,
    /// How long a token lives that names no time of its own. Default 1 hour; at most [`crate::TOKEN_LIFE_MAX`].
    pub token_life: Duration,
    /// Bytes of one uploaded module at most. Default [`MODULE_BYTES_MAX`].
    pub module_bytes_max: u64,
    /// What a tenant of the plan `standard` may, until that is changed over the API.
    pub quotas: TenantLimits,
    /// The other plans, likewise.
    pub plans: Plans,
    /// Uploads of one tenant under way at the same time: each holds a file and up to 10 MiB of buffers. Default 4.
    pub uploads_per_tenant_max: usize,
    /// Requests of one tenant that write records at a time; each holds a line and a batch. Default 64.
    pub produces_per_tenant_max: usize,
    /// Streams of records and of log lines that one tenant has open at a time. Default 32.
    pub streams_per_tenant_max: usize,
    /// Inspections at the same time, over all tenants: each holds a module in memory and keeps a core busy. Tenants take turns, and where there
    /// are two or more, one tenant leaves the last free one to the others. Default 2.
    pub inspections_max: usize,
    /// How long an upload may go without a byte. Stops a client that holds a slot by doing nothing. Default 10 s.
    pub upload_idle: Duration,
    /// How long an upload may take altogether. Stops a client that sends a byte every 9 s. Default 10 min.
    pub upload_time_max: Duration,
    /// How long one inspection may take, waiting for its turn included. Default 3 min.
    pub inspection_time_max: Duration,
    /// How long any other request may take, its body included; a long poll may take its `wait` more. Default 30 s.
    pub request_time_max: Duration,
    /// A worker's report older than this no longer counts for phase and lag. Default 10 s, ten times a worker's interval.
    pub report_fresh: Duration,
    /// How long lines of the audit are kept. Default 90 days.
    pub audit_kept: Duration,
    /// How long lines of tenants' logs are kept. Default 7 days.
    pub logs_kept: Duration,
    /// How long it is kept, by the hour, what tenants have used. Default 400 days.
    pub usage_kept: Duration,
    /// Lines of each chain of the audit kept at most, the newest; stops a client from filling the disk with denials. Default 1,000,000.
    pub audit_rows_max: u64,
    /// How long a chain of the audit may grow without a signed checkpoint. Default 10 min.
    pub audit_checkpoint_every: Duration,
    /// Requests of one address without an accepted token, to what needs none included; health is not. Default 50 a second, 200 at once.
    pub address_rate: Rate,
    /// Proxies whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<Network>,
}

impl ControlConfig {
    /// The defaults, with data in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database_url_file: None,
            database_owner_url_file: None,
            database_wait: Duration::from_secs(60),
            database_connections_max: 20,
            master_key: MasterKeySource::default(),
            master_key_previous: None,
            metadata_placement: MetadataPlacement::Shared,
            issuer: "bulkhead".to_owned(),
            audience: "bulkhead".to_owned(),
            embedded_issuer: true,
            oidc: Vec::new(),
            token_life: Duration::from_secs(3_600),
            module_bytes_max: MODULE_BYTES_MAX,
            quotas: TenantLimits::default(),
            plans: Plans::default(),
            uploads_per_tenant_max: 4,
            produces_per_tenant_max: 64,
            streams_per_tenant_max: 32,
            inspections_max: 2,
            upload_idle: Duration::from_secs(10),
            upload_time_max: Duration::from_secs(600),
            inspection_time_max: Duration::from_secs(180),
            request_time_max: Duration::from_secs(30),
            report_fresh: Duration::from_secs(10),
            audit_kept: Duration::from_secs(90 * 24 * 3_600),
            logs_kept: Duration::from_secs(7 * 24 * 3_600),
            usage_kept: Duration::from_secs(400 * 24 * 3_600),
            audit_rows_max: 1_000_000,
            audit_checkpoint_every: Duration::from_secs(600),
            address_rate: Rate::new(50, 200),
            trusted_proxies: Vec::new(),
        }
    }
}
