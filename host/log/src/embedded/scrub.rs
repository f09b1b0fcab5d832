//! What was deleted, gone from the files as well.
//!
//! A database forgets a row by forgetting where it is: its bytes stay in free pages, in gaps within pages that moved, and in the journal
//! beside the file. Overwriting at each deletion would cost every trim of a topic as much as writing it did, and would still miss the gaps.
//! So the file is written anew, and the journal is emptied, when somebody needs to know that it is so: after a tenant's erasure.
//! Must never: say that it is done while a reader's view keeps the old journal.

use super::Shared;
use super::store::database;
use crate::LogError;
use bulkhead_core::code::Code;

/// Writes the database anew. Nobody commits meanwhile: some seconds for each gigabyte that is left.
pub(super) fn scrub(shared: &Shared) -> Result<(), LogError> {
    let write = shared.store.writing();
    write.conn.execute_batch("VACUUM").map_err(|error| database(&error))?;
    // Waits for readers as long as the connection waits for locks.
    let busy: bool = write
        .conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| database(&error))?;
    if busy {
        return Err(LogError::new(Code::LogUnavailable, "readers keep the journal from being emptied: try again"));
    }
    Ok(())
}
