//! Where the values of secrets come from that stages are granted, and which of them each stage may read; and where the keys come from that seal
//! what a pipeline leaves in the log.
//!
//! Must never: keep a value longer than the stages that it was fetched for.

use bulkhead_core::assignment::PipelineAssignment;
use bulkhead_core::code::Code;
use bulkhead_core::fault::HostFault;
use bulkhead_core::manifest::StageSpec;
use bulkhead_core::secret::Secrets;
use bulkhead_engine::GrantedSecret;
use bulkhead_vault::PipelineKeys;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Where secrets and keys come from.
pub trait SecretSource: Send + Sync + 'static {
    /// The secrets that the stages of an assigned pipeline are granted, with the values that its assignment says. Asked for at each start
    /// of the pipeline that needs any.
    fn fetch(&self, assignment: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Secrets, HostFault>>;

    /// The keys of an assigned pipeline, of the version that its assignment says at least where they can be had. Asked for at each start of
    /// a pipeline whose assignment says one.
    fn keys(&self, assignment: Arc<PipelineAssignment>) -> BoxFuture<'static, Result<Arc<PipelineKeys>, HostFault>>;
}

/// What one stage may read of a pipeline's secrets.
///
/// # Errors
/// `code` with the name of the first that is missing.
pub(crate) fn granted<M>(stage: &StageSpec<M>, secrets: &Secrets, code: Code) -> Result<Vec<GrantedSecret>, HostFault> {
    let granted = stage.secrets.iter().map(|grant| match secrets.get(&grant.entry) {
        Some(value) => Ok(GrantedSecret { name: grant.name.clone(), value: Arc::new(value.clone()) }),
        None => {
            let words = format!("stage `{}` is granted the secret `{}`, which is not here", stage.name, grant.entry);
            Err(HostFault::new(code, words))
        }
    });
    granted.collect()
}

/// The same for a stage that is run by itself, on a machine that was given these secrets.
///
/// # Errors
/// [`Code::SecretNotHere`] with the name of the first that is missing.
pub fn granted_here<M>(stage: &StageSpec<M>, secrets: &Secrets) -> Result<Vec<GrantedSecret>, HostFault> {
    granted(stage, secrets, Code::SecretNotHere)
}
