//! The port through which the embedded log seals what it writes to its disk.
//!
//! Must never: be asked for anything but whole runs of records of one place, or be told what they mean.

use crate::LogError;

/// Where a run of records lies.
#[derive(Debug, Clone, Copy)]
pub struct RunPlace<'a> {
    /// The physical name of the topic, which says whose it is.
    pub topic: &'a str,
    /// The topic's number, which no other topic of the folder ever has, not even one made later under the same name.
    pub number: i64,
    /// The partition.
    pub partition: i32,
    /// Offset of the first record.
    pub base: i64,
}

/// Seals and opens runs of records. Called by those who commit and those who read, so it should be quick.
pub trait AtRest: std::fmt::Debug + Send + Sync + 'static {
    /// Whether there is a key for this topic's owner, so that one who has none stops nobody else's commit.
    ///
    /// # Errors
    /// Where there is none.
    fn check(&self, topic: &str) -> Result<(), LogError>;

    /// The run, sealed for its place.
    ///
    /// # Errors
    /// Where there is no key for the topic's owner: nothing is written then.
    fn seal(&self, place: RunPlace<'_>, run: &[u8]) -> Result<Vec<u8>, LogError>;

    /// The run as it was.
    ///
    /// # Errors
    /// Where there is no key for it any more, or it was changed, or sealed for another place.
    fn open(&self, place: RunPlace<'_>, sealed: &[u8]) -> Result<Vec<u8>, LogError>;
}
