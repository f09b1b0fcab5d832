//! One instance's folder, and the way in which everything touches it: one operation at a time, on a thread that may block.
//!
//! Must never: touch the disk on a thread that runs guests, or let two operations of one instance run at once, since the
//! [`Ledger`] is only right between them.

use super::failure::Failed;
use super::folder::{Reserved, Scratch, unavailable};
use super::ledger::{Inode, Ledger};
use bulkhead_core::fault::HostFault;
use cap_std::fs::{Dir, MetadataExt as _};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's documentation.
pub(crate) struct Home {
    pub(super) ledger: Mutex<Ledger>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Fuel for what streams did and the guest has not paid yet.
    debt: AtomicU64,
    reserved: Option<Reserved>,
}

impl Home {
    /// A fresh folder for an instance that may hold this much.
    ///
    /// # Errors
    /// Where the host has none to lend.
    pub(crate) async fn lend(scratch: &Arc<Scratch>, bytes: u64) -> Result<Arc<Self>, HostFault> {
        let scratch = Arc::clone(scratch);
        let reserved = tokio::task::spawn_blocking(move || scratch.lend(bytes));
        let reserved = reserved.await.map_err(|error| unavailable(&error))??;
        Ok(Arc::new(Self {
            ledger: Mutex::new(Ledger::new(bytes)),
            turn: Arc::default(),
            debt: AtomicU64::new(0),
            reserved: Some(reserved),
        }))
    }

    /// Runs `work` when what ran before it is over, however that ended for the guest.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Home>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let home = Arc::clone(self);
        let running = tokio::task::spawn_blocking(move || {
            let done = work(&home);
            drop(turn);
            done
        });
        running.await.unwrap_or_else(|error| Err(Failed::Host(unavailable(&error))))
    }

    /// The instance's own folder, opened anew.
    pub(super) fn root(&self) -> Result<(Dir, Inode), Failed> {
        let Some(reserved) = &self.reserved else {
            return Err(Failed::Host(unavailable(&"the instance has ended")));
        };
        let dir = reserved.dir.try_clone()?;
        let inode = dir.dir_metadata()?.ino();
        Ok((dir, inode))
    }

    /// Adds to what the guest owes.
    pub(super) fn owe(&self, fuel: u64) {
        self.debt.fetch_add(fuel, Ordering::Relaxed);
    }

    /// What the guest owes, which is for the caller to charge.
    pub(crate) fn take_debt(&self) -> u64 {
        self.debt.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Home {
    /// The folder is removed on another thread where there is one to be had.
    fn drop(&mut self) {
        let reserved = self.reserved.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(reserved)));
        }
    }
}

/// One handle on a file or folder. What it is on does not lose its bytes before the last handle is dropped.
pub(super) struct Hold {
    pub(super) home: Arc<Home>,
    pub(super) inode: Inode,
}

impl Hold {
    pub(super) fn on(home: &Arc<Home>, inode: Inode) -> Result<Self, Failed> {
        home.ledger.lock().open(inode).map_err(|_| Failed::TOO_MANY_OPEN)?;
        Ok(Self { home: Arc::clone(home), inode })
    }

    /// Another one on the same.
    pub(super) fn again(&self) -> Result<Self, Failed> {
        Self::on(&self.home, self.inode)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.home.ledger.lock().close(self.inode);
    }
}
