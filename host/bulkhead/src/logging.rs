//! Logs of the process: JSON lines on standard error, or plain lines on a terminal. `RUST_LOG` filters.
//!
//! Must never: print a token, a password or a record.

use bulkhead_core::assignment::PipelineKey;
use bulkhead_core::name::StageName;
use bulkhead_engine::{GuestLog, Level};
use bulkhead_flow::{GuestLogs, TenantMemory};
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Starts logging, with `default` where `RUST_LOG` says nothing.
pub(crate) fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}

/// Guests' lines as events of the process's own log, with whose they are.
pub(crate) struct GuestEvents;

struct StageEvents {
    pipeline: PipelineKey,
    stage: StageName,
}

impl GuestLogs for GuestEvents {
    fn sink(&self, pipeline: &PipelineKey, stage: &StageName, _: TenantMemory) -> Arc<dyn GuestLog> {
        Arc::new(StageEvents { pipeline: pipeline.clone(), stage: stage.clone() })
    }
}

impl GuestLog for StageEvents {
    fn write(&self, level: Level, message: &str) {
        let PipelineKey { tenant, project, pipeline } = &self.pipeline;
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(target: "guest", %tenant, %project, %pipeline, stage = %self.stage, message)
            };
        }
        match level {
            Level::Trace => event!(trace),
            Level::Debug => event!(debug),
            Level::Info => event!(info),
            Level::Warn => event!(warn),
            Level::Error => event!(error),
        }
    }
}
