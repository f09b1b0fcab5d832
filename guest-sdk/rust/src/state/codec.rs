//! Values of the author's types as bytes: a version, then postcard.
//!
//! Must never: take bytes for a value that another version or shape wrote, where that can be seen.

use crate::Reject;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the encoding. Raise it when bytes of the old one would be misread.
const VERSION: u8 = 1;

/// Writes behind what a buffer holds, in blocks and not byte by byte.
struct Behind<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value.
///
/// # Errors
/// A dead letter where its type cannot be written, for instance a sequence of unknown length.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), Reject> {
    into.push(VERSION);
    postcard::serialize_with_flavor(value, Behind(into))
        .map_err(|error| Reject::dead_letter(format!("this value cannot be kept as state: {error}")))
}

/// Reads a value.
///
/// # Errors
/// A dead letter where another version or another type wrote it.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Reject> {
    let Some((&VERSION, bytes)) = bytes.split_first() else { return Err(unreadable("another version wrote it")) };
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(unreadable("bytes are left over")),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

#[cold]
fn unreadable(why: &str) -> Reject {
    Reject::dead_letter(format!(
        "a value in the stage's state is not of the type expected ({why}); where a type changes, give its state a new name"
    ))
}
